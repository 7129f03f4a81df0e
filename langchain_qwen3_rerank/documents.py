"""Conversion of LangChain documents to texts, and of a ranking to documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document

from shared_core.results import Ranking
from shared_core.shown import RETRIEVAL_SCORE_KEY, STALE, Cut, ShownParts, notes_of

SCORE_KEY = "relevance_score"

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
    - A document that was not scored has no ``relevance_score``, not even the retriever's, which
      could be mistaken for ours.
    - The other keys are those of `notes_of`.

    Args:
        documents: The documents that were ranked. They are not changed.
        texts: The text that was judged, per document.
        ranked: The ranking of the documents.
        cut: What of a document becomes the copy's ``page_content``.
    """
    copies = []
    for result in ranked:
        document = documents[result.index]
        metadata = {key: note for key, note in document.metadata.items() if key not in STALE}
        if SCORE_KEY in metadata:
            metadata.setdefault(RETRIEVAL_SCORE_KEY, metadata.pop(SCORE_KEY))
        if result.scored:
            metadata[SCORE_KEY] = result.score
        shown = ShownParts(document.page_content, texts[result.index], result)
        metadata |= notes_of(result, ranked, shown)
        update: dict[str, Any] = {"metadata": metadata}
        kept = shown.kept(cut)
        if kept is not None:
            update["page_content"] = kept.text
        copies.append(document.model_copy(update=update))
    return copies


def _with_metadata(document: Document, keys: Sequence[str]) -> str:
    values: dict[str, Any] = {key: document.metadata.get(key) for key in keys}
    lines = [f"{key}: {value}" for key, value in values.items() if value is not None]
    return "\n".join([*lines, "", document.page_content]) if lines else document.page_content
