"""Validation of a caller's arguments, and their conversion to requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

from shared_core.diversity import Embeddings, checked_embeddings
from shared_core.errors import ConfigurationError
from shared_core.fusion import Scores, checked_scores
from shared_core.images.content import Content, has_images, size_of, text_of
from shared_core.options import Instruction, RankingOptions, resolve_instruction
from shared_core.scoring import Pair, RankRequest, Retrieved, ScoreRequest

Given = TypeVar("Given")


def make_request(
    query: str | Content,
    documents: Iterable[str | Content],
    instruction: Instruction | None,
    configured: Instruction | None,
) -> ScoreRequest:
    """Return a request with the unchanged texts and contents, and the effective instruction.

    Raises:
        TypeError: Something is neither, or ``documents`` is one, a mapping or a set.
        ValueError: The query is blank, or it or the instruction resembles the model's prompt.
    """
    if not isinstance(query, (str, Content)):
        raise TypeError(f"query must be a string or a Content, got {_kind(query)}")
    if not text_of(query).strip() and not has_images(query):
        raise ValueError(f"query is blank ({query!r}): there is nothing to judge against")
    if isinstance(documents, (str, bytes, Content)):
        kind = "Content" if isinstance(documents, Content) else "string"
        raise TypeError(f"documents must be a list of strings, got one {kind}; wrap it in []")
    if isinstance(documents, (Mapping, AbstractSet)):
        raise TypeError(
            f"documents must be a list of strings, got a {_kind(documents)}, whose texts "
            "have no place that a score could name; pass list(...) of them"
        )
    documents = list(documents)
    for index, document in enumerate(documents):
        if not isinstance(document, (str, Content)):
            raise TypeError(
                f"documents must be strings, or Contents of texts and images, document {index} is "
                f"{_kind(document)}"
            )
    text = text_of(query)
    return ScoreRequest(query, resolve_instruction(instruction, configured, text), documents)


def make_requests(
    queries: Iterable[str | Content],
    document_lists: Iterable[Iterable[str | Content]],
    instruction: Instruction | None,
    configured: Instruction | None,
) -> list[ScoreRequest]:
    """Return one request per query.

    Raises:
        TypeError: ``queries`` is one string, or as for `make_request`.
        ValueError: There are not as many lists as queries, or as for `make_request`.
    """
    if isinstance(queries, (str, Content)):
        raise TypeError(f"queries must be a list of strings, got one {_kind(queries)}; use rerank")
    queries, document_lists = list(queries), list(document_lists)
    if len(queries) != len(document_lists):
        raise ValueError(
            f"got {len(queries)} queries and {len(document_lists)} lists of documents; "
            "expected the same number"
        )
    return [
        make_request(query, documents, instruction, configured)
        for query, documents in zip(queries, document_lists, strict=True)
    ]


def rank_requests(
    requests: Sequence[ScoreRequest],
    ranking: RankingOptions,
    scores: Iterable[Scores | None] | None,
    embeddings: Iterable[Embeddings | None] | None,
) -> list[RankRequest]:
    """Return requests with what their retriever knows of the documents.

    Args:
        requests: Queries with their documents.
        ranking: The options of the ranking.
        scores: The scores of the retriever, per request; ``None`` where it has none.
        embeddings: The documents' embeddings, likewise.

    Raises:
        ConfigurationError: Something is given that has no effect.
        TypeError, ValueError: There is not one per document, or one is no number.
    """
    for name, given, option in (
        ("retriever_scores", scores, "fusion"),
        ("embeddings", embeddings, "mmr"),
    ):
        if given is not None and getattr(ranking, option) is None:
            raise ConfigurationError(f"{name} has no effect without {option}: give both or neither")
    counts = [len(request.documents) for request in requests]
    all_scores = _per_request("retriever_scores", scores, len(counts))
    all_vectors = _per_request("embeddings", embeddings, len(counts))
    return [
        RankRequest(
            request.query,
            request.instruction,
            request.documents,
            Retrieved(
                None if some is None else checked_scores(some, count),
                None if vectors is None else checked_embeddings(vectors, count),
            ),
        )
        for request, count, some, vectors in zip(
            requests, counts, all_scores, all_vectors, strict=True
        )
    ]


def _per_request(name: str, given: Iterable[Given | None] | None, count: int) -> list[Given | None]:
    found: list[Given | None] = [None] * count if given is None else list(given)
    if len(found) != count:
        raise ValueError(f"got {len(found)} lists of {name} for {count} queries")
    return found


def checked_requests(
    requests: Iterable[ScoreRequest], configured: Instruction | None
) -> list[ScoreRequest]:
    """Return a caller's own requests, checked as the texts of every other call are.

    Raises:
        TypeError: Something is no `ScoreRequest`, or as for `make_request`.
        ValueError: As for `make_request`.
    """
    checked = []
    for index, one in enumerate(requests):
        if not isinstance(one, ScoreRequest):
            raise TypeError(f"requests must be ScoreRequests, request {index} is {_kind(one)}")
        checked.append(make_request(one.query, one.documents, one.instruction, configured))
    return checked


def checked_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Return pairs as a list.

    Raises:
        TypeError: Something is no (query, document) pair of strings or contents; names its place.
    """
    checked = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"pairs must be (query, document), pair {index} is {_kind(pair)}")
        query, document = pair
        for name, text in (("query", query), ("document", document)):
            if not isinstance(text, (str, Content)):
                raise TypeError(f"the {name} of pair {index} must be a string, got {_kind(text)}")
        checked.append((query, document))
    return checked


def grouped(pairs: Sequence[Pair]) -> list[tuple[str | Content, list[int]]]:
    """Return each query with the places of its pairs.

    A query's documents go together, so that its prefix is computed once; those with the longest
    document come first, so that the most memory is asked for at the start.
    """
    groups: dict[str | Content, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        groups.setdefault(query, []).append(place)
    return sorted(
        groups.items(), key=lambda group: -max(size_of(pairs[one][1]) for one in group[1])
    )


def _kind(value: object) -> str:
    return type(value).__name__
