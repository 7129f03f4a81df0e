"""The state of one call of a local model: how requests are encoded, and the images in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from shared_core.images.content import Content, only_text, text_of
from shared_core.prompt import render_fields
from shared_core.prompt.encodable import check_encodable
from shared_core.prompt.encoding import EncodedGroup, PairEncoder
from shared_core.scorers.local.inserted import Inserted
from shared_core.scorers.local.packing import Pack
from shared_core.scoring import ScoreRequest

SLICE = 256
"""Documents that are tokenised at a time, at most."""


class RequestEncoder(Protocol):
    """Encodes the requests of one call."""

    def encode(
        self,
        instruction: str,
        query: str | Content,
        documents: Sequence[str | Content],
        first_index: int = 0,
    ) -> EncodedGroup:
        """Return the token ids of a request, or of some documents of it from an index on.

        Raises:
            QueryTooLongError: No token would be left for a document.
            TextEncodingError: A text has a lone surrogate.
            ImageError: The model cannot take an image.
        """


class Call(RequestEncoder, Protocol):
    """The state of one call."""

    def inserted(self, pack: Pack, device: torch.device) -> Inserted | None:
        """Return the images of a pack; ``None`` if it has none."""

    def scored(self, groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]) -> None:
        """Let go what only these documents, each of a group, needed."""


class TextCall:
    """A call of a model for text alone.

    Args:
        encoder: Makes prompts.
        model: The name of the model, for messages.
    """

    def __init__(self, encoder: PairEncoder, model: str) -> None:
        self._encoder, self._model = encoder, model

    def encode(
        self,
        instruction: str,
        query: str | Content,
        documents: Sequence[str | Content],
        first_index: int = 0,
    ) -> EncodedGroup:
        """Return the token ids of a request; see `Call`."""
        text = only_text(query, "the query", self._model)
        texts = [
            only_text(document, f"document {index}", self._model)
            for index, document in enumerate(documents, first_index)
        ]
        return self._encoder.encode(instruction, text, texts)

    def inserted(self, pack: Pack, device: torch.device) -> None:
        """Return nothing: there are no images."""

    def scored(self, groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]) -> None:
        """Keep nothing."""


def encoded(call: Call, requests: Sequence[ScoreRequest]) -> Iterator[tuple[int, EncodedGroup]]:
    """Yield the token ids of all requests, some documents at a time, with the request's index."""
    for number, request in enumerate(requests):
        fields = render_fields(request.instruction, text_of(request.query))
        check_encodable(fields, list(map(text_of, request.documents)))
        for start in range(0, max(len(request.documents), 1), SLICE):
            documents = request.documents[start : start + SLICE]
            yield number, call.encode(request.instruction, request.query, documents, start)
