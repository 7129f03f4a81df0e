"""Memory: what is returned when freed, what is kept for the next forward, and what ran out."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch

# Just below the largest block that glibc learns from (DEFAULT_MMAP_THRESHOLD_MAX, 32 MiB).
_LEARNT_BYTES = 31 * 2**20


def keep_buffers() -> None:
    """Have the C library keep the buffers of a forward for the next one, as far as it learns to.

    glibc maps blocks anew, page by page, that are larger than any it has freed, and trims its heap
    at twice that size. A small model's buffers are of a size that is returned and faulted in again
    by every forward: 1,400 page faults for twenty short documents, a quarter of the time on a
    virtual machine. So one larger block is allocated, and freed without being touched. Other
    libraries take no notice. `give_back` returns all the same.
    """
    torch.empty(_LEARNT_BYTES, dtype=torch.uint8)


def give_back() -> None:
    """Return freed memory to the system, where the C library would keep it.

    glibc does, in one arena per thread: the weights that transformers' threads have read and that
    were replaced since would stay in memory, 0.9 GB with the 0.6B.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc, or no C library at hand
        return None


def empty_cache(device: torch.device) -> None:
    """Give torch's unused memory of a device back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether torch ran out of memory; on CPU and MPS that is a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return "out of memory" in message or "can't allocate memory" in message
