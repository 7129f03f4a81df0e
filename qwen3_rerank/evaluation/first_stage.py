"""Candidates to rerank, from built-in BM25 or a TREC run file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.trec import read_run
from qwen3_rerank.reading.text import InputError
from shared_core.terms import terms

BM25 = "bm25"
K1, B = 1.2, 0.75

Ranked = Sequence[tuple[str, float]]
"""Document ids with the scores of the first stage, best first."""


@dataclass(frozen=True)
class FirstStage:
    """The candidates of every query.

    Attributes:
        name: The name in reports.
        candidates: Query id → documents, best first; at most ``top_n``, each one in the corpus.
        notes: Remarks about what looks wrong.
    """

    name: str
    candidates: Mapping[str, Ranked]
    notes: tuple[str, ...] = ()


def bm25(dataset: Dataset, top_n: int) -> FirstStage:
    """Return the best documents by BM25 (k1 = 1.2, b = 0.75, Lucene's idf), by `terms`.

    Equal scores keep the order of the corpus. A document that shares no term is no candidate.
    """
    ids = list(dataset.documents)
    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index([terms(text) for text in dataset.documents.values()], show_progress=False)
    found: dict[str, Ranked] = {}
    for query, text in dataset.queries.items():
        indexed = [term for term in terms(text) if term in index.vocab_dict]
        scores = index.get_scores(indexed) if indexed else np.zeros(len(ids), dtype=np.float32)
        # Stable, so that ties keep the order of the corpus.
        best = np.argsort(-scores, kind="stable")[: top_n + 1]
        ranked = [(ids[place], float(scores[place])) for place in best if scores[place] > 0]
        found[query] = _without_itself(dataset, query, ranked)[:top_n]
    return FirstStage(f"BM25 (k1 = {K1}, b = {B})", found, _notes(dataset, found))


def from_run(dataset: Dataset, path: str | Path, top_n: int) -> FirstStage:
    """Return the candidates in a TREC run file.

    They are taken by score, best first; equal scores by rank, then by line.

    Raises:
        InputError: A line is wrong, or the file knows none of the queries or documents.
    """
    path = Path(path)
    run = read_run(path, dataset.queries, dataset.documents)
    notes = []
    if run.unknown_queries:
        notes.append(f"{path.name}: {run.unknown_queries} queries of it are not evaluated")
    if run.unknown_documents:
        notes.append(
            f"{path.name}: {run.unknown_documents} lines name documents that are not in the corpus "
            f"(such as {run.example}), and were left out"
        )
    found = {
        query: _without_itself(dataset, query, run.ranked.get(query, ()))[:top_n]
        for query in dataset.queries
    }
    if not any(found.values()):
        raise InputError(
            f"{path} has no line for any of the {len(dataset.queries)} queries with a document of "
            "the corpus: is it a run of another data set?"
        )
    return FirstStage(path.name, found, (*notes, *_notes(dataset, found)))


def from_mapping(
    dataset: Dataset, given: Mapping[str, Sequence[str]], top_n: int, name: str = "given"
) -> FirstStage:
    """Return candidates given as document ids, best first.

    Raises:
        InputError: A document is not in the corpus, or is there twice.
    """
    found: dict[str, Ranked] = {}
    for query in dataset.queries:
        ids = list(given.get(query, ()))
        unknown = [document for document in ids if document not in dataset.documents]
        if unknown:
            raise InputError(f"the corpus has no document {unknown[0]!r}, a candidate of {query!r}")
        if len(set(ids)) < len(ids):
            raise InputError(f"a document is there twice among the candidates of {query!r}")
        ranked = [(document, float(len(ids) - place)) for place, document in enumerate(ids)]
        found[query] = _without_itself(dataset, query, ranked)[:top_n]
    return FirstStage(name, found, _notes(dataset, found))


def _without_itself(dataset: Dataset, query: str, ranked: Ranked) -> Ranked:
    """Leave out a document with the query's own id, as BEIR does (ArguAna, Quora).

    Not if it is the right one: small data sets of one's own number both alike.
    """
    if dataset.relevant[query].get(query, 0) > 0:
        return ranked
    return [entry for entry in ranked if entry[0] != query]


def _notes(dataset: Dataset, found: Mapping[str, Ranked]) -> tuple[str, ...]:
    without = sum(not found[query] for query in dataset.queries)
    if not without:
        return ()
    return (f"{without} queries have no candidates, and count as 0 before and after",)
