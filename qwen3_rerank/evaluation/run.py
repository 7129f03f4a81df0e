"""`evaluate`: candidates, scores, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from qwen3_rerank.evaluation import calibrated
from qwen3_rerank.evaluation import first_stage as stages
from qwen3_rerank.evaluation.cascading import compare_cascades
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.environment import environment
from qwen3_rerank.evaluation.evidence import compare_evidence
from qwen3_rerank.evaluation.figuring import comparisons_of, right_of, system_report
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.judge import LETTER, agreement, judge_of, judged_by, restricted
from qwen3_rerank.evaluation.measures import MEASURES, best_possible, parse, per_query
from qwen3_rerank.evaluation.readers import read_dataset, read_unjudged
from qwen3_rerank.evaluation.report import Report
from qwen3_rerank.evaluation.results_file import NAME as RESULTS
from qwen3_rerank.evaluation.results_file import ResultsFile
from qwen3_rerank.evaluation.scoring import Progress, score_all
from qwen3_rerank.evaluation.significance import estimate
from qwen3_rerank.evaluation.suggestion import KEEP
from qwen3_rerank.evaluation.systems import keeps_of, systems_of
from qwen3_rerank.reading.folders import OutputFolder, held
from shared_core.options import Instruction
from shared_core.reranker import Reranker


def evaluate(
    reranker: Reranker | Mapping[str, Reranker],
    dataset: Dataset | str | Path,
    *,
    first_stage: FirstStage | Mapping[str, Sequence[str]] | str | Path | None = None,
    split: str | None = None,
    top_n: int = 100,
    instructions: Sequence[Instruction | None] = (None,),
    queries: int | None = None,
    seed: int = 0,
    measures: Sequence[str] = MEASURES,
    keep: float = KEEP,
    queries_at_once: int = 1,
    judge: Reranker | None = None,
    evidence: bool = False,
    calibrate: str | Path | None = None,
    out: str | Path | None = None,
    command: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Rerank the candidates of a first stage, write the report and return it.

    Args:
        reranker: The reranker to evaluate, or several by name, compared on the same candidates. Of
            a `Cascade` both models are, each on all candidates, and its ``keep`` beside others.
        dataset: A folder or file of a format that `read_dataset` knows, or what it returns.
        first_stage: ``"bm25"``, a TREC run file, or document ids per query id, best first. ``None``
            takes the candidates of a data set that brings them, else BM25's.
        split: Which file of a BEIR folder's ``qrels``; see `read_dataset`.
        top_n: Candidates per query at most.
        instructions: Each is a system of its own; ``None`` is the reranker's.
        queries: The number of queries, drawn by ``seed``; ``None`` takes all.
        seed: The seed of that draw, of the intervals and the tests.
        measures: Names of ir-measures; gains and losses refer to the first.
        keep: The share of answered queries that the suggestion must keep, and the threshold for no
            answer.
        queries_at_once: More than one is faster with short lists, and leaves out latency.
        judge: A larger model, whose yes and no stand for the judgements that a data set lacks;
            those it has are not read. All figures are then agreement with it, none is the truth.
        evidence: Also measure how often the evidence of the right documents holds the answer, which
            takes a data set that says where answers are (SQuAD's format).
        calibrate: A file for the calibration of every system, for ``Reranker(calibration=…)``.
        out: A folder for the report. Scores go there as they come, so that a run that was stopped
            does what is missing when it is started again. ``None`` writes nothing.
        command: The command line, for the report.
        on_progress: Called as scores come.

    Raises:
        InputError: Something in a file is wrong; the message names the line.
        ValueError: An argument is out of range.
        RerankError: Scoring failed. What was scored before is kept in ``out``.
        LockedError: Another evaluation works in ``out``.
        FolderError: There is a link in it.
    """
    for name, value in (("top_n", top_n), ("queries_at_once", queries_at_once)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected 1 or more")
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep={keep}: expected a share above 0, up to 1")
    parse(measures)
    is_timed = queries_at_once == 1
    systems = systems_of(reranker, instructions)
    data = dataset if isinstance(dataset, Dataset) else _read(dataset, split, judge)
    if judge is not None:
        if calibrate is not None:
            raise ValueError("calibrate takes judgements by people, and a judge is a model")
        data = replace(data, relevant={query: {} for query in data.queries})
    if queries is not None:
        data = data.sample(queries, seed)
    stage = _stage(data, first_stage, top_n)
    if out is not None and Path(out).is_dir():
        ResultsFile(OutputFolder(Path(out)))  # refuses a foreign one before anything is written
    if calibrate is not None:
        calibrated.check(Path(calibrate), systems, data, stage)
    with ExitStack() as stack:
        folder = None if out is None else stack.enter_context(held(Path(out), RESULTS))
        results = ResultsFile(folder)
        scores = score_all(
            [*systems, *([] if judge is None else [judge_of(judge)])],
            data,
            stage,
            results,
            at_once=queries_at_once,
            on_progress=on_progress,
        )
        agreements = {}
        if judge is not None:
            judging, verdicts = judge_of(judge), scores.pop(LETTER)
            agreements = {
                letter: agreement(judging, found, verdicts, seed)
                for letter, found in scores.items()
            }
            data = judged_by(judging, data, stage, verdicts)
            stage = restricted(stage, data)
            scores = {
                letter: {query: found[query] for query in data.queries if query in found}
                for letter, found in scores.items()
            }
        before = per_query(data.relevant, stage.candidates, measures)
        parts = []
        for system in systems:
            letter = system.letter
            part = system_report(
                system, scores[letter], data, stage, measures, seed, keep, is_timed=is_timed
            )
            part = replace(part, agreement=agreements.get(letter))
            if evidence:
                found = compare_evidence(system, data, results, seed, queries_at_once)
                part = replace(part, evidence=found)
            if calibrate is not None:
                fitted = calibrated.calibration_of(system, data, stage, part.order, keep)
                part = replace(part, calibrated=fitted)
            parts.append(part)
        if calibrate is not None:
            calibrated.save(Path(calibrate), [part.calibrated for part in parts if part.calibrated])
        ideal = best_possible(data.relevant, stage.candidates, measures)
        report = Report(
            dataset=data,
            first_stage=stage,
            top_n=top_n,
            seed=seed,
            measures=tuple(measures),
            before=before,
            before_figures={name: estimate(before[name].values(), seed) for name in measures},
            ceiling={name: fmean(ideal[name].values()) for name in measures},
            right=right_of(data, stage),
            systems=parts,
            comparisons=comparisons_of(before, parts, measures, seed),
            cascades=compare_cascades(
                systems,
                scores,
                {part.letter: part.values[measures[0]] for part in parts},
                stage.candidates,
                data.relevant,
                measures[0],
                seed,
                keeps=keeps_of(reranker),
                is_timed=is_timed,
            ),
            environment=environment(),
            command=command,
        )
        if out is not None:
            report.save(out)
    return report


def _read(path: str | Path, split: str | None, judge: Reranker | None) -> Dataset:
    return read_dataset(path, split=split) if judge is None else read_unjudged(path, split=split)


def _stage(
    data: Dataset, source: FirstStage | Mapping[str, Sequence[str]] | str | Path | None, top_n: int
) -> FirstStage:
    if isinstance(source, FirstStage):
        return source
    if isinstance(source, Mapping):
        return stages.from_mapping(data, source, top_n)
    if source is None and data.candidates:
        return stages.from_mapping(data, data.candidates, top_n, "the data set's own, mixed")
    if source is None or source == stages.BM25:
        return stages.bm25(data, top_n)
    return stages.from_run(data, source, top_n)
