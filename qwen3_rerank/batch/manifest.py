"""The manifest: the options and input of a folder, and the check that they are the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.errors import ChangedJobError
from qwen3_rerank.batch.files import InputFile
from qwen3_rerank.batch.source import Source
from qwen3_rerank.reading.folders import OutputFolder
from shared_core.identity import differences

VERSION = 2
NAME = "manifest.json"
BLOCKS = "blocks.jsonl"
TEMPORARY = ".tmp"


def begun(out: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder, ``None`` if there is no folder, or none in it.

    Raises:
        ChangedJobError: The folder has something else in it, a manifest of another version, or a
            damaged one.
        FolderError: The manifest is a link.
    """
    try:
        folder = OutputFolder(out)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise ChangedJobError(f"{out} is not a folder: give one of its own to the batch") from None
    found = begun_in(folder)
    if found is None:
        foreign = [name for name in folder.names() if name[0] != "." and name != BLOCKS]
        if foreign:
            raise ChangedJobError(
                f"{out} is not empty ({', '.join(foreign[:3])}) and holds no batch: give a folder "
                "of its own"
            )
    return found


def begun_in(folder: OutputFolder) -> dict[str, Any] | None:
    """Return the manifest of an open folder, ``None`` if there is none.

    Raises:
        ChangedJobError: The manifest is damaged, or of another version.
    """
    data = folder.read(NAME)
    if data is None:
        return None
    path = folder.path / NAME
    try:
        manifest = json.loads(data)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise ChangedJobError(
            f"{path} is damaged: what the folder was begun with cannot be known. Put back the file "
            "as it was, or give another folder"
        )
    if manifest.get("version") != VERSION:
        raise ChangedJobError(
            f"{path} was written by another version of qwen3-rerank: finish the job with that "
            "one, or give another folder"
        )
    return manifest


def check_same(manifest: dict[str, Any], identity: dict[str, Any], files: list[Any] | None) -> None:
    """Raise unless a folder was begun with these options and this input.

    Args:
        identity: The options; see `Job.identity`.
        files: The input, as `files_json` shows it; ``None`` if that cannot be known.

    Raises:
        ChangedJobError: Names every difference.
    """
    found = differences(manifest["identity"], identity)
    if files is not None and _fixed(files) != _fixed(manifest["files"]):
        found.append(_file_difference(_fixed(manifest["files"]), _fixed(files)))
    if found:
        raise ChangedJobError(
            "the folder holds a job with another input or other options: "
            + "; ".join(found)
            + ". Give what it was begun with, or another folder."
        )


def _fixed(files: list[Any]) -> list[dict[str, Any]]:
    """Return of files what a copy of the same bytes with the same time has, too."""
    return [{name: file[name] for name in ("path", "kind", "size", "changed")} for file in files]


def _file_difference(before: list[Any], now: list[Any]) -> str:
    old, new = ({file["path"]: file for file in files} for files in (before, now))
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            return f"{path} is not in the input any more"
        if path not in old:
            return f"{path} is new in the input"
        if old[path] != new[path]:
            return f"{path} has changed (size or time)"
    return "the files come in another order"


def files_json(files: Iterable[InputFile]) -> list[dict[str, Any]]:
    """Return files as a manifest has them."""
    return [asdict(file) for file in files]


def write(
    folder: OutputFolder,
    *,
    identity: dict[str, Any],
    source: Source,
    files: list[InputFile] | None,
    is_copy: bool,
    blocks: Iterable[Block],
) -> dict[str, Any]:
    """Write the division, then the manifest; return the manifest.

    Args:
        files: The files of the input; ``None`` if those are the source's.
        is_copy: Whether the source's files are a copy of the input.
        blocks: The division. Going through it may tell more of the source's files.
    """
    scratch = folder.folder(TEMPORARY, create=True)
    count = rows = 0
    with folder.replacing(BLOCKS, scratch) as stream:
        for block in blocks:
            stream.write(block.to_json().encode() + b"\n")
            count, rows = count + 1, rows + block.rows
    source.check_unchanged()
    manifest = {
        "version": VERSION,
        "job": uuid.uuid4().hex,
        "identity": identity,
        "files": files_json(source.files if files is None else files),
        "copy": files_json(source.files) if is_copy else None,
        "shape": asdict(source.shape),
        "blocks": count,
        "rows": rows,
    }
    with folder.replacing(NAME, scratch) as stream:
        stream.write(json.dumps(manifest, indent=2).encode() + b"\n")
    return manifest


def read_blocks(folder: OutputFolder, count: int) -> list[Block]:
    """Return the division.

    Raises:
        ChangedJobError: The file is damaged or gone.
    """
    lines = folder.read(BLOCKS) or b""
    try:
        blocks = [Block.from_json(line) for line in lines.decode().splitlines()]
    except (ValueError, TypeError):
        blocks = []
    if len(blocks) != count:
        raise ChangedJobError(
            f"{folder.path / BLOCKS}, the division of the input, is damaged or gone: put back the "
            "file as it was, or give another folder"
        )
    return blocks
