"""What is put into a pack in place of token embeddings: the images of a model that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Inserted:
    """The embeddings of a pack's images, and the positions of all of its tokens.

    Shapes: t tokens of the pack, m tokens of images, w width of the model.

    Attributes:
        places: The places of the images' tokens in the pack, Shape (m,) int64.
        embeddings: Their embeddings, Shape (m, w).
        additions: What is added to the residual there after the first layers, one after the other,
            each Shape (m, w).
        positions: Time, row and column of every token, Shape (t, 3) int64. They differ for images
            alone; after an image they go on from its longer side.
    """

    places: Tensor
    embeddings: Tensor
    additions: Sequence[Tensor]
    positions: Tensor
