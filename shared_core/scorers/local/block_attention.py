"""Attention over a pack on CPUs, in blocks of queries over their visible keys.

A block's keys end where its queries end, so that little is computed above the diagonal and only
the square on it is masked. What is held at a time stays in the cache and is allocated once for all
layers. A long span goes to torch's fused kernel instead, which never holds its weights at all.

Shapes as in ``attention.py``. Plain products are nearly twice as fast as the fused kernel at a
hundred tokens and fall behind it from some 1,500 on: see ``docs/performance.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.scorers.local.packing import Span

# Attention weights held at a time, at most, unless one head has more: 8 MiB in float32.
_MOST_ELEMENTS = 2 * 1024 * 1024
# Queries of a block: for each thread that shares its products, at least, and at most.
_ROWS_PER_THREAD = 32
_LEAST_ROWS, _MOST_ROWS = 64, 256
# Keys from which on the fused kernel is the faster one, and the share of a prompt that may be in
# front of the span: its causal mask begins at the first key, so what is in front attends again.
_FUSED_KEYS = 1536
_FUSED_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Part:
    """The query rows of a span.

    Attributes:
        span: Whose they are.
        place: The index of the rows' first query among all queries.
        first: The first row, counted from the beginning of the span.
        stop: The row after the last.
        is_fused: Whether the fused kernel computes them, which takes whole spans in their places.
    """

    span: Span
    place: int
    first: int
    stop: int
    is_fused: bool = False


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The parts to compute, and the buffers that all layers share."""

    parts: list[Part]
    room: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, n_elements: int, like: Tensor) -> Tensor:
        """Return a buffer by name and size, Shape (n_elements,); its content is lost."""
        held = self.room.get(name)
        if held is None or held.numel() < n_elements:
            held = self.room[name] = like.new_empty(n_elements)
        return held[:n_elements]


class BlockAttention:
    """Attention by plain products over blocks, and by the fused kernel over long spans."""

    tokens_first = False

    def __init__(self) -> None:
        rows = _ROWS_PER_THREAD * torch.get_num_threads()
        self._rows = min(max(rows, _LEAST_ROWS), _MOST_ROWS)
        self._above = torch.ones(self._rows, self._rows, dtype=torch.bool).triu(1)[:, None]

    def plan(self, spans: Sequence[Span], n_tokens: int) -> BlockPlan:  # noqa: ARG002
        """Return the plan for all positions of the spans; see `Attention.plan`."""
        return BlockPlan([Part(span, span.start, 0, span.length, _is_long(span)) for span in spans])

    def plan_last(self, spans: Sequence[Span]) -> BlockPlan:
        """Return the plan for the last position of each span alone."""
        return BlockPlan(
            [Part(span, place, span.length - 1, span.length) for place, span in enumerate(spans)]
        )

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, plan: BlockPlan) -> Tensor:
        """Return the mixed values of each query; see `Attention.__call__`."""
        g, t, r, d = query.shape
        out = query.new_empty(t, g, r, d)
        prompts = _Prompts(key, value, plan)
        for part in plan.parts:
            keys, values = prompts.up_to(part.span)
            if part.is_fused:
                _fused(query, keys, values, part.span, out)
            else:
                self._blocks(query, keys, values, part, plan, out)
        return out.view(t, g * r * d)

    def _blocks(
        self, query: Tensor, keys: Tensor, values: Tensor, part: Part, plan: BlockPlan, out: Tensor
    ) -> None:
        """Write the mixed values of a part to their places in ``out``, Shape (t, g, r, d)."""
        g, _, r, d = query.shape
        rows = min(self._rows, part.stop - part.first)
        of_a_head = rows * r * keys.shape[1]
        n_heads = max(g // math.ceil(g * of_a_head / _MOST_ELEMENTS), 1)
        room = plan.take("weights", n_heads * of_a_head, query)
        for first in range(part.first, part.stop, rows):
            q = min(rows, part.stop - first)
            k = part.span.first_position + first + q
            start = part.place + first - part.first
            for head in range(0, g, n_heads):
                heads, places = slice(head, head + n_heads), slice(start, start + q)
                block = query[heads, places]
                n = len(block)
                weights = room[: n * q * r * k].view(n, q * r, k)
                torch.bmm(block.reshape(n, q * r, d), keys[heads, :k].transpose(1, 2), out=weights)
                diagonal = weights.view(n, q, r, k)[..., k - q :]
                diagonal.masked_fill_(self._above[:q, :, :q], float("-inf"))
                # In place; torch computes it in float32 whatever the dtype.
                torch.softmax(weights, dim=-1, out=weights)
                mixed = torch.bmm(weights, values[heads, :k])
                out[places, heads] = mixed.view(n, q, r, d).transpose(0, 1)


class _Prompts:
    """Contiguous keys and values of one prompt after another.

    What is in front of several documents is copied once, as long as they follow one another.
    """

    def __init__(self, key: Tensor, value: Tensor, plan: BlockPlan) -> None:
        self._sources, self._plan = {"keys": key, "values": value}, plan
        self._longest = max(part.span.end_position for part in plan.parts)
        self._in_front: Span | None = None

    def up_to(self, span: Span) -> tuple[Tensor, ...]:
        """Return the keys and values visible to a span's last token, each Shape (g, k, d)."""
        if _lies_whole(span):
            return tuple(source[:, : span.stop] for source in self._sources.values())
        missing = [span] if self._in_front is span.before else list(span.chain())
        copies = []
        for name, source in self._sources.items():
            g, _, d = source.shape
            copy = self._plan.take(name, g * self._longest * d, source).view(g, self._longest, d)
            for part in missing:
                copy[:, part.first_position : part.end_position] = source[:, part.start : part.stop]
            copies.append(copy[:, : span.end_position])
        self._in_front = span.before
        return tuple(copies)


def _lies_whole(span: Span) -> bool:
    """Return whether a span's prompt is contiguous at the start of the pack."""
    return span.start == span.first_position


def _is_long(span: Span) -> bool:
    """Return whether the fused kernel is faster for this span."""
    return (
        span.end_position >= _FUSED_KEYS and span.first_position <= _FUSED_SHARE * span.end_position
    )


def _fused(query: Tensor, keys: Tensor, values: Tensor, span: Span, out: Tensor) -> None:
    """Write the mixed values of a whole span to their places in ``out``, Shape (t, g, r, d)."""
    g, k, d = keys.shape
    if _lies_whole(span):
        queries = query[:, : span.stop]
    else:
        queries = torch.cat([query[:, part.start : part.stop] for part in span.chain()], dim=1)
    r = query.shape[2]
    mixed = F.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys[:, None].expand(g, r, k, d),
        values[:, None].expand(g, r, k, d),
        is_causal=True,
        scale=1.0,
    )
    out[span.start : span.stop] = mixed[:, :, span.first_position :].permute(2, 0, 1, 3)
