"""Locks of open files, which the system takes back when a process ends."""

from __future__ import annotations

import sys


def try_lock(descriptor: int) -> bool:
    """Return whether this process now holds an exclusive lock on an open file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
