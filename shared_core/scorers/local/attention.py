"""Attention over a pack as tiles, and the plain product over them.

Shapes: t tokens of the pack, g key-value heads, r query heads per key-value head, d width of a
head; n spans of a tile, q query and k key positions of a span.

The product here is the plain one, which runs on every device and keeps the softmax in float32. CPUs
and CUDA have faster ones in ``block_attention.py`` and ``flash.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from shared_core.scorers.local.devices import sent
from shared_core.scorers.local.packing import Span

# The attention weights of a tile are kept under this many elements, which bounds the memory of
# attention whatever the length and the number of documents.
_TILE_ELEMENTS = 16 * 1024 * 1024
# Spans whose lengths differ by less than this share are padded into one batched product.
_PADDING_SHARE = 0.15
# Query positions of one product over a long span, at most; fewer waste less above the diagonal, and
# keep the bound where a single span has many keys. Below the least, products are slow.
_TILE_ROWS = 256
_LEAST_TILE_ROWS = 32


@dataclass(frozen=True, slots=True)
class Tile:
    """Positions of several spans of similar length, computed by one batched product.

    Attributes:
        queries: The positions of the attending tokens in the pack, Shape (n, q) int64. Padding on
            the right is position t, which is no token's: results are written there and lost.
        keys: The attended tokens, Shape (n, k) int64: all that is before the span in its
            prompt, then the span. Padding on the right is position 0, and hidden.
        hidden: Which keys each query must not see, Shape (n, q, 1, k) bool.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor


class Attention(Protocol):
    """Protocol of an attention: plans once for all layers, then computes the products."""

    tokens_first: bool
    """Whether queries, keys and values are wanted with all heads of a token side by side."""

    def plan(self, spans: Sequence[Span], n_tokens: int) -> Any:
        """Return the plan for all positions of the spans, which cover all t tokens."""

    def plan_last(self, spans: Sequence[Span]) -> Any:
        """Return the plan for the last position of each span: one query per span."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, plan: Any) -> Tensor:
        """Return the mixed values of each query, Shape (q, g · r · d).

        Args:
            query: Rotated queries times 1/√d, Shape (g, q, r, d).
            key: Rotated keys, Shape (g, t, d).
            value: Values, Shape (g, t, d).
            plan: The plan of those queries.
        """


class TiledAttention:
    """Attention by plain batched products over tiles.

    Args:
        n_heads: Query heads.
        device: The device of the computation.
        most_elements: Attention weights of a tile, at most.
    """

    tokens_first = False

    def __init__(
        self, n_heads: int, device: torch.device, most_elements: int = _TILE_ELEMENTS
    ) -> None:
        self._n_heads, self._device, self._most_elements = n_heads, device, most_elements

    def plan(self, spans: Sequence[Span], n_tokens: int) -> list[Tile]:
        """Return the tiles in which every position of the spans attends."""
        tiles = []
        for batch in _batches(spans, self._n_heads, self._most_elements, _TILE_ROWS):
            longest, most_keys = batch[0].length, max(span.end_position for span in batch)
            fitting = self._most_elements // (len(batch) * self._n_heads * most_keys)
            step = min(max(fitting, _LEAST_TILE_ROWS), _TILE_ROWS)
            for start in range(0, longest, step):
                rows = torch.arange(start, min(start + step, longest))
                starts = torch.tensor([[span.start] for span in batch])
                lengths = torch.tensor([[span.length] for span in batch])
                queries = torch.where(rows < lengths, starts + rows, n_tokens)
                tiles.append(_tile(batch, queries, rows.expand(len(batch), -1), self._device))
        return tiles

    def plan_last(self, spans: Sequence[Span]) -> list[Tile]:
        """Return the tiles in which the last position of each span attends, and no other.

        Their ``queries`` are indices into ``spans``, since only so many queries are computed.
        """
        place = {span.start: index for index, span in enumerate(spans)}
        tiles = []
        for batch in _batches(spans, self._n_heads, self._most_elements, 1):
            queries = torch.tensor([[place[span.start]] for span in batch])
            rows = torch.tensor([[span.length - 1] for span in batch])
            tiles.append(_tile(batch, queries, rows, self._device))
        return tiles

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, plan: list[Tile]) -> Tensor:
        """Return the mixed values of each query; see `Attention.__call__`."""
        g, t, r, d = query.shape
        # The last row is scratch: what comes of padding goes there.
        out = query.new_empty(t + 1, g, r, d)
        for tile in plan:
            n, q = tile.queries.shape
            k = tile.keys.shape[1]
            rows = tile.queries.reshape(-1)
            queries = query.index_select(1, rows.clamp(max=t - 1))
            keys = key.index_select(1, tile.keys.reshape(-1)).view(g * n, k, d)
            values = value.index_select(1, tile.keys.reshape(-1)).view(g * n, k, d)
            weights = torch.bmm(queries.view(g * n, q * r, d), keys.transpose(1, 2)).float()
            weights.view(g, n, q, r, k).masked_fill_(tile.hidden, float("-inf"))
            weights = torch.softmax(weights, dim=-1).to(value.dtype)
            mixed = torch.bmm(weights, values).view(g, n * q, r, d)
            out.index_copy_(0, rows, mixed.transpose(0, 1))
        return out[:t].view(t, g * r * d)


def _batches(
    spans: Sequence[Span], n_heads: int, most_elements: int, most_rows: int
) -> Iterator[list[Span]]:
    """Yield batches of spans of similar length, longest first, within the memory bound."""
    batch: list[Span] = []
    most_keys = 0
    for span in sorted(spans, key=lambda span: (-span.length, -span.end_position)):
        if batch:
            keys = max(most_keys, span.end_position)
            n_weights = n_heads * min(batch[0].length, most_rows) * keys
            is_full = (len(batch) + 1) * n_weights > most_elements
            least_keys = min(span.end_position, *(other.end_position for other in batch[:1]))
            is_shorter = span.length < (1 - _PADDING_SHARE) * batch[0].length
            if is_full or is_shorter or least_keys < (1 - _PADDING_SHARE) * keys:
                yield batch
                batch, most_keys = [], 0
        batch.append(span)
        most_keys = max(most_keys, span.end_position)
    if batch:
        yield batch


def _tile(batch: Sequence[Span], queries: Tensor, rows: Tensor, device: torch.device) -> Tile:
    """Return the tile of the positions ``rows``, Shape (n, q), within each span."""
    last = rows.max(dim=1).values.tolist()
    visible = [
        torch.cat([torch.arange(part.start, part.stop) for part in span.chain()])[
            : span.first_position + row + 1
        ]
        for span, row in zip(batch, last, strict=True)
    ]
    keys = torch.nn.utils.rnn.pad_sequence(visible, batch_first=True)
    first = torch.tensor([[span.first_position] for span in batch])
    hidden = torch.arange(keys.shape[1]) > (first + rows)[:, :, None]
    return Tile(sent(queries, device), sent(keys, device), sent(hidden[:, :, None], device))
