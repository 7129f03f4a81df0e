"""Conversion of LangChain documents to texts, and of a ranking to documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document

from shared_core.adapter import Cut, ShownParts
from shared_core.results import Ranking

SCORE_KEY = "relevance_score"
RETRIEVAL_SCORE_KEY = "retrieval_score"
ERROR_KEY = "rerank_error"
WINDOW_KEY = "relevance_window"
FUSED_KEY = "fused_score"
SCORED_KEY = "rerank_scored"
PROBABILITY_KEY = "probability"
NO_ANSWER_KEY = "no_answer"
EVIDENCE_KEY = "relevance_evidence"
STAGE_KEY = "rerank_stage"

_OF_A_RANKING = (
    *(ERROR_KEY, FUSED_KEY, SCORED_KEY, PROBABILITY_KEY, NO_ANSWER_KEY, EVIDENCE_KEY, STAGE_KEY),
)

logger = logging.getLogger("qwen3_rerank")

DocumentText = Callable[[Document], str] | Sequence[str]
"""A function from a document to its text, or the metadata keys to put before its text."""


def document_texts(documents: Sequence[Document], how: DocumentText | None) -> list[str]:
    """Return the text that each document is judged by.

    Args:
        documents: The documents. They are not changed.
        how: ``None`` is ``page_content``; a function is asked for each document; keys become
            ``key: value`` lines and a blank line before the ``page_content``. A key that a
            document lacks, or has as ``None``, gets no line.

    Raises:
        TypeError: Something is not a document, or its text is not a string.
    """
    texts: list[str] = []
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            remedy = (
                "give the document alone, without its score"
                if isinstance(document, tuple)
                else "make one with Document(page_content=...)"
            )
            raise TypeError(
                f"documents must be LangChain Documents, document {index} is "
                f"{type(document).__name__}; {remedy}"
            )
        text = how(document) if callable(how) else _with_metadata(document, how or ())
        if not isinstance(text, str):
            raise TypeError(
                f"document_text must return a string, got {type(text).__name__} for document "
                f"{index}"
            )
        texts.append(text)
    return texts


def retriever_scores(documents: Sequence[Document], key: str | None) -> list[Any] | None:
    """Return what the retriever left under a key of the metadata, ``None`` where it left nothing.

    Args:
        documents: The documents, in the order of the retriever.
        key: The key; ``None`` has no scores.
    """
    if key is None:
        return None
    scores = [document.metadata.get(key) for document in documents]
    if documents and all(score is None for score in scores):
        logger.warning(
            "fusion: no document has metadata[%r], the retriever_score_key; their order counts", key
        )
    return scores


def ranked_copies(
    documents: Sequence[Document],
    texts: Sequence[str],
    ranked: Ranking,
    *,
    cut: Cut,
) -> list[Document]:
    """Return copies of the kept documents, best first, with their scores in the metadata.

    A copy has the class, id and every other field of the original. Its metadata is a new dict; the
    values in it are the same objects.

    - ``relevance_score`` is P(yes), a plain float. One that was there already, the retriever's,
      moves to ``retrieval_score``, unless that key is taken: the first one stays.
    - ``probability`` and ``no_answer`` are there with a ``calibration``: the probability that this
      document is right, and that none of the candidates is.
    - ``fused_score`` is what the order follows with ``fusion``.
    - ``rerank_scored`` is ``False`` for a document that was not scored. It has no
      ``relevance_score``, not even the retriever's, which could be mistaken for ours. If it was
      passed through, ``rerank_error`` says why; it is behind ``max_candidates`` otherwise.
    - ``rerank_stage`` is the model of a `Cascade` that judged it, 1 or 2.
    - ``relevance_window`` are the characters of the best window, ``[start, end]``, of a document
      that was judged by windows. They are those of its ``page_content``; only if that is no part
      of the text that it was judged by, they are those of that text.
    - ``relevance_evidence`` has the characters ``start`` and ``end`` of the evidence, counted as
      those of the window, its ``text`` and its ``score``.

    Args:
        documents: The documents that were ranked. They are not changed.
        texts: The text that was judged, per document.
        ranked: The ranking of the documents.
        cut: What of a document becomes the copy's ``page_content``.
    """
    copies = []
    for result in ranked:
        document = documents[result.index]
        metadata = dict(document.metadata)
        for key in _OF_A_RANKING:
            metadata.pop(key, None)
        update: dict[str, Any] = {"metadata": metadata}
        if SCORE_KEY in metadata:
            metadata.setdefault(RETRIEVAL_SCORE_KEY, metadata.pop(SCORE_KEY))
        metadata |= {SCORE_KEY: result.score} if result.scored else {SCORED_KEY: False}
        if result.error is not None:
            metadata[ERROR_KEY] = result.error
        if result.fused_score is not None:
            metadata[FUSED_KEY] = result.fused_score
        if result.probability is not None:
            metadata[PROBABILITY_KEY] = result.probability
        if ranked.no_answer is not None:
            metadata[NO_ANSWER_KEY] = ranked.no_answer
        if result.stage is not None:
            metadata[STAGE_KEY] = result.stage
        shown = ShownParts(document.page_content, texts[result.index], result)
        if shown.window is not None:
            metadata[WINDOW_KEY] = [shown.window.start, shown.window.end]
        if shown.evidence is not None:
            metadata[EVIDENCE_KEY] = shown.evidence
        kept = shown.kept(cut)
        if kept is not None:
            update["page_content"] = kept.text
        copies.append(document.model_copy(update=update))
    return copies


def _with_metadata(document: Document, keys: Sequence[str]) -> str:
    values: dict[str, Any] = {key: document.metadata.get(key) for key in keys}
    lines = [f"{key}: {value}" for key, value in values.items() if value is not None]
    return "\n".join([*lines, "", document.page_content]) if lines else document.page_content
