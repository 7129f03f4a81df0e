"""A folder of output that one process writes to, in which no link is ever followed.

Everything in it is opened relative to the folder's descriptor, and by its own name: a symbolic
link, a second hard link, a pipe or a device in the place of a file is refused. Whoever deletes the
folder, or puts another one in its place, does not make this process write somewhere else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from qwen3_rerank.reading.locks import try_lock
from shared_core.errors import RerankError

_LOCK = ".lock"
_OWNER = ".owner"
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd  # not on Windows
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class FolderError(RerankError):
    """A folder for output holds a link, or something that is no plain file or folder."""


class LockedError(RerankError):
    """Another process works on the same folder."""


class OutputFolder:
    """A folder whose files are read, replaced, appended to and removed by name.

    Args:
        path: The folder, which has to be there. A link that names the folder itself is followed
            once, here.

    Raises:
        OSError: The folder does not exist, or is not a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        if _HAS_DESCRIPTORS:
            self._hold(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        elif not path.is_dir():
            raise NotADirectoryError(f"{path} is not a folder")

    def _hold(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def folder(self, name: str, *, create: bool = False) -> OutputFolder:
        """Return a folder in it.

        Args:
            create: Whether to make it if it does not exist.

        Raises:
            FolderError: Something else has this name.
            OSError: The folder does not exist, or cannot be made.
        """
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._name(name), dir_fd=self._descriptor)
        found = self.status(name)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise self._refusal(name, found, "a folder")
        if self._descriptor is None:
            return OutputFolder(self.path / name)
        inner = OutputFolder.__new__(OutputFolder)
        inner.path = self.path / name
        flags = os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS
        inner._hold(os.open(name, flags, dir_fd=self._descriptor))
        return inner

    def names(self) -> list[str]:
        """Return the names of all that is in it, sorted."""
        return sorted(os.listdir(self.path if self._descriptor is None else self._descriptor))

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name itself, not of what it links to; ``None`` if absent."""
        try:
            return os.stat(self._name(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, ``None`` if it is not there.

        Raises:
            FolderError: The name is a link, or not a file.
        """
        try:
            descriptor = self._open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read()

    @contextlib.contextmanager
    def replacing(self, name: str, scratch: OutputFolder | None = None) -> Iterator[BinaryIO]:
        """Yield a stream whose bytes become the file when all are on the disk.

        On failure nothing becomes of them. A link of this name is replaced, not followed.

        Args:
            scratch: The folder of the incomplete file, in the same file system.

        Raises:
            OSError: The file cannot be written; ``filename`` names it.
        """
        home = self if scratch is None else scratch
        temporary = f"{'.' if scratch is None else ''}{name}.{uuid.uuid4().hex}"
        with naming(self.path / name):
            descriptor = home._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(
                    home._name(temporary),
                    self._name(name),
                    src_dir_fd=home._descriptor,
                    dst_dir_fd=self._descriptor,
                )
            except BaseException:
                home.remove(temporary)
                raise
            if self._descriptor is not None:
                os.fsync(self._descriptor)

    @contextlib.contextmanager
    def appending(self, name: str) -> Iterator[BinaryIO]:
        """Yield a stream whose bytes go to the end of a file; they are on the disk afterwards.

        Raises:
            FolderError: The name is a link, or not a file.
            OSError: The file cannot be written; ``filename`` names it.
        """
        with naming(self.path / name):
            descriptor = self._open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            with os.fdopen(descriptor, "ab") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())

    def remove(self, name: str) -> None:
        """Remove a file or a link, if it is there; what a link leads to stays."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name(name), dir_fd=self._descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a folder with all that is in it, or a link of this name, if it is there."""
        found = self.status(name)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            self.remove(name)
        elif self.is_in_place():  # rmtree itself follows no link below
            shutil.rmtree(self.path / name, ignore_errors=True)

    def clear(self) -> None:
        """Remove what is in it, and it, if that can be done."""
        for name in self.names():
            self.remove_tree(name)
        if self.is_in_place():
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this folder."""
        if self._descriptor is None:
            return self.path.is_dir()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder. The system unlocks it when this process ends, also by a crash.

        Raises:
            LockedError: Another process, or another call of this one, holds it.
            FolderError: The lock's file is a link, or no file.
        """
        with os.fdopen(self._open(_LOCK, os.O_RDWR | os.O_CREAT), "r+b") as stream:
            held = try_lock(stream.fileno())
            now = self.status(_LOCK)
            if not held or now is None or not os.path.samestat(now, os.fstat(stream.fileno())):
                owner = (self.read(_OWNER) or b"").decode("utf-8", "replace").strip()
                raise LockedError(
                    f"{self.path} is worked on by {owner or 'another process'}: wait for it, or "
                    "stop it"
                )
            with self.replacing(_OWNER) as owner_stream:
                owner_stream.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    self.remove(_OWNER)

    def _open(self, name: str, flags: int) -> int:
        """Return the descriptor of a plain file with one name.

        Raises:
            FolderError: It is a link, a pipe, a device or a folder, or has a second name.
        """
        found = self.status(name)
        if found is None or stat.S_ISREG(found.st_mode):
            try:
                descriptor = os.open(
                    self._name(name), flags | _NO_LINKS | _BINARY, 0o666, dir_fd=self._descriptor
                )
            except FileNotFoundError:
                raise
            except OSError as error:  # a link that came in between
                found = self.status(name)
                if found is None or stat.S_ISREG(found.st_mode):
                    raise OSError(error.errno, error.strerror, str(self.path / name)) from None
            else:
                found = os.fstat(descriptor)
                if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
                    return descriptor
                os.close(descriptor)
        raise self._refusal(name, found, "a file")

    def _refusal(self, name: str, found: os.stat_result, expected: str) -> FolderError:
        path = self.path / name
        if stat.S_ISLNK(found.st_mode):
            what = f"a link to {os.readlink(path)}" if path.is_symlink() else "a link"
        elif stat.S_ISREG(found.st_mode) and expected == "a file":
            what = f"a hard link, one of {found.st_nlink} names of one file"
        else:
            kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFREG: "a file"}
            what = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        return FolderError(
            f"{path} is {what}, where {expected} is expected: nothing is written or read through "
            "links in an output folder. Remove it, or give another folder."
        )

    def _name(self, name: str) -> str:
        if not name or name in (".", "..") or os.path.basename(name) != name:
            raise ValueError(f"{name!r}: expected the name of a file, not a path")
        return name if self._descriptor is not None else str(self.path / name)


@contextlib.contextmanager
def held(path: Path, begun: str) -> Iterator[OutputFolder]:
    """Yield a folder, made if need be, that this process alone writes to.

    Args:
        begun: The file without which a folder that was made here is removed again.

    Raises:
        LockedError: Another process holds it.
        FolderError: The lock's file is a link, or no file.
        OSError: The folder cannot be made.
    """
    is_new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    folder = OutputFolder(path)
    with folder.locked():
        try:
            yield folder
        finally:
            if is_new and folder.status(begun) is None:
                folder.clear()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a path into an `OSError` that names none, such as that of a disk without room."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
