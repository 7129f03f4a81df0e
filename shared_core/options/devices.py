"""Names of devices."""

from __future__ import annotations

import re

from shared_core.options.neighbours import did_you_mean

DEVICES = ("cpu", "cuda", "mps", "xpu", "npu", "hpu", "mlu", "musa")
"""Kinds of devices by torch's names. The first three are tested."""
_OTHER_DEVICE_NAMES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "rocm": "cuda",
    "hip": "cuda",
    "metal": "mps",
    "apple": "mps",
    "ascend": "npu",
}


def checked_device(value: str) -> str:
    """Return a device's name, without importing torch.

    Raises:
        ValueError: Torch does not know it.
    """
    if re.fullmatch(rf"({'|'.join(DEVICES)})(:\d+)?", value):
        return value
    kind = value.lower().partition(":")[0]
    if kind in ("auto", "best", ""):
        raise ValueError(f"device={value!r}: leave device out to take the best one there is")
    meant = _OTHER_DEVICE_NAMES.get(kind, kind)
    near = f' Did you mean "{meant}"?' if meant in DEVICES else did_you_mean(kind, DEVICES)
    raise ValueError(
        f'device={value!r} is none that torch knows: expected "cpu", "cuda", "cuda:1" (a '
        f'second GPU) or "mps" (Apple).{near}'
    )
