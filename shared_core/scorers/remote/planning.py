"""Request planning: documents are wrapped, cut, and split by the server's limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from shared_core.errors import UnsupportedByServerError
from shared_core.prompt import DEFAULT_INSTRUCTION, render_fields
from shared_core.prompt.encodable import check_encodable, check_requests
from shared_core.scorers.remote.contents import Sent, sent
from shared_core.scorers.remote.dialects.base import Batch, trait
from shared_core.scorers.remote.setup import Setup
from shared_core.scorers.remote.wrapping import prompt_pieces, wrapped_pair
from shared_core.scoring import ScoreRequest, TextRequest, text_request

_BODY_BYTES = 1024  # of a request besides the texts
_FIXED_TOKENS = 120  # more than the fixed parts of the prompt have (72)


@dataclass(frozen=True, slots=True)
class Piece:
    """One document in the form that is sent.

    Attributes:
        index: The position in the query's documents.
        content: Text, or token ids, or a content with images in the dialect's shape.
        n_tokens: Tokens of the whole prompt, where a tokenizer is at hand.
        truncated: Whether it was cut on this side; ``None`` if the server may still cut it.
    """

    index: int
    content: Sent | list[int]
    n_tokens: int | None
    truncated: bool | None

    @property
    def size(self) -> int:
        """Its characters, or token ids; those of images are many."""
        is_plain = isinstance(self.content, str) or self.n_tokens is not None
        return len(self.content) if is_plain else len(_dumped(self.content))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One request, and the positions of its documents."""

    batch: Batch
    pieces: Sequence[Piece]

    def halves(self) -> tuple[Chunk, Chunk]:
        """Return two chunks of half the documents each."""
        middle = len(self.pieces) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, part: slice) -> Chunk:
        batch = replace(
            self.batch, documents=self.batch.documents[part], rests=self.batch.rests[part]
        )
        return Chunk(batch, self.pieces[part])


def plan_chunks(setup: Setup, model: str, given: ScoreRequest) -> list[Chunk]:
    """Return the requests that score one query's documents.

    Raises:
        UnsupportedByServerError: The server writes the prompt and has no place for the instruction.
        QueryTooLongError: No token would be left for a document.
        TextEncodingError: A text has a lone surrogate; names which.
    """
    if setup.sees:
        return _chunks_to_see(setup, model, given)
    request = text_request(given, f"the server's model {model!r}, as far as it says,")
    check_encodable(render_fields(request.instruction, request.query), request.documents)
    if setup.template == "server-fixed" and request.instruction != DEFAULT_INSTRUCTION:
        raise _no_place_for(request.instruction, setup.url)
    base, pieces = _pieces(setup, model, request)
    if setup.encoder is None and trait(setup.dialect, "cuts_silently"):
        _refuse_what_may_be_cut(setup, base, pieces)
    return [
        Chunk(_filled(base, setup, [piece.content for piece in chosen]), chosen)
        for chosen in _split(setup, base, pieces)
    ]


def _chunks_to_see(setup: Setup, model: str, request: ScoreRequest) -> list[Chunk]:
    """Return the requests to a model that sees, whose prompt the server writes."""
    check_requests([request])
    shape = trait(setup.dialect, "images")
    # The text models' default is not this model's own, which the server knows.
    instruction = None if request.instruction == DEFAULT_INSTRUCTION else request.instruction
    if instruction is not None and setup.template == "server-fixed":
        raise _no_place_for(instruction, setup.url)
    base = Batch(
        model,
        sent(request.query, "the query", shape, setup.neutralise_query),
        instruction=None if instruction is None else setup.neutralise(instruction),
    )
    pieces = [
        Piece(index, sent(document, f"document {index}", shape, setup.neutralise), None, None)
        for index, document in enumerate(request.documents)
    ]
    return [
        Chunk(_filled(base, setup, [piece.content for piece in chosen]), chosen)
        for chosen in _split(setup, base, pieces)
    ]


def _no_place_for(instruction: str, url: str) -> UnsupportedByServerError:
    return UnsupportedByServerError(
        f"{url} writes the prompt by itself and takes no instruction, so that "
        f"{_short(instruction)!r} would be ignored: leave instruction out, or use a "
        "server that takes one (docs/servers.md)"
    )


def _refuse_what_may_be_cut(setup: Setup, base: Batch, pieces: Sequence[Piece]) -> None:
    """Raise if a server may cut a prompt's suffix silently. A token is at least one byte."""
    for piece in pieces:
        size = len(f"{base.prefix}{piece.content}".encode())
        if size > setup.max_length:
            raise UnsupportedByServerError(
                f"the prompt of document {piece.index} has {size} bytes, which may be more "
                f"than {setup.max_length} tokens, and {setup.url} would cut its end unseen: "
                "give tokenizer=, so that the document is cut here"
            )


def _pieces(setup: Setup, model: str, request: TextRequest) -> tuple[Batch, list[Piece]]:
    """Return the batch that all requests share, and the documents in the form that is sent."""
    base = Batch(model, yes_id=setup.yes_id, no_id=setup.no_id)
    if setup.sends_ids and setup.encoder is not None:
        group = setup.encoder.encode(request.instruction, request.query, request.documents)
        pieces = [
            Piece(index, document.ids, document.n_tokens, document.truncated)
            for index, document in enumerate(group.documents)
        ]
        return replace(base, prefix=group.prefix_ids), pieces

    query = setup.neutralise_query(request.query)
    instruction = setup.neutralise(request.instruction)
    texts = [setup.neutralise(document) for document in request.documents]
    cut: list[tuple[str, int | None, bool | None]]
    if setup.encoder is not None:
        cut = [setup.encoder.cut(instruction, query, text) for text in texts]
    else:
        cut = [(text, None, None) for text in texts]
    if setup.template == "prompt":
        base = replace(base, prefix=prompt_pieces(instruction, query, "")[0])
        contents = [prompt_pieces(instruction, query, text)[1] for text, _, _ in cut]
    elif setup.template == "client":
        base = replace(base, query=wrapped_pair(instruction, query, "")[0])
        contents = [wrapped_pair(instruction, query, text)[1] for text, _, _ in cut]
    else:
        base = replace(base, query=query, max_document_tokens=_server_cut(setup, request))
        if setup.template == "server":
            base = replace(base, instruction=instruction)
        contents = [text for text, _, _ in cut]
    return base, [
        Piece(index, content, n_tokens, truncated)
        for index, (content, (_, n_tokens, truncated)) in enumerate(zip(contents, cut, strict=True))
    ]


def _server_cut(setup: Setup, request: TextRequest) -> int | None:
    """Return the token limit for the server's truncation, if it can cut and one may be too long."""
    if setup.encoder is not None or not setup.facts.is_at_least(0, 20, 2):
        return None
    # A token is at least one byte, so this much surely fits.
    fields = render_fields(request.instruction, request.query)
    room = setup.max_length - _FIXED_TOKENS - len(fields.encode())
    longest = max((len(document.encode()) for document in request.documents), default=0)
    return room if 0 < room < longest else None


def _split(setup: Setup, base: Batch, pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the documents of one request after another, within the dialect's limits."""
    most = trait(setup.dialect, "max_documents")
    most_bytes, most_tokens = trait(setup.dialect, "max_bytes"), trait(setup.dialect, "max_tokens")
    shared = len(_dumped(base.prefix)) + len(_dumped(base.query))  # some repeat it per document
    query_tokens = _token_bound(base.query)
    chosen: list[Piece] = []
    n_bytes = n_tokens = 0
    for piece in pieces:
        size = len(_dumped(piece.content)) + shared
        cost = query_tokens + (piece.n_tokens or _token_bound(piece.content))
        full = len(chosen) >= most or n_bytes + size + _BODY_BYTES > most_bytes
        if chosen and (full or (most_tokens is not None and n_tokens + cost > most_tokens)):
            yield chosen
            chosen, n_bytes, n_tokens = [], 0, 0
        chosen.append(piece)
        n_bytes, n_tokens = n_bytes + size, n_tokens + cost
    if chosen:
        yield chosen


def _filled(base: Batch, setup: Setup, contents: Sequence[Sent | list[int]]) -> Batch:
    if setup.template == "prompt":
        return replace(base, rests=cast("list[str | list[int]]", list(contents)))
    return replace(base, documents=cast("list[Sent]", list(contents)))


def _token_bound(content: Sent | list[int]) -> int:
    """Return an upper bound of the tokens of nearly any text: half its bytes."""
    return len(content.encode()) // 2 if isinstance(content, str) else len(content)


def _dumped(content: Sent | list[int]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
