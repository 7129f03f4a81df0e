"""Attention over a pack by a variable-length CUDA kernel, in half precision.

Every span is a sequence of its own: its queries lie in the pack as they are needed, its keys and
values are gathered from all that is before it in its prompt and from itself. The kernel's causal
mask is aligned at the end, so that the last query sees all keys and each one before it one fewer.

Shapes as in ``attention.py``. Source of the kernel: arXiv 2307.08691, as in torch's ATen.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_core.scorers.local.attention import Attention, TiledAttention
from shared_core.scorers.local.block_attention import BlockAttention
from shared_core.scorers.local.devices import sent
from shared_core.scorers.local.packing import Span

logger = logging.getLogger("qwen3_rerank")

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]
"""(query (t, h, d), key (k, g, d), value (k, g, d), query starts (n + 1), key starts (n + 1), most
queries of a sequence, most keys) → (t, h, d); queries are scaled already."""

MOST_KEYS = 65536
"""Keys gathered for one call, at most, unless one sequence has more: a long query is gathered again
for each of its documents. 256 MiB in half precision with 8 key-value heads of 128."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """The arguments of one kernel call.

    Attributes:
        queries: The queries of its n sequences, one after the other.
        keys: The positions whose keys and values they need, one sequence after the other.
        query_starts: The start of each sequence's queries within ``queries``, and the end of all,
            Shape (n + 1,) int32.
        key_starts: The same of ``keys``.
        most_queries: The most queries of one sequence.
        most_keys: The most keys of one sequence.
    """

    queries: slice
    keys: Tensor
    query_starts: Tensor
    key_starts: Tensor
    most_queries: int
    most_keys: int


class FlashAttention:
    """Attention by a variable-length kernel.

    Args:
        device: The device of the computation.
        kernel: The kernel.
    """

    tokens_first = True

    def __init__(self, device: torch.device, kernel: Kernel) -> None:
        self._device, self._kernel = device, kernel

    def plan(self, spans: Sequence[Span], n_tokens: int) -> list[Sequences]:  # noqa: ARG002
        """Return the calls in which every position of the spans attends; see `Attention.plan`."""
        return list(self._calls(spans, [span.length for span in spans]))

    def plan_last(self, spans: Sequence[Span]) -> list[Sequences]:
        """Return the calls in which the last position of each span attends, and no other."""
        return list(self._calls(spans, [1] * len(spans)))

    def _calls(self, spans: Sequence[Span], n_queries: Sequence[int]) -> Iterator[Sequences]:
        first = start = gathered = 0
        for index, span in enumerate(spans):
            if index > first and gathered + span.end_position > MOST_KEYS:
                yield self._call(spans[first:index], n_queries[first:index], start)
                start += sum(n_queries[first:index])
                first, gathered = index, 0
            gathered += span.end_position
        if spans:
            yield self._call(spans[first:], n_queries[first:], start)

    def _call(self, spans: Sequence[Span], n_queries: Sequence[int], start: int) -> Sequences:
        n_keys = [span.end_position for span in spans]
        keys = [torch.arange(part.start, part.stop) for span in spans for part in span.chain()]
        return Sequences(
            queries=slice(start, start + sum(n_queries)),
            keys=sent(torch.cat(keys), self._device),
            query_starts=_starts(n_queries, self._device),
            key_starts=_starts(n_keys, self._device),
            most_queries=max(n_queries),
            most_keys=max(n_keys),
        )

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, plan: list[Sequences]) -> Tensor:
        """Return the mixed values of each query; see `Attention.__call__`."""
        g, t, r, d = query.shape
        queries = query.transpose(0, 1).reshape(t, g * r, d)
        keys, values = key.transpose(0, 1), value.transpose(0, 1)
        parts = [
            self._kernel(
                queries[call.queries],
                keys.index_select(0, call.keys),
                values.index_select(0, call.keys),
                call.query_starts,
                call.key_starts,
                call.most_queries,
                call.most_keys,
            )
            for call in plan
        ]
        mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return mixed.reshape(t, g * r * d)


def _starts(lengths: Sequence[int], device: torch.device) -> Tensor:
    return sent(torch.tensor([0, *lengths]).cumsum(0).int(), device)


def cuda_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    most_queries: int,
    most_keys: int,
) -> Tensor:
    """Call the kernel of torch's own build. See `Kernel`."""
    mixed: Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, query_starts, key_starts, most_queries, most_keys,
        0.0, True, False, scale=1.0,
    )[0]  # fmt: skip
    return mixed


@functools.cache
def choose_attention(
    device: torch.device, dtype: torch.dtype, n_heads: int, n_kv_heads: int, head_width: int
) -> Attention:
    """Return the fastest attention of a device; the kernel is used only if it is right."""
    if device.type == "cpu":
        return BlockAttention()
    plain = TiledAttention(n_heads, device)
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return plain
    flash = FlashAttention(device, cuda_kernel)
    return tried(flash, plain, _trial(device, dtype, n_heads, n_kv_heads, head_width))


@dataclass(frozen=True, slots=True)
class Trial:
    """A small pack of random values: three spans, of which two are documents."""

    query: Tensor
    key: Tensor
    value: Tensor
    spans: tuple[Span, ...]


def _trial(
    device: torch.device, dtype: torch.dtype, n_heads: int, n_kv_heads: int, head_width: int
) -> Trial:
    prefix = Span(0, 37)
    spans = (prefix, Span(37, 50, prefix, 37), Span(87, 3, prefix, 37))
    source = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float32).to(device, dtype)

    return Trial(
        query=random(n_kv_heads, 90, n_heads // n_kv_heads, head_width) * head_width**-0.5,
        key=random(n_kv_heads, 90, head_width),
        value=random(n_kv_heads, 90, head_width),
        spans=spans,
    )


# Values of the trial are around one, of which half precision keeps three digits. A mask aligned
# otherwise is off by whole ones.
_TOLERANCE = 0.05


def tried(flash: Attention, plain: Attention, trial: Trial) -> Attention:
    """Return ``flash`` if its results equal those of ``plain``; this depends on the device."""
    query, key, value, spans = trial.query, trial.key, trial.value, trial.spans
    last = query[:, [span.stop - 1 for span in spans[1:]]]
    try:
        pairs = [
            (flash(q, key, value, flash_plan), plain(q, key, value, plain_plan))
            for q, flash_plan, plain_plan in (
                (query, flash.plan(spans, query.shape[1]), plain.plan(spans, query.shape[1])),
                (last, flash.plan_last(spans[1:]), plain.plan_last(spans[1:])),
            )
        ]
        agrees = all(torch.allclose(a, b, rtol=0, atol=_TOLERANCE) for a, b in pairs)
    except (RuntimeError, AttributeError, TypeError) as error:
        logger.info("no flash attention on %s, so plain products: %s", query.device, error)
        return plain
    if agrees:
        return flash
    logger.warning(
        "flash attention of torch %s on %s does not compute what plain products do, so those are "
        "used; scores are right, only slower",
        torch.__version__,
        query.device,
    )
    return plain
