"""`calibration`: probabilities beside the scores, and that of no answer; never of another model."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calibrations import HALF, Margins, calibrated, calibration_for

from shared_core import DEFAULT_INSTRUCTION, ConfigurationError, Reranker
from shared_core.calibration import Isotonic, NoAnswer, Platt, dumped
from shared_core.no_answer import is_unanswered
from shared_core.ranking import sigmoid

DOCUMENTS = ["-1.0", "6.0", "2.0", "6.0", "0.5"]
margins = st.floats(-200, 200)


def test_the_score_stays_and_a_probability_is_beside_it(tmp_path: Path) -> None:
    ranking = calibrated(tmp_path).rerank("q", DOCUMENTS)
    plain = Reranker(scorer=Margins()).rerank("q", DOCUMENTS)
    assert [(d.index, d.score, d.logit) for d in ranking] == [
        (d.index, d.score, d.logit) for d in plain
    ]
    assert [d.probability for d in ranking] == [HALF.of(d.logit) for d in plain]
    assert {d.probability for d in plain} == {None}
    assert plain.no_answer is None
    assert plain.answers is None


def test_no_answer_is_of_all_distinct_candidates_and_survives_pickling(tmp_path: Path) -> None:
    reranker = calibrated(tmp_path)
    ranking = reranker.rerank("q", DOCUMENTS, top_k=1)
    assert ranking.no_answer == sigmoid(-6.0)
    assert ranking.answers
    assert pickle.loads(pickle.dumps(ranking)).no_answer == ranking.no_answer  # noqa: S301
    poor = reranker.rerank("q", ["-3.0", "-2.0"])
    assert poor.answers is False
    empty = reranker.rerank("q", [])
    assert (empty, empty.no_answer, empty.answers) == ([], 1.0, False)
    assert asyncio.run(reranker.arerank("q", DOCUMENTS, top_k=1)).no_answer == ranking.no_answer
    first, second = reranker.rerank_many(["q", "r"], [DOCUMENTS, ["-3.0", "-2.0"]], top_k=1)
    assert (first.no_answer, second.no_answer) == (ranking.no_answer, poor.no_answer)


@given(st.lists(margins, min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 3))
def test_min_probability_drops_what_is_below_it(
    tmp_path_factory: pytest.TempPathFactory, given_margins: list[float], least: float, kept: int
) -> None:
    texts = list(map(repr, given_margins))
    reranker = calibrated(tmp_path_factory.mktemp("calibration"))
    whole = reranker.rerank("q", texts)
    passing = [d for d in whole if d.probability is not None and d.probability >= least]
    found = reranker.rerank("q", texts, min_probability=least, min_docs=kept)
    assert found == whole[: max(len(passing), kept)]


def test_documents_without_a_score_are_dropped_by_min_probability(tmp_path: Path) -> None:
    reranker = calibrated(tmp_path)
    found = reranker.rerank("q", DOCUMENTS, max_candidates=3, min_probability=0.1)
    assert [d.index for d in found] == [1, 3, 2, 0]
    assert len(reranker.rerank("q", DOCUMENTS, max_candidates=3)) == len(DOCUMENTS)


def test_min_probability_without_a_calibration_is_refused() -> None:
    plain = Reranker(scorer=Margins(), on_error="passthrough")
    with pytest.raises(ConfigurationError, match="needs a calibration"):
        plain.rerank("q", DOCUMENTS, min_probability=0.5)
    with pytest.raises(ConfigurationError, match="needs a calibration"):
        asyncio.run(plain.arerank("q", DOCUMENTS, min_probability=0.5))


def test_another_instruction_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    asked: list[str] = []

    class Keeping(Margins):
        def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
            asked.append(query)
            return super().score(query, documents, instruction=instruction)

    path = tmp_path / "c.json"
    calibrations = [
        calibration_for(Reranker(scorer=Keeping()), task) for task in ("Find laws", "Find poems")
    ]
    path.write_text(dumped(calibrations), "utf-8")
    reranker = Reranker(scorer=Keeping(), calibration=str(path), on_error="passthrough")
    with pytest.raises(ConfigurationError, match=r"Find laws.*Find poems.*Find songs"):
        reranker.rerank("q", DOCUMENTS, instruction="Find songs")
    with pytest.raises(ConfigurationError, match="Find songs"):
        asyncio.run(reranker.arerank("q", DOCUMENTS, instruction="Find songs"))
    assert not asked
    assert reranker.rerank("q", DOCUMENTS, instruction="Find poems")[0].probability is not None
    laws = Reranker(scorer=Keeping(), calibration=str(path), instruction="Find laws")
    assert laws.calibration_of() == calibrations[0]


@pytest.fixture(scope="module")
def of_tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "tiny.json"
    path.write_text(dumped([calibration_for(Reranker("tiny"))]), "utf-8")
    return str(path)


def test_another_quantisation_is_refused_at_once(of_tiny: str) -> None:
    with pytest.raises(ConfigurationError, match="quantize was none and is 'int8'"):
        Reranker("tiny", quantize="int8", calibration=of_tiny)
    with pytest.raises(ConfigurationError, match="quantize was none and is 'fp8'"):
        Reranker("tiny", backend="vllm", engine_args={"quantization": "fp8"}, calibration=of_tiny)


def test_another_model_is_refused_whatever_its_name(
    of_tiny: str, tmp_path: Path, checkpoint: Path
) -> None:
    query, documents = "Who pays?", ["The buyer pays.", "We ship on Mondays."]
    bundled = Reranker("tiny", dtype="float32", calibration=of_tiny)
    expected = bundled.rerank(query, documents)
    copied = shutil.copytree(Path(__file__).parents[2] / "shared_core" / "tiny", tmp_path / "copy")
    moved = Reranker(str(copied), dtype="float32", calibration=of_tiny)
    assert moved.rerank(query, documents).no_answer == pytest.approx(expected.no_answer)
    with Reranker(str(checkpoint), calibration=of_tiny, on_error="passthrough") as other:
        with pytest.raises(ConfigurationError, match="fitted for another model: files was"):
            other.rerank(query, documents)
        with pytest.raises(ConfigurationError, match="fitted for another model"):
            asyncio.run(other.aload())
    there = {"base_url": "http://localhost:1", "calibration": of_tiny}
    assert Reranker("tiny", **there).calibration_of() is not None  # known by its name alone
    with pytest.raises(ConfigurationError, match="model was 'tiny' and is 'another'"):
        Reranker("another", **there).calibration_of()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda whole: whole | {"version": 2}, "version"),
        (lambda whole: whole | {"calibrations": []}, "calibrations"),
        (lambda whole: [whole], "no file of calibrations"),
        (lambda whole: whole | {"calibrations": whole["calibrations"] * 2}, "two calibrations of"),
        (lambda whole: _with(whole, "probability", slope=-1), "slope"),
        (lambda whole: _with(whole, "probability", slope=math.nan), "slope"),
        (lambda whole: _with(whole, "probability", slope=True), "slope.*got a bool"),
        (lambda whole: _with(whole, "probability", slope="1"), "slope"),
        (lambda whole: _with(whole, "no_answer", threshold=2), "threshold"),
        (lambda whole: _with(whole, "fitted_for", prompt="sha256:0"), "prompt was 'sha256:0'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Any, complaint: str) -> None:
    whole = json.loads(dumped([calibration_for(Reranker(scorer=Margins()))]))
    (tmp_path / "c.json").write_text(json.dumps(change(whole)), "utf-8")
    with pytest.raises(ConfigurationError, match=complaint):
        Reranker(scorer=Margins(), calibration=str(tmp_path / "c.json"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Reranker(scorer=Margins(), calibration=str(tmp_path / "none.json"))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        dumped([calibration_for(Reranker(scorer=Margins()))]), "utf-8-sig"
    )
    assert Reranker(scorer=Margins(), calibration=str(tmp_path / "c.json")).calibration_of()


def _with(whole: dict[str, Any], part: str, **values: Any) -> dict[str, Any]:
    (calibration,) = whole["calibrations"]
    return whole | {"calibrations": [calibration | {part: calibration[part] | values}]}


points = st.lists(
    st.tuples(margins, st.floats(0, 1)), min_size=1, max_size=8, unique_by=lambda p: p[0]
)


@given(points, st.lists(margins, min_size=2, max_size=5))
def test_maps_are_monotone_and_stay_between_their_ends(
    given_points: list[tuple[float, float]], asked: list[float]
) -> None:
    xs, ys = zip(*given_points, strict=True)
    isotonic = Isotonic(margins=tuple(sorted(xs)), probabilities=tuple(sorted(ys)))
    for margin, probability in zip(isotonic.margins, isotonic.probabilities, strict=True):
        assert isotonic.of(margin) == pytest.approx(probability, abs=1e-9)
    for curve in (isotonic, Platt(slope=0.3, intercept=1.0)):
        found = [curve.of(margin) for margin in sorted(asked)]
        assert all(low <= high + 1e-12 for low, high in pairwise(found))
        assert all(0.0 <= value <= 1.0 for value in found)
    assert isotonic.of(-1e9) == isotonic.probabilities[0]
    assert isotonic.of(1e9) == isotonic.probabilities[-1]


def test_no_answer_is_of_the_best_the_mean_and_the_number(tmp_path: Path) -> None:
    weights = {"intercept": 0.5, "best": 0.8, "mean": 0.2, "candidates": 0.3}
    no_answer = NoAnswer(**weights, keep=0.9, threshold=0.5, queries=10)
    assert no_answer.of([]) == 1.0
    assert no_answer.of([2.0, -1.0]) == pytest.approx(sigmoid(0.5 - 1.6 + 0.1 + 0.3 * math.log(2)))
    copies = calibrated(tmp_path, no_answer=no_answer).rerank("q", ["2.0", "-1.0", "2.0", "2.0"])
    assert copies.no_answer == no_answer.of([2.0, -1.0])  # each text counts once


def test_calibration_of_says_what_is_fitted(tmp_path: Path) -> None:
    reranker = calibrated(tmp_path, no_answer=None)
    calibration = reranker.calibration_of()
    assert calibration is not None
    assert calibration.instruction == DEFAULT_INSTRUCTION
    assert calibration.probability_of(2.0) == 0.5
    assert reranker.rerank("q", DOCUMENTS).no_answer is None
    assert Reranker(scorer=Margins()).calibration_of() is None


def test_the_instruction_of_a_wrapped_query_counts(tmp_path: Path) -> None:
    reranker = calibrated(tmp_path)
    wrapped = "<Instruct>: {}\n<Query>: q\n\n"
    ranking = reranker.rerank(wrapped.format(DEFAULT_INSTRUCTION), DOCUMENTS)
    assert [d.probability for d in ranking] == [HALF.of(d.logit) for d in ranking]
    with pytest.raises(ConfigurationError, match="'Find poems'"):
        reranker.rerank(wrapped.format("Find poems"), DOCUMENTS)


def test_weights_whose_sum_may_be_no_number_are_refused(tmp_path: Path) -> None:
    calibration = calibration_for(Reranker(scorer=Margins()))
    path = tmp_path / "calibration.json"
    text = dumped([calibration])
    for name in ("intercept", "best", "mean", "candidates"):
        content = json.loads(text)
        content["calibrations"][0]["no_answer"][name] = 1e308
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(ConfigurationError, match=f"no_answer.{name}"):
            Reranker(scorer=Margins(), calibration=str(path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Reranker(scorer=Margins(), calibration="a\0b")


def test_what_was_not_judged_may_answer(tmp_path: Path) -> None:
    reranker = calibrated(tmp_path)
    ranking = reranker.rerank("q", ["-3.0", "6.0"], max_candidates=1, top_k=1)
    assert (ranking.answers, ranking.no_answer) == (None, sigmoid(3.0))
    assert reranker.rerank("q", ["6.0", "-3.0"], max_candidates=1).answers is True
    assert reranker.rerank("q", ["-3.0", "-3.0"], max_candidates=1).answers is False
    assert not is_unanswered(ranking, "empty")
