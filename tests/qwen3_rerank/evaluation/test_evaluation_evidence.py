"""`evaluate(evidence=True)`: evidence against the answers that SQuAD's format knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qwen3_rerank.evaluation import Dataset, InputError, evaluate, read_dataset
from shared_core import Reranker

TEA = (
    "Tea came late to us. Green tea of 80 degrees is best. It is so. Black tea <b>boils</b>. Done."
)
BREAD = "Bread needs yeast for bread. It rises an hour. Then eat."


class Answering:
    """Scores a text by the answers in it, the shortest highest."""

    calls = 0

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        type(self).calls += 1
        sought = {"How hot is green tea": "80", "How long does bread take": "hour"}.get(query, "So")
        return [(sought in text) - len(text) / 1000 for text in documents]


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    def question(name: str, text: str, *answers: Any) -> dict[str, Any]:
        return {"id": name, "question": text, "answers": list(answers)}

    hot = question("hot", "How hot is green tea", {"text": "80 degrees", "answer_start": 34})
    missed = question("missed", "What is 80 degrees", {"text": "<b>boils</b>", "answer_start": 3})
    long = question("long", "How long does bread take", {"text": "", "answer_start": 0}, "an hour")
    silent = question("silent", "Does bread rise for bread")
    paragraphs = [{"context": TEA, "qas": [hot, missed]}, {"context": BREAD, "qas": [long, silent]}]
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), "utf-8")
    return path


def test_answers_are_read_and_found_where_the_place_is_wrong(squad: Path) -> None:
    data = read_dataset(squad)
    texts = {
        query: [data.documents[known.document][start:end] for start, end in known.spans]
        for query, known in data.answers.items()
    }
    assert texts == {"hot": ["80 degrees"], "missed": ["<b>boils</b>"], "long": ["an hour"]}
    assert data.only(["hot"]).answers == data.answers


def test_shares_of_answers_and_tokens_beside_the_baseline(squad: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Reranker(scorer=Answering()) as reranker:
        report = evaluate(reranker, squad, evidence=True, out=out, queries_at_once=2)
        calls = Answering.calls
        again = evaluate(reranker, squad, evidence=True, out=out)
    assert Answering.calls <= calls + 1  # one query is looked at again, the others are known
    found = report.systems[0].evidence
    assert found is not None
    assert again.systems[0].evidence == found
    assert found.queries == 3
    assert found.evidence.answers.mean == pytest.approx(2 / 3)
    assert found.words.answers.mean == pytest.approx(1 / 3)  # "Bread needs yeast for bread."
    assert found.words_around.answers.mean == pytest.approx(2 / 3)
    assert found.gain.estimate.mean == pytest.approx(1 / 3)
    assert 0.1 < found.evidence.kept < found.around.kept < 0.9
    (miss,) = found.misses
    assert (miss.query, miss.document[slice(*miss.answer)]) == ("missed", "<b>boils</b>")
    page = (out / "report.html").read_text("utf-8")
    assert "<mark>&lt;b&gt;boils&lt;/b&gt;</mark>" in page
    assert f"<b>{miss.document[slice(*miss.evidence)]}</b>" in page
    written = json.loads((out / "report.json").read_text("utf-8"))
    assert written["systems"][0]["evidence"]["queries"] == 3
    plain = evaluate(Reranker(scorer=Answering()), squad)
    assert plain.systems[0].evidence is None


def test_data_without_answers_is_refused(demo: Dataset) -> None:
    with pytest.raises(InputError, match="where in a document the answers are"):
        evaluate(Reranker(scorer=Answering()), demo, evidence=True)
