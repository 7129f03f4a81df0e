"""Attention over a pack, as an attention function of transformers.

Shapes: t tokens of the pack, h query heads, g key-value heads, r = h / g query heads per key-value
head, d width of a head; n documents of a tile, q query and k key positions of a document,
p positions of a prefix.

Plain batched products are used throughout: they run on every device, keep the softmax in float32,
and were several times faster than ``scaled_dot_product_attention`` on CPUs at these shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AttentionInterface

from shared_core.scorers.packing import Span

ATTENTION_NAME = "qwen3_rerank_packed"

# The attention weights of a tile are kept under this many float32 elements (64 MiB), which bounds
# the memory of attention whatever the length of a document and the number of documents.
_TILE_ELEMENTS = 16 * 1024 * 1024
# Documents whose lengths differ by less than this share are padded into one batched product.
_PADDING_SHARE = 0.15
# Query positions of one product over a long document; smaller wastes less above the diagonal.
_TILE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Tile:
    """Spans of one prefix and of similar length, computed by one batched product per row block.

    Attributes:
        index: Positions in the pack, Shape (n, k) int64, each row a span padded on the right by
            repeating its last position. Causality hides padding from every real token.
        is_real: Which of them are not padding, Shape (n, k) bool.
        prefix: The prefix they all attend to.
        rows: Blocks of query positions (start, stop) that are computed at a time.
    """

    index: Tensor
    is_real: Tensor
    prefix: Span | None
    rows: Sequence[tuple[int, int]]


def plan_tiles(spans: Sequence[Span], n_heads: int, device: torch.device) -> list[Tile]:
    """Return the tiles that compute the attention of all spans, each within the memory bound."""
    return [_tile(batch, n_heads, device) for batch in _batches(spans, n_heads)]


def _batches(spans: Sequence[Span], n_heads: int) -> Iterator[list[Span]]:
    by_prefix: dict[Span | None, list[Span]] = {}
    for span in spans:
        by_prefix.setdefault(span.prefix, []).append(span)
    for alike in by_prefix.values():
        batch: list[Span] = []
        for span in sorted(alike, key=lambda span: -span.length):
            if batch:
                longest = batch[0].length
                weights = n_heads * min(longest, _TILE_ROWS) * (longest + span.prefix_length)
                is_full = (len(batch) + 1) * weights > _TILE_ELEMENTS
                if is_full or span.length < (1 - _PADDING_SHARE) * longest:
                    yield batch
                    batch = []
            batch.append(span)
        yield batch


def _tile(batch: Sequence[Span], n_heads: int, device: torch.device) -> Tile:
    longest = max(span.length for span in batch)
    starts = torch.tensor([span.start for span in batch])
    lengths = torch.tensor([span.length for span in batch])
    offsets = torch.arange(longest)
    index = starts[:, None] + torch.minimum(offsets[None, :], lengths[:, None] - 1)
    is_real = offsets[None, :] < lengths[:, None]

    elements_per_row = len(batch) * n_heads * (longest + batch[0].prefix_length)
    step = max(1, min(_TILE_ROWS, _TILE_ELEMENTS // elements_per_row))
    rows = [(start, min(start + step, longest)) for start in range(0, longest, step)]
    return Tile(index.to(device), is_real.to(device), batch[0].prefix, rows)


def packed_attention(
    module: torch.nn.Module,  # noqa: ARG001 - the interface of transformers
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the tiles say who attends to whom
    scaling: float,
    *,
    tiles: Sequence[Tile],
    **ignored: object,  # noqa: ARG001 - what other attention functions take
) -> tuple[Tensor, None]:
    """Return the attention of every token to its prefix and, causally, to its own span.

    Args:
        module: The attention layer; unused.
        query: Rotated queries, Shape (1, h, t, d).
        key: Rotated keys, Shape (1, g, t, d).
        value: Values, Shape (1, g, t, d).
        attention_mask: Unused.
        scaling: Factor on the products, 1/√d.
        tiles: What to compute, from `plan_tiles`.

    Returns:
        The mixed values, Shape (1, t, h, d), and no attention weights.
    """
    _, h, t, d = query.shape
    out = torch.empty(t, h, d, dtype=query.dtype, device=query.device)
    for tile in tiles:
        mixed = _attend(query[0] * scaling, key[0], value[0], tile)
        out[tile.index[tile.is_real]] = mixed[tile.is_real]
    return out.unsqueeze(0), None


def _attend(query: Tensor, key: Tensor, value: Tensor, tile: Tile) -> Tensor:
    """Return the attention of one tile, Shape (n, k, h, d)."""
    h, _, d = query.shape
    g = key.shape[0]
    r = h // g
    n, k = tile.index.shape
    queries = query[:, tile.index].reshape(g, r, n, k, d)
    keys = key[:, tile.index].reshape(g * n, k, d)
    values = value[:, tile.index].reshape(g * n, k, d)
    if tile.prefix is not None:
        prefix = slice(tile.prefix.start, tile.prefix.stop)
        prefix_keys, prefix_values = key[:, prefix], value[:, prefix]

    out = torch.empty(n, k, h, d, dtype=query.dtype, device=query.device)
    for start, stop in tile.rows:
        q = stop - start
        block = queries[:, :, :, start:stop]  # (g, r, n, q, d)
        own_block = block.transpose(1, 2).reshape(g * n, r * q, d)
        weights = torch.bmm(own_block, keys[:, :stop].transpose(1, 2)).float()
        weights = weights.view(g, n, r, q, stop)
        future = torch.ones(q, stop, dtype=torch.bool, device=out.device).triu(start + 1)
        weights = weights.masked_fill_(future, float("-inf"))
        if tile.prefix is not None:
            prefix_block = own_block.reshape(g, n * r * q, d)
            prefix_weights = torch.bmm(prefix_block, prefix_keys.transpose(1, 2)).float()
            weights = torch.cat([prefix_weights.view(g, n, r, q, -1), weights], dim=-1)
        weights = torch.softmax(weights, dim=-1).to(value.dtype)

        own_weights = weights[..., weights.shape[-1] - stop :]
        mixed = torch.bmm(own_weights.reshape(g * n, r * q, stop), values[:, :stop])
        mixed = mixed.view(g, n, r, q, d)
        if tile.prefix is not None:
            from_prefix = weights[..., : tile.prefix.length].reshape(g, n * r * q, -1)
            mixed = mixed + torch.bmm(from_prefix, prefix_values).view(g, n, r, q, d)
        out[:, start:stop] = mixed.permute(1, 3, 0, 2, 4).reshape(n, q, h, d)
    return out


AttentionInterface.register(ATTENTION_NAME, packed_attention)
