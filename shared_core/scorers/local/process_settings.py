"""Process-wide torch settings that affect scores: set for a computation, restored after it.

What torch keeps per thread (autocast, a default device, grad mode, function transforms, modes that
intercept operators) does not reach a scorer, which computes in a thread of its own. What it keeps
per process (the precision of float32 products, which kernels may be used) is set here, only where
it is not as scores need it, counted over all forwards under way, and looked at again after each of
them, since another thread may have set it. No default dtype is relied upon, so that stays as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Setting:
    """A process-wide setting of torch.

    Attributes:
        read: Returns its value.
        write: Sets it.
        ours: The value that scores are computed with.
        inherited: The value that takes over an outer setting's; ``None`` if there is no such.
    """

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    ours: Any
    inherited: Any = None

    def give_back(self, value: Any) -> None:
        """Restore a value, or inherit it where that is the same."""
        if self.inherited is not None:
            self.write(self.inherited)
        if self.read() != value:
            self.write(value)


@cache
def _settings() -> tuple[_Setting, ...]:
    settings = []
    read = getattr(torch._C, "_get_fp32_precision_getter", None)  # from torch 2.9 on
    write = getattr(torch._C, "_set_fp32_precision_setter", None)
    if read is not None and write is not None:
        settings += [
            _Setting(
                partial(read, backend, "matmul"), partial(write, backend, "matmul"), "ieee", "none"
            )
            for backend in ("mkldnn", "cuda")
        ]
    else:
        get, set_ = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        settings.append(_Setting(get, set_, "highest"))
    for getter, setter in (
        ("_get_mkldnn_enabled", "_set_mkldnn_enabled"),
        ("_get_flash_sdp_enabled", "_set_sdp_use_flash"),
        ("_get_math_sdp_enabled", "_set_sdp_use_math"),
        ("_get_mem_efficient_sdp_enabled", "_set_sdp_use_mem_efficient"),
    ):
        read, write = getattr(torch._C, getter, None), getattr(torch._C, setter, None)
        if read is not None and write is not None:
            settings.append(_Setting(read, write, True))
    return tuple(settings)


_lock = threading.Lock()
_under_way = 0
_theirs: dict[int, Any] = {}


def _needs(setting: _Setting) -> bool:
    value = setting.read()
    # If nothing is set, float32 products are exact.
    return bool(value != setting.ours and value != setting.inherited)


def _take() -> bool:
    """Set and remember every setting with another value; return whether there was any."""
    taken = False
    for place, setting in enumerate(_settings()):
        if _needs(setting):
            _theirs[place] = setting.read()
            setting.write(setting.ours)
            taken = True
    return taken


@contextmanager
def own_settings() -> Iterator[None]:
    """Hold the settings that scores need. Re-entrant, for all threads."""
    global _under_way
    with _lock:
        _under_way += 1
        _take()
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
            if not _under_way:
                for place, value in _theirs.items():
                    setting = _settings()[place]
                    if setting.read() == setting.ours:  # else another thread set it since
                        setting.give_back(value)
                _theirs.clear()


def computed(compute: Callable[[], Result]) -> Result:
    """Compute under the settings of `own_settings`, again if they were changed meanwhile."""
    for _ in range(_MOST_TRIES):
        with own_settings():
            result = compute()
            with _lock:
                is_disturbed = _take()
        if not is_disturbed:
            break
    return result
