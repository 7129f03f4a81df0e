"""The files of an input, in a fixed order, and the detection of changes to them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pyarrow import fs

from qwen3_rerank.batch.errors import BatchInputError

FileKind = Literal["parquet", "jsonl", "jsonl.gz"]

_ENDINGS: dict[str, FileKind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson.gz": "jsonl.gz",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file, on disk or, by an address such as ``s3://bucket/key``, in an object store.

    Attributes:
        path: The path or address.
        size: Bytes.
        changed: Nanoseconds since 1970 at its last change; ``None`` where the store does not tell.
        inode: The number of the file in the file system; ``None`` in an object store.
        touched: Nanoseconds since 1970 at the last change of content, name or rights, likewise.
        digest: The digest of the lines, or of a parquet file's footer; ``None`` until it was read.
    """

    path: str
    kind: FileKind
    size: int
    changed: int | None
    inode: int | None = None
    touched: int | None = None
    digest: str | None = None


def kind_of(path: str) -> FileKind | None:
    """Return the format that a name stands for.

    >>> kind_of("a/B.Parquet"), kind_of("x.jsonl.gz"), kind_of("README.md")
    ('parquet', 'jsonl.gz', None)
    """
    found = [kind for end, kind in _ENDINGS.items() if path.lower().endswith(end)]
    return found[0] if found else None


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[InputFile]:
    """Return the files of a path, a folder, a pattern with ``*``, an address, or several of them.

    Files of a folder and of a pattern come in the order of their names. In a folder, names that
    begin with a dot or an underscore are passed over, as Spark and Hive do.

    Raises:
        BatchInputError: There is nothing, or something of an unknown format.
    """
    many = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = [file for path in many for file in _expanded(os.fspath(path))]
    if not found:
        raise BatchInputError("no input was given: expected files, folders or patterns")
    twice = {file.path for file in found if sum(file.path == other.path for other in found) > 1}
    if twice:
        raise BatchInputError(f"given twice: {', '.join(sorted(twice))}")
    return found


def _expanded(path: str) -> list[InputFile]:
    system, inner, prefix = _system(path)
    if prefix is None and any(sign in path for sign in "*?[") and not os.path.exists(path):
        names = sorted(glob.glob(path, recursive=True))
        if not names:
            raise BatchInputError(f"{path}: no file has such a name")
        return [file for name in names for file in _expanded(name)]
    info = system.get_file_info(inner)
    if info.type == fs.FileType.NotFound:
        raise BatchInputError(f"{path}: there is no such file or folder")
    if info.type == fs.FileType.Directory:
        inside = system.get_file_info(fs.FileSelector(inner, recursive=True))
        files = sorted(
            (
                entry
                for entry in inside
                if entry.type == fs.FileType.File and _is_data(entry.path, inner)
            ),
            key=lambda entry: entry.path,
        )
        if not files:
            raise BatchInputError(f"{path}: no .parquet, .jsonl or .jsonl.gz in this folder")
        return [_input_file(file, prefix) for file in files]
    return [_input_file(info, prefix)]


def _is_data(path: str, folder: str) -> bool:
    parts = path[len(folder) :].strip("/\\").replace("\\", "/").split("/")
    return kind_of(path) is not None and not any(part.startswith((".", "_")) for part in parts)


def _input_file(info: Any, prefix: str | None) -> InputFile:
    kind = kind_of(info.path)
    if kind is None:
        raise BatchInputError(f"{info.path}: expected a name that ends with {', '.join(_ENDINGS)}")
    if prefix is not None:
        return InputFile(prefix + info.path, kind, info.size, info.mtime_ns)
    path = os.path.abspath(info.path)
    status = os.stat(path)
    return InputFile(path, kind, info.size, info.mtime_ns, status.st_ino, status.st_ctime_ns)


def _system(path: str) -> tuple[Any, str, str | None]:
    """Return the file system, the path in it, and what an address has in front of that."""
    scheme, has_scheme, _ = path.partition("://")
    if not has_scheme:
        return _local(), path, None
    try:
        system, inner = fs.FileSystem.from_uri(path)
    except (ValueError, OSError) as error:
        raise BatchInputError(f"{path}: {error}") from error
    return system, inner, f"{scheme}://"


@lru_cache(maxsize=1)
def _local() -> Any:
    return fs.LocalFileSystem()


def current(file: InputFile) -> InputFile:
    """Return a file as it is now.

    Raises:
        BatchInputError: The file does not exist any more.
    """
    system, inner, prefix = _system(file.path)
    info = system.get_file_info(inner)
    if info.type != fs.FileType.File:
        raise BatchInputError(f"{file.path} is gone, or is no file any more")
    return _input_file(info, prefix)


def opened(file: InputFile) -> Any:
    """Return a file to read at any place of it.

    Raises:
        BatchInputError: The file cannot be opened.
    """
    system, inner, _ = _system(file.path)
    try:
        return system.open_input_file(inner)
    except OSError as error:
        raise BatchInputError(f"{file.path}: {error}") from error
