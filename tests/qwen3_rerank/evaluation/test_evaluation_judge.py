"""`evaluate(judge=…)`: agreement with a larger model, where no person judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from qwen3_rerank.evaluation import Dataset, InputError, evaluate, read_unjudged
from shared_core import Reranker

DOCUMENTS = {f"d{n}": f"{n}" for n in range(8)}
QUERIES = {"q1": "5", "q2": "2", "none": "9"}
STAGE = {query: list(DOCUMENTS) for query in QUERIES}


class Judge:
    """Says yes to numbers that are near the query's, the nearer the surer."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        numbers = [int(text) if text.isdigit() else 0 for text in (query, *documents)]
        return [1.5 - abs(numbers[0] - number) - number / 100 for number in numbers[1:]]


class Same(Judge):
    """Says the same."""


class Reverse(Judge):
    """Says the opposite."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        found = super().score(query, documents, instruction=instruction)
        return [-margin for margin in found]


def data(**relevant: dict[str, int]) -> Dataset:
    return Dataset("numbers", DOCUMENTS, QUERIES, relevant)


def test_agreement_of_the_same_and_of_the_opposite() -> None:
    systems = {"same": Reranker(scorer=Same()), "reverse": Reranker(scorer=Reverse())}
    report = evaluate(
        systems, data(q1={"d0": 1}), judge=Reranker(scorer=Judge()), first_stage=STAGE
    )
    same, reverse = (system.agreement for system in report.systems)
    assert same is not None
    assert reverse is not None
    assert same.queries == reverse.queries == 3
    assert [same.order.mean, same.kappa, reverse.order.mean] == pytest.approx([1.0, 1.0, -1.0])
    assert (same.first.mean, same.overlap.mean, same.same) == (1.0, 1.0, 1.0)
    assert (reverse.first.mean, reverse.same) == (0.0, 0.0)
    assert reverse.kappa is not None
    assert reverse.kappa < 0
    assert report.dataset.name == "numbers, judged by Judge"
    assert report.dataset.relevant["q1"] == {f"d{n}": int(n in (4, 5, 6)) for n in range(8)}
    assert set(report.dataset.queries) == {"q1", "q2"}  # the judge finds nothing for the third
    assert report.systems[0].figures["nDCG@10"].mean == 1.0
    page = report.html()
    assert "Agreement with Judge" in page
    assert "no person judged" in page
    assert report.to_dict()["systems"][1]["agreement"]["judge"] == "Judge"


def test_a_folder_without_judgements_and_scores_that_are_kept(tmp_path: Path) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    assert read_unjudged(folder).queries == QUERIES
    judge = Reranker(scorer=Judge())
    report = evaluate(Reranker(scorer=Same()), folder, judge=judge, first_stage=STAGE, out=out)
    assert len((out / "results.jsonl").read_text().splitlines()) == 2 * len(QUERIES)
    assert report.systems[0].agreement is not None
    with pytest.raises(InputError, match="qrels"):
        evaluate(Reranker(scorer=Same()), folder, first_stage=STAGE)


def test_a_judge_that_finds_nothing_and_one_that_would_calibrate(tmp_path: Path) -> None:
    judge = Reranker(scorer=Judge())
    far = Dataset("far", DOCUMENTS, {"q": "50"}, {})
    with pytest.raises(InputError, match="judged by Judge"):
        evaluate(Reranker(scorer=Same()), far, judge=judge, first_stage={"q": ["d1", "d2"]})
    with pytest.raises(ValueError, match="judgements by people"):
        evaluate(Reranker(scorer=Same()), data(), judge=judge, calibrate=tmp_path / "c.json")
