"""Datasets: queries, documents, and judgements of which documents are relevant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qwen3_rerank.reading.text import InputError


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a query, as parts of one document.

    Attributes:
        spans: The characters ``start … end`` of each, any of which will do.
    """

    document: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Dataset:
    """Queries with the documents that answer them.

    Attributes:
        name: The name in reports.
        documents: Id → text of every document, in the order of the file.
        queries: Id → text of every query that is evaluated.
        relevant: Query id → document id → grade; above 0 is relevant. Every query of ``queries``
            has a relevant document here. A document may be one that ``documents`` lacks.
        notes: Remarks about what was left out or looks wrong.
        candidates: Query id → ids of the documents to rank, of data sets that bring them along.
        answers: Query id → where the answer is in its document, if the data set says so.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = ()
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return a SHA-256 of all texts and judgements, in hexadecimal."""
        digest = hashlib.sha256()

        def add(*parts: str) -> None:
            for part in parts:
                raw = part.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(raw) + raw)

        for kind, texts in (("documents", self.documents), ("queries", self.queries)):
            add(kind, str(len(texts)))
            for name, text in texts.items():
                add(name, text)
        for query, grades in sorted(self.relevant.items()):
            if query in self.queries:
                for document, grade in sorted(grades.items()):
                    add(query, document, str(grade))
        return digest.hexdigest()

    def only(self, ids: Iterable[str]) -> Dataset:
        """Return the same documents with these queries alone, in the order of the file.

        Raises:
            InputError: There is no such query.
        """
        chosen = set(ids)
        unknown = sorted(chosen - set(self.queries))
        if unknown:
            raise InputError(
                f"{self.name} has no query {', '.join(unknown[:3])} to evaluate"
                + (f" (nor {len(unknown) - 3} others)" if len(unknown) > 3 else "")
            )
        kept = {name: text for name, text in self.queries.items() if name in chosen}
        return replace(self, queries=kept, relevant={query: self.relevant[query] for query in kept})

    def sample(self, count: int, seed: int) -> Dataset:
        """Return the same documents with ``count`` queries drawn by ``seed``.

        A larger sample of the same seed holds the smaller one.

        Raises:
            ValueError: ``count`` is below 1.
        """
        if count < 1:
            raise ValueError(f"{count} queries: expected 1 or more")
        if count >= len(self.queries):
            return self
        drawn = sorted(
            self.queries, key=lambda query: hashlib.sha256(f"{seed}:{query}".encode()).digest()
        )
        note = f"{count} of {len(self.queries)} queries, drawn by seed {seed}"
        return replace(self.only(drawn[:count]), notes=(*self.notes, note))


def checked(
    name: str,
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    relevant: Mapping[str, Mapping[str, int]],
    notes: Iterable[str] = (),
) -> Dataset:
    """Return a dataset of the queries that can be evaluated, with notes on all others.

    Raises:
        InputError: Nothing is left to evaluate.
    """
    remarks = list(notes)
    if not documents:
        raise InputError(f"{name} holds no documents")
    unknown_queries = [query for query in relevant if query not in queries]
    if unknown_queries:
        remarks.append(
            f"left out: judgements about {_some(unknown_queries)} that the queries do not hold"
        )
    judged = {query: relevant[query] for query in queries if query in relevant}
    missing = [
        document
        for grades in judged.values()
        for document, grade in grades.items()
        if grade > 0 and document not in documents
    ]
    if missing:
        remarks.append(
            f"{len(missing)} judgements call documents relevant that are not in the corpus "
            f"({_some(missing)}): nothing can find them, so they count against every system"
        )
    kept = {
        query: text
        for query, text in queries.items()
        if any(grade > 0 for grade in judged.get(query, {}).values())
    }
    if len(kept) < len(queries):
        remarks.append(f"left out: {len(queries) - len(kept)} queries without a relevant document")
    blank = [query for query, text in kept.items() if not text.strip()]
    if blank:
        remarks.append(f"left out: blank queries ({_some(blank)})")
        kept = {query: text for query, text in kept.items() if text.strip()}
    if not kept:
        raise InputError(
            f"{name}: no query has a document that is judged relevant (there are {len(queries)} "
            f"queries, {len(documents)} documents and judgements about {len(relevant)} queries)"
        )
    return Dataset(name, documents, kept, {query: judged[query] for query in kept}, tuple(remarks))


def mixed(documents: Iterable[str], query: str) -> list[str]:
    """Return documents in an order that says nothing about them, always the same one."""
    return sorted(
        documents, key=lambda document: hashlib.sha256(f"{query}:{document}".encode()).digest()
    )


def _some(ids: list[str]) -> str:
    distinct = list(dict.fromkeys(ids))
    shown = ", ".join(distinct[:3])
    return f"{len(distinct)}: {shown}" + (", …" if len(distinct) > 3 else "")
