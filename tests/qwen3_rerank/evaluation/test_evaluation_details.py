"""The report by depth, by kind of query, and two systems query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from qwen3_rerank.evaluation import Dataset, Report, evaluate
from qwen3_rerank.evaluation.cases import losses, tops
from qwen3_rerank.evaluation.groups import by_length, by_script
from shared_core import Reranker

QUERIES = {f"q{n}": "who? " + "x" * (10 * n) for n in range(1, 11)} | {"zh": "谁？", "ja": "誰が？"}
DOCUMENTS = {f"d{n}": f"document {n} " + "word " * n for n in range(12)}


class Known:
    """Scores documents by a table of their first two words."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores = scores

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return [self.scores.get(" ".join(text.split()[:2]), 0.0) for text in documents]


class Otherwise(Known):
    """Another class: scores are known by it."""


@pytest.fixture(scope="module")
def report() -> Report:
    """Twelve candidates, of which the last but one is right: A finds it, B puts it last."""
    data = Dataset("x", DOCUMENTS, QUERIES, {query: {"d10": 1} for query in QUERIES})
    systems = {
        "good": Reranker(scorer=Known({"document 10": 2.0})),
        "bad": Reranker(scorer=Otherwise({"document 10": -2.0})),
    }
    return evaluate(systems, data, first_stage={query: list(DOCUMENTS) for query in QUERIES})


def test_by_depth_only_the_first_are_reranked_and_paid(report: Report) -> None:
    depths = report.systems[0].depths
    assert [depth.depth for depth in depths] == [1, 2, 3, 5, 10, 12]
    assert [depth.figure.mean for depth in depths] == [0, 0, 0, 0, 0, 1.0]
    assert [depth.change.estimate.mean for depth in depths] == [-1, -1, -1, -1, -1, 0]
    shares = [depth.share for depth in depths]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert 0.7 < shares[4] < 10 / 12  # the later ones are longer
    written = report.to_dict()["systems"][0]["depths"]
    assert [depth["figure"]["mean"] for depth in written] == [0, 0, 0, 0, 0, 1.0]


def test_by_length_and_script_every_query_is_in_one_group(report: Report) -> None:
    for groups in (by_length(report), by_script(report)):
        assert sum(group.queries for group in groups) == 12
        assert all(group.after["A"].mean == 1.0 for group in groups)
        assert all(group.change["B"].estimate.mean <= 0 for group in groups)
    scripts = [group.kind for group in by_script(report)]
    assert scripts == ["Latin", "Chinese characters", "Japanese"]
    assert [group.queries for group in by_length(report)] == [4, 4, 4]


def test_two_systems_and_the_worst_losses_side_by_side(report: Report) -> None:
    first, second = report.systems
    found = tops(report, first, second)
    assert len(found) == 10
    assert found[0].first[:1] + found[0].first[2:] == (1.0, True)
    assert found[0].second[2] is False
    assert losses(report, first) == []
    page = report.html()
    assert "A and B: where nDCG@10 differs most (10)" in page
    assert "By script of the query" in page
    assert "How many candidates to rerank" in page
    assert page.count('<div class="sides">') >= 10


def test_one_kind_of_queries_alone_is_no_table() -> None:
    data = Dataset("x", DOCUMENTS, {"a": "who", "b": "why"}, {"a": {"d0": 1}, "b": {"d1": 1}})
    stage = {query: list(DOCUMENTS) for query in data.queries}
    page = evaluate(Reranker(scorer=Known({})), data, first_stage=stage).html()
    assert "By kind of query" not in page
    assert "Query by query" not in page
