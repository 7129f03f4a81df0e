"""Splitting of documents into windows, and selection of the best window's score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shared_core.images.content import Content, pictures_of, text_of
from shared_core.options.windows import Windows
from shared_core.prompt.unwrapping import cut_in_front, unwrapped
from shared_core.scoring import Scored, ScoreRequest, TokenMeter
from shared_core.steps import Steps
from shared_core.windows.meters import Count
from shared_core.windows.sentences import Span
from shared_core.windows.windows import split_windows


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The requests with long documents split into windows.

    Attributes:
        requests: The requests to score, long documents replaced by their windows.
        spans: The spans of the windows, by request and document; ``None`` for a whole document.
    """

    requests: list[ScoreRequest]
    spans: list[list[list[Span] | None]]

    @property
    def n_documents(self) -> int:
        """The number of documents and windows to score."""
        return sum(len(request.documents) for request in self.requests)

    def fold(self, answers: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
        """Return one `Scored` per document: that of its window with the highest margin.

        Of equal ones the first. ``n_tokens`` is that window's, ``total_tokens`` of all of them,
        ``truncated`` whether any was cut.
        """
        folded = []
        for by_document, answer in zip(self.spans, answers, strict=True):
            scored = iter(answer)
            folded.append(
                [
                    next(scored) if spans is None else _best(spans, [next(scored) for _ in spans])
                    for spans in by_document
                ]
            )
        return folded


# So many characters are counted at once, so that a limit is noticed before all of them are.
_COUNTED_AT_ONCE = 2**18


class TooManyWindowsError(ValueError):
    """The documents have more windows than allowed."""


def planning(
    requests: Sequence[ScoreRequest],
    windows: Windows,
    meter: TokenMeter,
    *,
    most: int | None = None,
) -> Steps[WindowPlan]:
    """Return the requests with windows, in steps of some hundred thousand characters.

    Documents with images stay whole.

    Windows are smaller than asked for where instruction and query leave less room than that within
    ``max_length``, so that nothing of a document is cut.

    Args:
        requests: Queries with their documents.
        windows: The size and overlap of the windows.
        meter: Counts tokens.
        most: The most windows, where a document that is not split is one. Where there are more,
            the work ends soon after so many, however long the documents are.

    Raises:
        TooManyWindowsError: There are more than ``most``.
        QueryTooLongError: They leave none.
        TextEncodingError: A text has a lone surrogate; names which.
        ScoringError: A scorer's own ``count_tokens`` failed.
    """
    planned, spans = [], []
    n_windows = n_characters = 0
    windows_of: dict[tuple[Windows, str], list[Span] | None] = {}
    for wrapped in requests:
        request, cut = unwrapped(wrapped), cut_in_front(wrapped)
        query = text_of(request.query)
        meter.check(request.instruction, query, [*map(text_of, request.documents)])
        room = meter.room(request.instruction, query)
        seen = sum(picture.n_tokens for picture in pictures_of(request.query))
        fitting = windows.within(max(room - seen, 1))
        texts = [document for document in request.documents if isinstance(document, str)]
        new = [text for text in dict.fromkeys(texts) if (fitting, text) not in windows_of]
        for text, tokens in _counted(new, meter.count, fitting, most):
            windows_of[fitting, text] = _split(text, tokens, fitting, meter)
            n_characters += len(text)
            if n_characters >= _COUNTED_AT_ONCE:
                n_characters = 0
                yield None
        found = [
            windows_of[fitting, document] if isinstance(document, str) else None
            for document in request.documents
        ]
        planned.append(replace(request, documents=_texts(request.documents, found)))
        spans.append(
            [
                None if some is None else [(start + left, end + left) for start, end in some]
                for some, left in zip(found, cut, strict=True)
            ]
        )
        n_windows += len(planned[-1].documents)
        _check_number(n_windows, most)
    return WindowPlan(planned, spans)


def _counted(
    texts: Sequence[str], count: Count, windows: Windows, most: int | None
) -> Iterator[tuple[str, int]]:
    """Yield texts with their token counts, while the number of windows is within the limit."""
    n_tokens = 0
    for some in _batches(texts):
        if most is not None and len(some[0]) > _COUNTED_AT_ONCE:
            _check_length(some[0], count, n_tokens, windows, most)
        for text, tokens in zip(some, count(some), strict=True):
            n_tokens += tokens
            if most is not None:
                _check_number(n_tokens // windows.tokens, most)
            yield text, tokens


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield lists of texts with a bounded number of characters; a long text is alone."""
    batch: list[str] = []
    n_characters = 0
    for text in texts:
        if batch and n_characters + len(text) > _COUNTED_AT_ONCE:
            yield batch
            batch, n_characters = [], 0
        batch.append(text)
        n_characters += len(text)
    if batch:
        yield batch


def _check_length(text: str, count: Count, n_tokens: int, windows: Windows, most: int) -> None:
    """Raise `TooManyWindowsError` as soon as the parts of a long text have too many tokens."""
    for start in range(0, len(text), _COUNTED_AT_ONCE):
        n_tokens += count([text[start : start + _COUNTED_AT_ONCE]])[0]
        _check_number(n_tokens // windows.tokens, most)


def _check_number(n_windows: int, most: int | None) -> None:
    if most is not None and n_windows > most:
        raise TooManyWindowsError(f"the documents make more than {most} windows")


def _split(document: str, n_tokens: int, windows: Windows, meter: TokenMeter) -> list[Span] | None:
    """Return the spans of a document's windows, ``None`` if one window holds it all."""
    if n_tokens <= windows.tokens:
        return None
    return split_windows(
        document, n_tokens, meter.count, most_tokens=windows.tokens, overlap=windows.overlap
    )


def _texts(
    documents: Sequence[str | Content], found: Sequence[list[Span] | None]
) -> list[str | Content]:
    """Return the documents in order, long documents replaced by their windows."""
    texts: list[str | Content] = []
    for document, spans in zip(documents, found, strict=True):
        if spans is None:
            texts.append(document)
        else:
            texts += [text_of(document)[start:end] for start, end in spans]
    return texts


def _best(spans: Sequence[Span], scored: Sequence[Scored]) -> Scored:
    best = max(range(len(scored)), key=lambda place: scored[place].logit)
    counts = [result.n_tokens for result in scored if result.n_tokens is not None]
    cuts = [result.truncated for result in scored]
    return replace(
        scored[best],
        truncated=True if True in cuts else None if None in cuts else False,
        window=spans[best],
        total_tokens=sum(counts) if len(counts) == len(scored) else None,
    )
