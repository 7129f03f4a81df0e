"""The distinct images of one call, and the token ids that stand for them.

A token of an image has an id beyond the vocabulary, which no other token of another image has. So
prompts begin alike exactly where their ids do, and a pack's ids say which images are in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from shared_core.images.picture import Picture
from shared_core.scorers.local.packing import Pack
from shared_core.scorers.local.vision.pixels import Grid, grid_of


class Shown(NamedTuple):
    """An image of the call.

    Attributes:
        picture: The image.
        grid: Its size in tokens.
        first_id: The id of its first token; those of the others follow.
    """

    picture: Picture
    grid: Grid
    first_id: int

    @property
    def ids(self) -> range:
        """The ids of its tokens, by rows."""
        return range(self.first_id, self.first_id + self.grid.n_tokens)


class Album:
    """The images of one call, each once.

    Args:
        first_id: The id of the first image's first token: the size of the vocabulary.
        token_side: The pixels of a side of a token.
    """

    def __init__(self, first_id: int, token_side: int) -> None:
        self._first_id, self._next_id, self.token_side = first_id, first_id, token_side
        self._by_digest: dict[str, Shown] = {}
        self._first_ids: list[int] = []
        self._shown: list[Shown] = []

    def add(self, picture: Picture) -> Shown:
        """Return an image's place, the same for the same pixels.

        Raises:
            ImageError: Its proportions are none that the model reads.
        """
        found = self._by_digest.get(picture.digest)
        if found is None:
            grid = grid_of(*picture.size, self.token_side)
            found = self._by_digest[picture.digest] = Shown(picture, grid, self._next_id)
            self._next_id += grid.n_tokens
            self._first_ids.append(found.first_id)
            self._shown.append(found)
        return found

    def images_in(self, ids: Sequence[int]) -> Iterator[tuple[int, Shown]]:
        """Yield the images among token ids in order, each with its first token's place."""
        place = 0
        while place < len(ids):
            if ids[place] < self._first_id:
                place += 1
                continue
            shown = self._shown[bisect_right(self._first_ids, ids[place]) - 1]
            yield place, shown
            place += shown.grid.n_tokens

    def positions(self, pack: Pack) -> Tensor:
        """Return time, row and column of each token of a pack, Shape (t, 3) int64.

        A span goes on where the span before it has ended. Source: transformers
        ``modeling_qwen3_vl.py``, ``get_rope_index``.
        """
        positions = torch.empty(len(pack.ids), 3, dtype=torch.int64)
        ends: dict[int, int] = {}
        for span in pack.spans:
            end = 0 if span.before is None else ends[span.before.start]
            place = span.start
            for first, shown in self.images_in(pack.ids[span.start : span.stop]):
                end = _write(positions[place : span.start + first], end)
                place = span.start + first + shown.grid.n_tokens
                here = positions[span.start + first : place].view(*shown.grid, 3)
                here[..., 0] = end
                here[..., 1] = torch.arange(shown.grid.rows)[:, None] + end
                here[..., 2] = torch.arange(shown.grid.columns) + end
                end += shown.grid.n_positions
            ends[span.start] = _write(positions[place : span.stop], end)
        return positions


def _write(positions: Tensor, start: int) -> int:
    """Write the positions of texts, Shape (n, 3), from a start on; return the one after them."""
    end = start + len(positions)
    positions[:] = torch.arange(start, end)[:, None]
    return end
