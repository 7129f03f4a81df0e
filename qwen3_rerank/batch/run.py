"""`run_batch` and `plan_batch`: the whole of a job, from an input to a summary."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qwen3_rerank.batch import known_pairs, manifest
from qwen3_rerank.batch.errors import BatchError, ChangedJobError
from qwen3_rerank.batch.job import Job, JobOptions
from qwen3_rerank.batch.known_pairs import Scoring, check_same
from qwen3_rerank.batch.output import Output
from qwen3_rerank.batch.plan import BatchPlan, make_plan
from qwen3_rerank.batch.preparing import Given, Prepared, check, clean_up, prepare
from qwen3_rerank.batch.ray_options import RayOptions
from qwen3_rerank.batch.workers import OneWorker, Workers
from qwen3_rerank.reading.folders import held
from shared_core.identity import identity, is_known
from shared_core.reranker import Reranker

if TYPE_CHECKING:
    from typing_extensions import Unpack

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a run.

    Attributes:
        blocks: Blocks of the job.
        blocks_done: The blocks that are finished, by this run or an earlier one.
        pairs: Pairs that this run has dealt with.
        errors: Entries that it has put into error files.
        deaths: Workers that died and were replaced.
    """

    blocks: int
    blocks_done: int
    pairs: int
    errors: int
    deaths: int


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The result of a job, counted over all runs except where it says "this run".

    Attributes:
        rows: Rows of the input, every one of them scored or in an error file.
        pairs: Pairs that were scored.
        errors: Entries in error files.
        truncated: Documents that lost their end.
        tokens: Prompt tokens of all pairs, a query's prefix counted for each; ``None`` if unknown.
        blocks: Blocks of the job.
        blocks_skipped: The blocks that an earlier run had finished.
        seconds: This run, without its plan.
        pairs_per_second: This run; ``None`` if it had nothing to do.
        tokens_per_second: This run, likewise.
        deaths: Workers that died in this run and were replaced.
    """

    rows: int
    pairs: int
    errors: int
    truncated: int
    tokens: int | None
    blocks: int
    blocks_skipped: int
    seconds: float
    pairs_per_second: float | None
    tokens_per_second: float | None
    deaths: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def run_batch(
    given: Given,
    out: str | os.PathLike[str],
    *,
    reranker: Reranker,
    ray: RayOptions | None = None,
    measure: bool = True,
    on_plan: Callable[[BatchPlan], None] | None = None,
    on_progress: Callable[[BatchProgress], None] | None = None,
    **options: Unpack[JobOptions],
) -> BatchSummary:
    """Score every row of an input into a folder, and return a summary.

    Called again after it was stopped or killed, it does what is missing.

    Args:
        given: A file, a folder, a pattern or an address of parquet or JSON lines, several of
            them, or a Ray dataset.
        out: The folder, of this job alone. With Ray, every node has to reach it by this path.
        reranker: The backend that scores; with Ray, every worker has a copy of its own.
        ray: The cluster and its workers; ``None`` scores in this process.
        measure: Whether to score a sample first, for the plan's estimate of time.
        on_plan: Receives the plan before anything is scored.
        on_progress: Receives the progress, now and then.
        **options: What is done:

            - ``output``: ``"scores"``, a score for every pair, which is the default, or
              ``"ranked"``, a list for every query;
            - ``format``: ``"parquet"``, the default, or ``"jsonl"``;
            - ``top_k``, ``score_threshold``, ``min_probability``, ``min_docs``: of ranked lists,
              as for `Reranker.rerank`;
            - ``columns``: the names of the input's columns, `Columns`;
            - ``block_rows``: rows of a block, which is what a crash loses per worker; ``None``, the
              default, is 4,096 pairs;
            - ``group``: whether to bring the rows of a query together on disk first: ``"always"``,
              ``"never"``, or ``"auto"``, the default, where ranked lists need it.

    Raises:
        BatchInputError: The input cannot be read, or has not the columns.
        ChangedJobError: The folder holds another job, or was begun with another model.
        LockedError: Another process works on it.
        FolderError: There is a link in it.
        RerankError: The model or the server failed. What is done is done.
    """
    job = Job.of(out, reranker, options)
    check(given, job, reranker)
    with held(job.out, manifest.NAME) as folder:
        prepared = prepare(given, job, reranker, folder)
        files = Output(prepared.job, prepared.source.shape)
        before = _begun_with(files, prepared)
        if before is None:
            files.prepare()
        with closing(_workers(reranker, prepared, ray)) as workers:
            now = _scoring(reranker, prepared, workers, ray)
            if before is not None and now is not None:
                check_same(before, now)
            files.prepare()
            if before is None and now is not None:
                files.write_json(known_pairs.NAME, asdict(now))
            workers.expected = before or now
            sample = workers.sample(prepared.left, measure) if prepared.left else None
            if on_plan is not None:
                on_plan(make_plan(prepared, sample, workers.count))
            summary = _run(prepared, workers, files, on_progress or (lambda _: None))
        prepared.source.check_unchanged()
        if prepared.left or files.read(SUMMARY) is None:
            files.write_json(SUMMARY, summary.to_dict())
        clean_up(folder)
        return summary


def plan_batch(
    given: Given,
    out: str | os.PathLike[str],
    *,
    reranker: Reranker,
    ray: RayOptions | None = None,
    measure: bool = True,
    **options: Unpack[JobOptions],
) -> BatchPlan:
    """Return the plan of `run_batch` with the same arguments, and write nothing.

    Raises:
        ValueError: The input is a Ray dataset, which would have to be run to be counted.
        BatchInputError, ChangedJobError, RerankError: As for `run_batch`.
    """
    prepared = prepare(given, Job.of(out, reranker, options), reranker)
    before = _begun_with(Output(prepared.job, prepared.source.shape), prepared)
    with closing(_workers(reranker, prepared, ray)) as workers:
        if before is not None and measure:
            now = _scoring(reranker, prepared, workers, ray)
            if now is not None:
                check_same(before, now)
        sample = workers.sample(prepared.left, measure) if prepared.left else None
        return make_plan(prepared, sample, workers.count)


def _workers(reranker: Reranker, prepared: Prepared, ray: RayOptions | None) -> Workers:
    if ray is None or not prepared.left:
        return OneWorker(reranker, prepared.job, prepared.source)
    from qwen3_rerank.batch.ray_workers import RayWorkers

    return RayWorkers(ray, reranker, prepared.job, prepared.source, len(prepared.left))


def _begun_with(files: Output, prepared: Prepared) -> Scoring | None:
    """Return the record of the model that made the existing scores; ``None`` if there are none."""
    if not prepared.job.number:
        return None
    path = prepared.job.out / known_pairs.NAME
    data = files.read(known_pairs.NAME)
    found = None if data is None else Scoring.from_json(data)
    if found is None and (data is not None or prepared.done):
        raise ChangedJobError(
            f"{path} is damaged or gone: by which model the scores were made that are there cannot "
            "be known. Put back the file as it was, or give another folder"
        )
    return found


def _scoring(
    reranker: Reranker, prepared: Prepared, workers: Workers, ray: RayOptions | None
) -> Scoring | None:
    """Return the record of the model; if no work is left, what is known without loading it.

    ``None`` if nothing is left to do, and it would be done elsewhere.
    """
    if prepared.left:
        return workers.scoring()
    if ray is None and is_known(reranker) and not reranker.options.is_remote:
        return Scoring(identity(reranker), None)
    return None


def _run(
    prepared: Prepared,
    workers: Workers,
    files: Output,
    on_progress: Callable[[BatchProgress], None],
) -> BatchSummary:
    left = prepared.left
    done, pairs, errors, scored, tokens = len(prepared.done), 0, 0, 0, 0
    knows_tokens = True
    inside = 0  # pairs of a block that is not done yet

    def tell() -> None:
        dealt = pairs + inside
        on_progress(BatchProgress(len(prepared.blocks), done, dealt, errors, workers.deaths))

    def on_chunk(count: int) -> None:
        nonlocal inside
        inside += count
        tell()

    begun = time.monotonic()
    for report in workers.run(left, on_chunk):
        done, inside = done + 1, 0
        pairs += report.pairs + report.errors
        errors += report.errors
        scored += report.pairs
        knows_tokens = knows_tokens and report.tokens is not None
        tokens += report.tokens or 0
        tell()
    seconds = time.monotonic() - begun
    return _summary(prepared, files, workers.deaths, seconds, scored, tokens if knows_tokens else 0)


def _summary(
    prepared: Prepared, files: Output, deaths: int, seconds: float, scored: int, tokens: int
) -> BatchSummary:
    """Return the counts over all blocks, read back from the disk.

    Raises:
        BatchError: They do not add up to the input.
    """
    numbers = [block.number for block in prepared.blocks]
    missing = sorted(set(numbers) - files.done())
    if missing:
        raise BatchError(
            f"{len(missing)} of {len(numbers)} blocks are not done (the first is {missing[0]}): "
            "run it again"
        )
    reports = list(files.reports(numbers))
    for block, report in zip(prepared.blocks, reports, strict=True):
        if block.rows != report.rows:
            raise BatchError(
                f"block {block.number} has {block.rows} rows and {report.rows} were dealt with"
            )
    counted = [report.tokens for report in reports]
    return BatchSummary(
        rows=sum(report.rows for report in reports),
        pairs=sum(report.pairs for report in reports),
        errors=sum(report.errors for report in reports),
        truncated=sum(report.truncated for report in reports),
        tokens=None if None in counted else sum(filter(None, counted)),
        blocks=len(numbers),
        blocks_skipped=len(prepared.done),
        seconds=round(seconds, 3),
        pairs_per_second=round(scored / seconds, 3) if scored else None,
        tokens_per_second=round(tokens / seconds, 1) if tokens else None,
        deaths=deaths,
    )
