"""One driver at a time on a folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from shared_core.batch.errors import LockedError


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder. The system lets go of it when this process ends, however it does.

    Raises:
        LockedError: Another process holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    owner = out / ".owner"
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        who = owner.read_text("utf-8").strip() if owner.exists() else "another process"
        raise LockedError(f"{out} is worked on by {who}: wait for it, or stop it") from None
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", "utf-8")
        yield
    finally:
        lock.release()
