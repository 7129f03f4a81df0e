"""`evaluate` with real models: the order is the reranker's, the figures are ir-measures'."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import ir_measures
import pytest

from qwen3_rerank.evaluation import MEASURES, Dataset, Progress, evaluate
from qwen3_rerank.evaluation.cases import gains, losses
from qwen3_rerank.evaluation.figuring import timing
from qwen3_rerank.evaluation.first_stage import bm25
from shared_core import Reranker, RerankError, ScoringError
from shared_core.ranking import sigmoid

TIME = re.compile(r'<section id="time">.*?</section>', re.DOTALL)


def test_the_figures_are_those_of_the_rerankers_own_order(
    tiny: Reranker, demo: Dataset, tmp_path: Path
) -> None:
    report = evaluate(tiny, demo, top_n=8, out=tmp_path)
    candidates = bm25(demo, 8).candidates
    (system,) = report.systems
    for query, text in demo.queries.items():
        ids = [document for document, _ in candidates[query]]
        ranked = tiny.rerank(text, [demo.documents[one] for one in ids])
        assert [one for one, _ in system.order[query]] == [ids[one.index] for one in ranked]
    judgements = [
        ir_measures.Qrel(query, document, grade)
        for query, grades in demo.relevant.items()
        for document, grade in grades.items()
    ]
    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    for name, figures in (("first_stage", report.before_figures), ("A", system.figures)):
        run = list(ir_measures.read_trec_run(str(tmp_path / "runs" / f"{name}.run")))
        for measure, value in ir_measures.calc_aggregate(measures, judgements, run).items():
            assert figures[str(measure)].mean == pytest.approx(value, abs=1e-12)
    lines = [json.loads(line) for line in (tmp_path / "queries.jsonl").open(encoding="utf-8")]
    assert [line["query"] for line in lines] == list(demo.queries)
    assert fmean(line["figures"]["A"]["RR@10"] for line in lines) == system.figures["RR@10"].mean


def test_the_same_seed_gives_the_same_bytes(tiny: Reranker, demo: Dataset, tmp_path: Path) -> None:
    """All but the times, which are in a file and a section of their own."""
    for name in ("one", "two"):
        evaluate(tiny, demo, top_n=6, out=tmp_path / name, seed=5)
    for name in ("report.json", "queries.jsonl", "runs/A.run", "runs/first_stage.run"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    first, second = (
        (tmp_path / name / "report.html").read_text("utf-8") for name in ("one", "two")
    )
    assert len(TIME.findall(first)) == 1
    assert TIME.sub("", first) == TIME.sub("", second)


def test_known_scores_are_not_computed_again(tiny: Reranker, demo: Dataset, tmp_path: Path) -> None:
    """And from the same scores come the same bytes, times and all."""
    first = evaluate(tiny, demo, top_n=6, out=tmp_path)
    scores = (tmp_path / "results.jsonl").read_bytes()
    page = (tmp_path / "report.html").read_bytes()
    seen: list[Progress] = []
    second = evaluate(tiny, demo, top_n=6, out=tmp_path, on_progress=seen.append)
    assert seen == [Progress("A", 12, 12, 12)]
    assert (tmp_path / "results.jsonl").read_bytes() == scores
    assert (tmp_path / "report.html").read_bytes() == page
    assert second.to_dict() == first.to_dict()


def test_scores_are_kept_for_what_they_depend_on(
    tiny: Reranker, checkpoint: Path, demo: Dataset, tmp_path: Path
) -> None:
    """Another text, instruction or model is scored; another seed or measure is not."""
    few = demo.sample(3, seed=0)
    query, text = next(iter(few.queries.items()))

    def scored(reranker: Reranker, data: Dataset, **options: object) -> int:
        seen: list[Progress] = []
        evaluate(  # type: ignore[call-overload, unused-ignore]
            reranker, data, top_n=4, out=tmp_path, on_progress=seen.append, **options
        )
        return seen[-1].total - seen[-1].known

    assert scored(tiny, few) == 3
    assert scored(tiny, few, seed=9, measures=["AP"]) == 0
    assert scored(tiny, few, instructions=["Find the passage"]) == 3
    changed = replace(few, queries={**few.queries, query: text + " Please?"})
    assert scored(tiny, changed) == 1
    with Reranker(str(checkpoint), dtype="float32", device="cpu") as other:
        assert scored(other, few) == 3
    with Reranker("tiny", dtype="float32", device="cpu", max_length=200) as shorter:
        assert scored(shorter, few) == 3
    with Reranker("tiny", dtype="float32", device="cpu", max_batch_tokens=1000) as slower:
        assert scored(slower, few) == 0


def test_a_model_that_changed_under_its_name_is_noticed(
    tiny: Reranker, demo: Dataset, tmp_path: Path
) -> None:
    """What is on the disk says otherwise than the model does now."""
    evaluate(tiny, demo.sample(2, seed=0), top_n=4, out=tmp_path)
    path = tmp_path / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["logits"][0] += 3.0
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ScoringError, match="does not score as it did when the results were begun"):
        evaluate(tiny, demo.sample(4, seed=0), top_n=4, out=tmp_path)


def test_instructions_are_compared_on_the_same_candidates(tiny: Reranker, demo: Dataset) -> None:
    task = "Given a question, find the passage that answers it"
    report = evaluate(tiny, demo, top_n=6, instructions=[None, task])
    first, second = report.systems
    assert (first.letter, second.letter) == ("A", "B")
    assert second.instruction == task
    assert first.instruction.startswith("Given a web search query")
    for query in demo.queries:
        assert {one for one, _ in first.order[query]} == {one for one, _ in second.order[query]}
    assert first.order != second.order
    pairs = [(one.first, one.second) for one in report.comparisons if one.measure == "RR@10"]
    assert pairs == [("first stage", "A"), ("first stage", "B"), ("A", "B")]
    compared = report.comparison("RR@10", "A", "B")
    assert compared.difference.estimate.mean == pytest.approx(
        second.figures["RR@10"].mean - first.figures["RR@10"].mean
    )
    assert compared.p_corrected >= compared.difference.p


def test_models_are_compared_and_a_random_one_loses(
    tiny: Reranker, checkpoint: Path, demo_folder: Path
) -> None:
    with Reranker(str(checkpoint), dtype="float32", device="cpu") as random:
        report = evaluate(
            {"tiny": tiny, "random": random}, demo_folder, queries=30, top_n=6, seed=1
        )
        assert not random.is_loaded  # unloaded after its turn: it was not loaded before
    assert tiny.is_loaded
    compared = report.comparison("nDCG@10", "A", "B")
    assert compared.difference.estimate.mean < 0
    assert compared.p_corrected < 0.05


def test_several_queries_at_once_score_alike_and_are_not_timed(
    tiny: Reranker, demo: Dataset
) -> None:
    one = evaluate(tiny, demo, top_n=4).systems[0]
    # Twelve by elevens: the last one is alone, and is not timed either.
    several = evaluate(tiny, demo, top_n=4, queries_at_once=11).systems[0]
    assert one.timing is not None
    assert several.timing is None
    for query in demo.queries:
        logits = dict(several.order[query])
        assert dict(one.order[query]) == pytest.approx(logits, abs=1e-4)
    assert one.tokens_per_query == several.tokens_per_query


class Refusing:
    """A scorer that fails on one query."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        if "Mercury" in query:
            raise RuntimeError("no")
        return [float(len(one)) for one in documents]


def test_a_query_that_cannot_be_scored_is_named_and_never_counted(tmp_path: Path) -> None:
    documents = {"d1": "tea", "d2": "mercury tea"}
    queries = {"q1": "tea", "q2": "Mercury tea", "q3": "more tea"}
    data = Dataset("made", documents, queries, {query: {"d1": 1} for query in queries})
    with pytest.raises(RerankError, match="query q2: Refusing failed: RuntimeError: no"):
        evaluate(Reranker(scorer=Refusing()), data, out=tmp_path)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
    passing = Reranker(scorer=Refusing(), on_error="passthrough")
    with pytest.raises(ScoringError, match="query q2: Refusing failed: RuntimeError: no"):
        evaluate(passing, data)


def test_queries_without_candidates_and_without_right_ones_count_as_nothing(
    tiny: Reranker,
) -> None:
    documents = {"d1": "tea is hot", "d2": "ice is cold"}
    queries = {"q1": "tea", "q2": "zzz", "q3": "ice"}
    relevant = {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d1": 1}}
    data = Dataset("made", documents, queries, relevant)
    report = evaluate(tiny, data)
    assert report.right == (3, 1)
    assert report.ceiling["nDCG@10"] == pytest.approx(1 / 3)
    assert report.systems[0].values["nDCG@10"] == {"q1": 1.0, "q2": 0.0, "q3": 0.0}
    assert "the other 2 count against every system" in report.html()
    hopeless = replace(data, relevant={query: {"gone": 1} for query in data.queries})
    assert evaluate(tiny, hopeless).systems[0].suggestion is None


class ByNumber:
    """A scorer that puts documents in the order of the numbers in them."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        last = [one.split()[-1] for one in documents]
        return [-float(one) if one.isdigit() else 0.0 for one in last]


def test_no_candidate_is_lost_beyond_the_tenth(tmp_path: Path) -> None:
    """Twelve candidates come in the reverse order; the only right one ends in place 11."""
    documents = {f"d{n}": f"document {n}" for n in range(1, 13)}
    data = Dataset("twelve", documents, {"q": "which?"}, {"q": {"d11": 1}})
    given = {"q": [f"d{n}" for n in range(12, 0, -1)]}
    measures = ["nDCG@10", "nDCG@20", "R@20", "RR@10", "AP"]
    asked = {"first_stage": given, "measures": measures, "out": tmp_path}
    report = evaluate(Reranker(scorer=ByNumber()), data, **asked)
    (system,) = report.systems
    assert [name for name, _ in system.order["q"]] == list(documents)
    after = {name: system.figures[name].mean for name in measures}
    assert after == pytest.approx(
        {"nDCG@10": 0, "nDCG@20": 1 / math.log2(12), "R@20": 1, "RR@10": 0, "AP": 1 / 11}
    )
    assert report.before_figures["AP"].mean == pytest.approx(1 / 2)
    assert report.before_figures["nDCG@10"].mean == pytest.approx(1 / math.log2(3))
    assert report.ceiling == pytest.approx(dict.fromkeys(measures, 1.0))
    saved = json.loads((tmp_path / "report.json").read_text())
    assert {name: one["mean"] for name, one in saved["systems"][0]["figures"].items()} == after
    run = (tmp_path / "runs" / "A.run").read_text().splitlines()
    assert [line.split()[2] for line in run] == list(documents)
    assert [line.split()[3] for line in run] == [str(n) for n in range(1, 13)]
    first = (tmp_path / "runs" / "first_stage.run").read_text().splitlines()
    assert [line.split()[2] for line in first] == given["q"]
    (line,) = (tmp_path / "queries.jsonl").read_text().splitlines()
    assert json.loads(line)["figures"]["A"] == pytest.approx(after)


def test_no_candidate_is_lost_beyond_the_hundredth() -> None:
    documents = {f"d{n}": f"document {n}" for n in range(1, 131)}
    data = Dataset("many", documents, {"q": "which?"}, {"q": {"d111": 1}})
    given = {"q": [f"d{n}" for n in range(120, 0, -1)] + [f"d{n}" for n in range(121, 131)]}
    measures = ["R@110", "R@111", "AP"]
    asked = {"first_stage": given, "measures": measures, "top_n": 120}
    report = evaluate(Reranker(scorer=ByNumber()), data, **asked)
    (system,) = report.systems
    assert [name for name, _ in system.order["q"]] == [f"d{n}" for n in range(1, 121)]
    assert [system.figures[name].mean for name in measures] == pytest.approx([0, 1, 1 / 111])
    assert report.before_figures["AP"].mean == pytest.approx(1 / 10)


def test_gains_and_losses_show_what_stands_above_the_right_one() -> None:
    """The first query gains and the second loses, both from place 3 to 1 or the reverse."""
    documents = {f"d{n}": f"document {n}" for n in range(1, 5)}
    queries = {"up": "up?", "down": "down?", "same": "same?"}
    data = Dataset(
        "moved", documents, queries, {"up": {"d1": 1}, "down": {"d3": 1}, "same": {"d2": 1}}
    )
    given = {"up": ["d3", "d2", "d1"], "down": ["d3", "d2", "d1"], "same": ["d3", "d2", "d1"]}
    report = evaluate(Reranker(scorer=ByNumber()), data, first_stage=given)
    (system,) = report.systems
    (gain,) = gains(report, system)
    (loss,) = losses(report, system)
    assert (gain.query, gain.before, gain.after) == ("up", pytest.approx(0.5), 1.0)
    assert (loss.query, loss.before, loss.after) == ("down", 1.0, pytest.approx(0.5))
    shown = [
        [(one.document, one.before, one.after, one.is_right) for one in case.places]
        for case in (gain, loss)
    ]
    assert shown == [
        [("d1", 3, 1, True), ("d3", 1, 3, False)],
        [("d3", 1, 3, True), ("d1", 3, 1, False)],
    ]
    assert [one.score for one in gain.places] == pytest.approx([sigmoid(-1), sigmoid(-3)])


def test_tokens_and_what_was_cut_are_counted_over_all_candidates(
    tiny: Reranker, demo: Dataset
) -> None:
    """Lists of different lengths; some documents lose their end."""
    few = demo.sample(3, seed=1)
    names = list(few.documents)
    given = {query: names[: 2 + 3 * n] for n, query in enumerate(few.queries)}
    whole = tiny.rerank(next(iter(few.queries.values())), [few.documents[one] for one in names[:8]])
    middle = sorted(one.n_tokens or 0 for one in whole)[4]
    with Reranker("tiny", device="cpu", max_length=middle) as short:
        (system,) = evaluate(short, few, first_stage=given).systems
        ranked = [
            short.rerank(text, [few.documents[one] for one in given[query]])
            for query, text in few.queries.items()
        ]
    tokens = [one.n_tokens or 0 for ranking in ranked for one in ranking]
    assert len(tokens) == 2 + 5 + 8
    assert system.tokens_per_query == pytest.approx(sum(tokens) / 3)
    assert system.tokens_per_document == pytest.approx(sum(tokens) / 15)
    cut = sum(bool(one.truncated) for ranking in ranked for one in ranking)
    assert 0 < cut < 15
    assert system.truncated == cut


def test_times_are_those_of_the_queries() -> None:
    found = timing([3.0, 1.0, 10.0, 2.0])
    assert (found.queries, found.mean, found.median) == (4, 4.0, 2.5)
    assert found.p95 == pytest.approx(3 + 0.85 * 7)
    assert timing([2.0]).p95 == 2.0


def test_wrong_arguments_are_refused_before_anything_is_scored(
    tiny: Reranker, demo: Dataset
) -> None:
    for options, said in (
        ({"top_n": 0}, "top_n=0"),
        ({"keep": 1.5}, "keep=1.5"),
        ({"measures": ["nope@1"]}, "is no measure"),
        ({"instructions": ["a", "a"]}, "an instruction is there twice"),
        ({"instructions": []}, "nothing to evaluate"),
    ):
        with pytest.raises(ValueError, match=said):
            evaluate(tiny, demo, **options)  # type: ignore[arg-type, unused-ignore]
