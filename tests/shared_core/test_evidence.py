"""`evidence` and `compress`: the sentences that answer, found in one further request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared_core import Cascade, Reranker, RerankError
from shared_core.ranking import sigmoid
from shared_core.scoring import Scored, ScoreRequest

TEA = (
    "Leaves came late. Green tea steeps at 80 degrees.  Black tea needs more. Cups vary. Pots, too."
)
BREAD = "Bread needs yeast. It rises."
QUERY = "how hot: green tea?"


class Hits:
    """Scores the share of the words of a text that the query has, and keeps what it was asked."""

    def __init__(self, fails_at: int = 0) -> None:
        self.asked: list[list[ScoreRequest]] = []
        self.fails_at = fails_at

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        self.asked.append(list(requests))
        if len(self.asked) == self.fails_at:
            raise RerankError("out of order")
        return [
            [_scored(request.query, text) for text in request.documents] for request in requests
        ]

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise AssertionError("score_many is there")


def _scored(query: str, text: str) -> Scored:
    words = text.lower().replace(".", "").split()
    return Scored(sum(word in query.lower() for word in words) / (1 + len(words)), truncated=False)


def texts(ranking: Any) -> list[str | None]:
    return [found.evidence.text if found.evidence else None for found in ranking]


async def test_one_request_for_all_documents_kept() -> None:
    scorer = Hits()
    reranker = Reranker(scorer=scorer)
    ranking = reranker.rerank(QUERY, [BREAD, TEA, "Rice.", ""], evidence=True, top_k=3)
    assert len(scorer.asked) == 2
    assert texts(ranking)[0] == "Green tea steeps at 80 degrees."
    assert set(texts(ranking)) > {"Rice."}  # alone, it need not be scored
    (request,) = scorer.asked[1]
    assert "Rice." not in request.documents
    found = ranking[0].evidence
    assert found is not None
    assert TEA[found.start : found.end] == found.text
    assert TEA[slice(*found.around)] == TEA[: TEA.index("  Black") + 23]
    assert ranking[0].document == TEA
    assert (
        await reranker.arerank(QUERY, [BREAD, TEA, "Rice.", ""], evidence=True, top_k=3) == ranking
    )
    assert len(scorer.asked) == 4


def test_queries_share_it_and_rankings_stay_as_they_are() -> None:
    scorer = Hits()
    reranker = Reranker(scorer=scorer)
    lists = [[TEA, BREAD], [], [BREAD]]
    many = reranker.rerank_many([QUERY, "x", "what rises"], lists, evidence=True)
    assert len(scorer.asked) == 2
    assert [texts(ranking) for ranking in many] == [
        ["Green tea steeps at 80 degrees.", "Bread needs yeast."],
        [],
        ["It rises."],
    ]
    plain = reranker.rerank_many([QUERY, "x", "what rises"], lists)
    assert all(found.evidence is None for ranking in plain for found in ranking)
    assert [[(d.index, d.score) for d in ranking] for ranking in many] == [
        [(d.index, d.score) for d in ranking] for ranking in plain
    ]


def test_compress_returns_the_evidence_and_its_neighbours() -> None:
    documents = [TEA, BREAD, " "]
    ranking = Reranker(scorer=Hits()).rerank(QUERY, documents, compress="evidence")
    by_index = {found.index: found.document for found in ranking}
    assert by_index == {
        0: "Leaves came late. Green tea steeps at 80 degrees.  Black tea needs more.",
        1: BREAD,
        2: " ",
    }
    assert documents == [TEA, BREAD, " "]


def test_what_was_not_scored_has_none() -> None:
    ranking = Reranker(scorer=Hits()).rerank(QUERY, [TEA, BREAD], max_candidates=1, evidence=True)
    assert texts(ranking) == ["Green tea steeps at 80 degrees.", None]


def test_a_wrapped_query_and_its_documents_are_taken_out_of_the_prompt() -> None:
    query = f"<Instruct>: Find it\n<Query>: {QUERY}\n"
    wrapped = f"<Document>: {TEA}"
    (found,) = Reranker(scorer=Hits()).rerank(query, [wrapped], evidence=True)
    assert found.evidence is not None
    assert wrapped[found.evidence.start : found.evidence.end] == "Green tea steeps at 80 degrees."


def test_a_failure_raises_or_leaves_the_ranking() -> None:
    with pytest.raises(RerankError, match="out of order"):
        Reranker(scorer=Hits(fails_at=2)).rerank(QUERY, [TEA], evidence=True)
    passing = Reranker(scorer=Hits(fails_at=2), on_error="passthrough")
    (found,) = passing.rerank(QUERY, [TEA], compress="evidence")
    assert (found.evidence, found.error, found.document) == (None, None, TEA)
    assert found.scored


async def test_with_a_model_it_is_the_best_run_of_sentences(reranker: Reranker) -> None:
    sentences = [TEA[:17], TEA[18:49], TEA[51:72], TEA[73:83], TEA[84:]]
    runs = [
        TEA[TEA.index(first) : TEA.index(last) + len(last)]
        for length in range(3)
        for first, last in zip(sentences, sentences[length:], strict=False)
    ]
    margins = [judged.logit for judged in reranker.judge(QUERY, runs)]
    lengths = [1] * 5 + [2] * 4 + [3] * 3
    rated = [margin - 0.3 * length for margin, length in zip(margins, lengths, strict=True)]
    best = rated.index(max(rated))
    (found,) = await reranker.arerank(QUERY, [TEA], evidence=True)
    assert found.evidence is not None
    assert found.evidence.text == runs[best]
    assert found.evidence.score == pytest.approx(sigmoid(margins[best]), abs=1e-5)


def test_in_a_cascade_it_is_what_the_better_model_says() -> None:
    class Any:
        """Says yes to everything."""

        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            return [9.0 - len(text) / 100 for text in documents]

    cascade = Cascade(first=Reranker(scorer=Any()), second=Reranker(scorer=Hits()), keep=9)
    ranking = cascade.rerank(QUERY, [BREAD, TEA], evidence=True)
    assert texts(ranking)[0] == "Green tea steeps at 80 degrees."


def test_in_a_long_document_it_is_in_the_best_window(reranker: Reranker) -> None:
    long = "Rome is old. " * 40 + TEA + " Rome is old." * 40
    options: dict[str, Any] = {"long_documents": "windows", "window_tokens": 48}
    (found,) = reranker.rerank(QUERY, [long], evidence=True, **options)
    assert found.window is not None
    assert found.evidence is not None
    assert found.window[0] <= found.evidence.start < found.evidence.end <= found.window[1]
    assert long[found.evidence.start : found.evidence.end] == found.evidence.text
    cut = reranker.rerank(QUERY, [long], compress="evidence", return_window=True, **options)
    assert cut[0].document == long[slice(*found.evidence.around)]


def test_what_may_lie_behind_the_cut_is_not_looked_at(reranker: Reranker) -> None:
    options = reranker.options.model_copy(update={"max_length": 128})
    with Reranker.from_options(options) as short:
        (found,) = short.rerank(QUERY, ["Rome is old. " * 60 + TEA], evidence=True)
    assert found.truncated
    assert found.evidence is not None
    assert found.evidence.end < 400


@pytest.mark.parametrize("options", [{"compress": "all"}, {"evidence": "perhaps"}])
def test_other_values_are_refused(options: dict[str, Any]) -> None:
    scorer = Hits()
    with pytest.raises(ValueError, match=r"compress|evidence"):
        Reranker(scorer=scorer).rerank("q", ["1"], **options)
    assert not scorer.asked
