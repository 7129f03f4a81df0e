"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(target: Path, scratch: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes become the file when all are on the disk; on failure nothing does.

    Args:
        target: The file.
        scratch: A folder in the same file system, for the file while it is incomplete.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"{target.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
