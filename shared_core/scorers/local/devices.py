"""Device and dtype of a local model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from shared_core.errors import ConfigurationError
from shared_core.options import TINY, RerankerOptions

# The 8B needs some 200 kB a token, of which the MLP's gate is most.
_ROOM_FOR_LARGE_BATCHES = 16 * 2**30


def choose_device(options: RerankerOptions) -> torch.device:
    """Return the device of the options, or the best one of this machine.

    Raises:
        ConfigurationError: This machine, or this build of torch, has no such device.
    """
    if options.device is None:
        return torch.device("cpu" if options.quantize else _best_device())
    device = torch.device(options.device)
    if device.type == "cuda":
        _check_cuda(device)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError(
            'device="mps", but torch finds no Apple GPU: leave device out to take the best device '
            'there is, or give "cpu"'
        )
    return device


def _check_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        reason = (
            f"torch {torch.__version__} is built without CUDA: install a build with it "
            "(https://pytorch.org/get-started)"
            if torch.version.cuda is None and torch.version.hip is None
            else "torch finds no GPU: look whether `nvidia-smi` lists one"
        )
        raise ConfigurationError(
            f'device="{device}", but {reason}. Leave device out to take the best device there is, '
            'or give "cpu".'
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ConfigurationError(
            f'device="{device}", but there are {count} GPUs, "cuda:0" to "cuda:{count - 1}"'
        )


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def dtype_of(options: RerankerOptions, device: torch.device) -> torch.dtype:
    """Return the dtype of a model's computation.

    ``"auto"`` is float32 for the bundled model, which is small and whose scores are then the same
    everywhere; for others see `choose_dtype`.
    """
    if options.dtype == "auto" and options.model == TINY:
        return torch.float32
    return choose_dtype(options.dtype, device)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype; ``"auto"`` is half precision where the device computes in it.

    A CPU without bfloat16 instructions emulates it several times slower than float32.
    """
    if name != "auto":
        return getattr(torch, name)  # type: ignore[no-any-return]  # options allow dtypes only
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if has_bfloat16() else torch.float32


def choose_batch_tokens(device: torch.device) -> int:
    """Return the tokens of one forward, where no option says them.

    More amortises reading the weights; fewer keeps activations in a CPU's cache and in a GPU's
    memory, beside the weights that are there already.
    """
    if device.type != "cuda":
        return 4096
    free, _ = torch.cuda.mem_get_info(device)
    return 32768 if free >= _ROOM_FOR_LARGE_BATCHES else 16384


def current(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a CUDA device is the current one, on which kernels start."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a CPU's values on a device, without waiting for what a CUDA device computes.

    Only from pinned memory does a copy wait its turn on the device instead of the caller.
    """
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def is_in_bad_fork(device: torch.device) -> bool:
    """Return whether the parent process's data on a device is out of reach."""
    if device.type == "cuda":
        return torch.cuda._is_in_bad_fork()
    return device.type == "mps" and torch.mps._is_in_bad_fork()
