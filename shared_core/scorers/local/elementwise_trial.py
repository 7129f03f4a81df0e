"""The choice of the element-wise work: fused kernels where a trial agrees with torch itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.devices import current
from shared_core.scorers.local.elementwise import Elementwise, HeadShape, PlainElementwise

logger = logging.getLogger("qwen3_rerank")


def choose_elementwise(
    config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> Elementwise:
    """Return the fastest element-wise work of a device; the kernels are used only if right."""
    shape = HeadShape(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    plain = PlainElementwise(shape, config.rms_norm_eps, dtype)
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return plain

    def fused() -> Elementwise:
        from shared_core.scorers.local.fused import FusedElementwise  # needs triton

        return FusedElementwise(shape, config.rms_norm_eps, dtype)

    with current(device):
        return tried(fused, plain, config, device, dtype)


def tried(
    make: Callable[[], Elementwise],
    plain: Elementwise,
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> Elementwise:
    """Return what is made if its results equal those of ``plain``; this depends on the device."""
    try:
        fused = make()
        results = (_trial(one, config, device, dtype) for one in (fused, plain))
        agrees = all(
            torch.allclose(ours.float(), theirs.float(), rtol=_TOLERANCE, atol=_TOLERANCE)
            for ours, theirs in zip(*results, strict=True)
        )
    except Exception as error:  # noqa: BLE001  # no Triton, no C compiler, a cache it cannot write
        logger.info("no fused kernels on %s, so torch's operators: %s", device, error)
        return plain
    if agrees:
        return fused
    logger.warning(
        "the fused kernels on %s do not compute what torch %s does, so its operators are used; "
        "scores are right, only slower",
        device,
        torch.__version__,
    )
    return plain


# Values of the trial are around one, of which bfloat16 keeps two digits and a half.
_TOLERANCE = 0.03
_TRIAL_TOKENS = 5


def _trial(
    elementwise: Elementwise, config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> Iterator[Tensor]:
    """Yield everything that is computed from random values of the model's shape."""
    source = torch.Generator().manual_seed(0)

    def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(*shape, generator=source).to(device, dtype)

    def parts(*sizes: int) -> Sequence[Tensor]:
        return torch.split(random(_TRIAL_TOKENS, sum(sizes), dtype=dtype), list(sizes), dim=1)

    width, d = config.hidden_size, config.head_dim
    stream, weight = random(_TRIAL_TOKENS, width), random(width)
    yield elementwise.normed(stream, weight)
    yield elementwise.added(stream, random(_TRIAL_TOKENS, width, dtype=dtype), weight)
    yield stream
    angles = random(_TRIAL_TOKENS, 1, d // 2)
    values = config.num_key_value_heads * d
    products = parts(config.num_attention_heads * d, values, values)
    yield from elementwise.heads(products, random(d), random(d), angles.cos(), angles.sin())
    yield elementwise.gated(*parts(config.intermediate_size, config.intermediate_size))
