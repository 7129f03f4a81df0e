"""Evidence against known answers, and against the sentence with most words of the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.results_file import ResultsFile, sum_if_known
from qwen3_rerank.evaluation.scoring import score_texts
from qwen3_rerank.evaluation.significance import Difference, Estimate, difference, estimate
from qwen3_rerank.evaluation.systems import System
from qwen3_rerank.reading.text import InputError
from shared_core.evidence import EvidenceSearch
from shared_core.options import RankingOptions, resolve_instruction
from shared_core.results import RankedDocument, Ranking
from shared_core.scoring import Scored, ScoreRequest
from shared_core.terms import terms
from shared_core.windows.meters import estimate_tokens
from shared_core.windows.units import units

Span = tuple[int, int]

MISSES = 5
"""Queries whose answer is elsewhere, for reading."""


@dataclass(frozen=True, slots=True)
class Found:
    """How well one way to cut documents keeps the answers.

    Attributes:
        answers: The share of queries with an answer inside of what is kept.
        kept: The share of the documents' tokens that is kept, as `estimate_tokens` counts.
    """

    answers: Estimate
    kept: float


@dataclass(frozen=True, slots=True)
class Miss:
    """A query whose answer is not inside its evidence.

    Attributes:
        document: The text of the document that answers it.
        evidence, answer: Their characters.
    """

    query: str
    text: str
    document: str
    evidence: Span
    answer: Span


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """Evidence in the documents that answer the queries.

    Attributes:
        queries: The queries whose answers are known.
        evidence, words: The evidence, and the sentence with most words of the query.
        gain: The difference of the two in answers kept.
        around, words_around: The same, with the sentence before and the one after.
        tokens: Prompt tokens that the evidence of one document took, on average; ``None`` where the
            backend cannot tell.
        misses: Some queries whose answer is not inside.
    """

    queries: int
    evidence: Found
    words: Found
    gain: Difference
    around: Found
    words_around: Found
    tokens: float | None
    misses: Sequence[Miss]


def compare_evidence(
    system: System, data: Dataset, results: ResultsFile, seed: int, at_once: int
) -> EvidenceReport:
    """Return how often the evidence of the right document holds the answer.

    Args:
        data: Queries with documents and answers.

    Raises:
        InputError: The data set does not say where answers are.
        RerankError: Scoring failed.
    """
    documents = {
        query: data.documents[data.answers[query].document]
        for query in data.queries
        if query in data.answers
    }
    if not documents:
        raise InputError(
            f"{data.name} does not say where in a document the answers are, which a comparison of "
            "evidence needs: give a file in the format of SQuAD, or leave evidence out"
        )
    found, tokens = _evidence(system, data, documents, results, at_once)
    by_words = {query: _by_words(data.queries[query], text) for query, text in documents.items()}
    ways = {
        "evidence": {query: kept[0] for query, kept in found.items()},
        "around": {query: kept[1] for query, kept in found.items()},
        "words": {query: kept[0] for query, kept in by_words.items()},
        "words_around": {query: kept[1] for query, kept in by_words.items()},
    }
    hits = {
        way: [float(_holds(spans[query], data.answers[query].spans)) for query in documents]
        for way, spans in ways.items()
    }
    whole = sum(estimate_tokens(list(documents.values())))
    rows = {
        way: Found(
            estimate(hits[way], seed),
            sum(estimate_tokens([documents[query][slice(*spans[query])] for query in documents]))
            / max(1, whole),
        )
        for way, spans in ways.items()
    }
    missed = [query for query, hit in zip(documents, hits["evidence"], strict=True) if not hit]
    return EvidenceReport(
        len(documents),
        gain=difference(hits["words"], hits["evidence"], seed),
        tokens=None if tokens is None else tokens / len(documents),
        misses=[
            Miss(
                query,
                data.queries[query],
                documents[query],
                ways["evidence"][query],
                data.answers[query].spans[0],
            )
            for query in missed[:MISSES]
        ],
        **rows,
    )


def in_a_sentence(report: EvidenceReport) -> str:
    """Return how many answers evidence and compressed documents keep."""
    found, around, words = report.evidence, report.around, report.words
    return (
        f"the evidence holds {found.answers.mean:.1%} of {report.queries:,} known answers in "
        f"{found.kept:.1%} of the tokens, with its neighbours {around.answers.mean:.1%} in "
        f"{around.kept:.1%} (the sentence with most words of the query: {words.answers.mean:.1%} "
        f"in {words.kept:.1%})"
    )


def _evidence(
    system: System,
    data: Dataset,
    documents: Mapping[str, str],
    results: ResultsFile,
    at_once: int,
) -> tuple[dict[str, tuple[Span, Span]], int | None]:
    """Return the evidence of each document, alone and with its neighbours, and tokens scored."""
    options = system.reranker.options
    requests = [
        ScoreRequest(
            text := data.queries[query],
            resolve_instruction(system.instruction, options.instruction, text),
            [document],
        )
        for query, document in documents.items()
    ]
    unknown = [Ranking([RankedDocument(0, 0.5, 0.0, document)]) for document in documents.values()]
    search = EvidenceSearch(requests, unknown, options.max_length)
    asked = {
        query: request
        for query, request in zip(documents, search.requests, strict=True)
        if request.documents
    }
    scores = score_texts(system, asked, results, at_once)
    answers = [
        [Scored(logit) for logit in scores[query].logits] if query in scores else []
        for query in documents
    ]
    spans: dict[str, tuple[Span, Span]] = {}
    for query, (ranked,) in zip(
        documents, search.found(answers, RankingOptions(evidence=True)), strict=True
    ):
        found = ranked.evidence
        spans[query] = ((0, 0), (0, 0)) if found is None else (found.span, found.around)
    return spans, sum_if_known([found.tokens for found in scores.values()])


def _by_words(query: str, document: str) -> tuple[Span, Span]:
    """Return the sentence with most words of the query, alone and with its neighbours."""
    words, spans = set(terms(query)), units(document) or [(0, 0)]
    common = [len(words & set(terms(document[slice(*span)]))) for span in spans]
    best = common.index(max(common))
    return spans[best], (spans[max(0, best - 1)][0], spans[min(len(spans) - 1, best + 1)][1])


def _holds(kept: Span, answers: Sequence[Span]) -> bool:
    return any(kept[0] <= start and end <= kept[1] for start, end in answers)
