"""The number of threads of a forward pass, set for one Python thread alone.

``torch.set_num_threads`` is for the process: threads that begin later inherit it. OpenMP's own
setting belongs to the thread that makes it, so that is used where torch's library can be found.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

# Threads meet after every product. Below this many weights in a product's layer they wait for one
# another longer than they compute, the more so where other programs hold some of them up.
_WEIGHTS_PER_THREAD = 5_000_000
# Each item that is made holds memory while it is made.
_MOST_AT_ONCE = 4
_CGROUP = Path("/sys/fs/cgroup")

Item = TypeVar("Item")
Made = TypeVar("Made")


def choose_threads(wanted: int | None, n_weights: int) -> int:
    """Return the number of threads to compute with.

    Args:
        wanted: The option; ``None`` is as many as pay.
        n_weights: Weights in the model's layers.
    """
    if wanted is not None:
        return wanted
    return max(1, min(torch.get_num_threads(), available_cpus(), n_weights // _WEIGHTS_PER_THREAD))


def available_cpus() -> int:
    """Return the number of CPUs of this process, by affinity and container quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min(cpus, _quota(_CGROUP) or cpus))


def _quota(cgroup: Path) -> int | None:
    """Return the CPUs of a container's quota, rounded up; ``None`` if there is none."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return -(-int(quota) // int(period)) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max"
        return None


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with this number of threads in the current thread."""
    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    set_here = _setter()
    if set_here is not None:
        set_here(threads)
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each(make: Callable[[Item], Made], items: Iterable[Item], threads: int) -> list[Made]:
    """Return the results for all items, in order, each computed by a single thread.

    They never wait for one another, as OpenMP's do after every operation: beside another program's
    busy threads that was eight times as slow. At most `_MOST_AT_ONCE` items are made at a time.
    """
    if threads < 2 or _setter() is None:
        with computing_with(threads):
            return [make(item) for item in items]

    def make_alone(item: Item) -> Made:
        with computing_with(1):
            return make(item)

    with ThreadPoolExecutor(min(threads, _MOST_AT_ONCE), "qwen3-rerank-load") as pool:
        made = [pool.submit(make_alone, item) for item in items]
        try:
            return [future.result() for future in made]
        finally:
            for future in made:
                future.cancel()


@cache
def _setter() -> Callable[[int], object] | None:
    """Return OpenMP's ``omp_set_num_threads`` of the library that torch computes with, if found."""
    before = torch.get_num_threads()
    for library in _openmp_libraries():
        try:
            set_here = ctypes.CDLL(library).omp_set_num_threads
        except (OSError, AttributeError):
            continue
        set_here.restype, set_here.argtypes = None, [ctypes.c_int]
        set_here(before + 1)
        is_torchs = torch.get_num_threads() == before + 1
        set_here(before)
        if is_torchs:
            setter: Callable[[int], object] = set_here
            return setter
    return None


def _openmp_libraries() -> list[str]:
    """Return the OpenMP libraries in this process; elsewhere than on Linux, torch's own."""
    try:
        mapped = Path("/proc/self/maps").read_text().splitlines()
        found = [line.split(maxsplit=5)[-1] for line in mapped if "omp" in line and "/" in line]
    except OSError:
        found = [str(path) for path in (Path(torch.__file__).parent / "lib").glob("*omp*")]
    return list(dict.fromkeys(path for path in found if "omp" in Path(path).name))
