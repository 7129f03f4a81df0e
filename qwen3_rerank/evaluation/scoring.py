"""Scoring of the candidates of every query by every system. Known scores are reused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.results_file import QueryScores, ResultsFile, sum_if_known
from qwen3_rerank.evaluation.systems import System, key_of
from shared_core.errors import RerankError, ScoringError
from shared_core.identity import agree, farthest_apart, identity, is_known
from shared_core.options import resolve_instruction
from shared_core.results import Judged
from shared_core.scoring import ScoreRequest, text_request

# So far from one another margins of one model may be: half precision in other packs.
_ROUNDING = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the scoring.

    Attributes:
        system: The letter of the system at work.
        done: Queries done, of all systems.
        known: The number of those known from an earlier run.
        total: Queries of all systems.
    """

    system: str
    done: int
    known: int
    total: int


@dataclass(frozen=True, slots=True)
class _Task:
    """One query for one system."""

    key: str
    query: str
    text: str
    instruction: str
    texts: Sequence[str]


def score_all(
    systems: Sequence[System],
    dataset: Dataset,
    first_stage: FirstStage,
    results: ResultsFile,
    *,
    at_once: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, dict[str, QueryScores]]:
    """Return letter → query id → scores; queries without candidates are left out.

    Args:
        at_once: Queries in one call. With more than one no latency is measured.

    Raises:
        RerankError: Scoring failed; the message names the query. What was scored is kept.
    """
    queries = {
        query: text for query, text in dataset.queries.items() if first_stage.candidates[query]
    }
    found: dict[str, dict[str, QueryScores]] = {}
    show = on_progress or (lambda _: None)
    done = known = 0
    total = len(queries) * len(systems)
    was_loaded = {id(system.reranker): system.reranker.is_loaded for system in systems}
    for place, system in enumerate(systems):
        tasks = list(_tasks(system, queries, dataset.documents, first_stage))
        missing = [task for task in tasks if task.key not in results.known]
        known += len(tasks) - len(missing)
        done += len(tasks) - len(missing)
        show(Progress(system.letter, done, known, total))
        if missing:
            system.reranker.warm_up(instruction=system.instruction)
            _check_same(system, tasks, results)
        for count in _added(system, missing, results, at_once):
            done += count
            show(Progress(system.letter, done, known, total))
        found[system.letter] = {task.query: results.known[task.key] for task in tasks}
        is_last = all(later.reranker is not system.reranker for later in systems[place + 1 :])
        if is_last and len(was_loaded) > 1 and not was_loaded[id(system.reranker)]:
            system.reranker.unload()  # the next model may need the memory
    return found


def score_texts(
    system: System, requests: Mapping[str, ScoreRequest], results: ResultsFile, at_once: int
) -> dict[str, QueryScores]:
    """Return query id → scores of other texts than the candidates; known ones are reused.

    Args:
        requests: What to score, by the id of the query.

    Raises:
        RerankError: Scoring failed; the message names the query. What was scored is kept.
    """
    told = identity(system.reranker)
    texts = {query: text_request(asked, "an evaluation") for query, asked in requests.items()}
    tasks = [
        _Task(
            key_of(told, request.instruction, request.query, request.documents),
            query,
            request.query,
            request.instruction,
            request.documents,
        )
        for query, request in texts.items()
    ]
    missing = [task for task in tasks if task.key not in results.known]
    for _ in _added(system, missing, results, at_once):
        pass
    return {task.query: results.known[task.key] for task in tasks}


def _added(
    system: System, missing: Sequence[_Task], results: ResultsFile, at_once: int
) -> Iterator[int]:
    """Score tasks, and yield how many are done whenever some are."""
    for chunk in _chunks(missing, at_once):
        results.add(_judged(system, chunk, is_timed=at_once == 1))
        yield len(chunk)


def _tasks(
    system: System,
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    first_stage: FirstStage,
) -> Iterator[_Task]:
    if not is_known(system.reranker):
        # A hub model's commit is known once its files are here.
        system.reranker.warm_up(instruction=system.instruction)
    told = identity(system.reranker)
    configured = system.reranker.options.instruction
    for query, text in queries.items():
        texts = [documents[document] for document, _ in first_stage.candidates[query]]
        instruction = resolve_instruction(system.instruction, configured, text)
        yield _Task(key_of(told, instruction, text, texts), query, text, instruction, texts)


def _check_same(system: System, tasks: Sequence[_Task], results: ResultsFile) -> None:
    """Score one known query again: a server's model may have changed under the same name.

    Raises:
        ScoringError: The query has other scores now.
    """
    task = next((task for task in tasks if task.key in results.known), None)
    if task is None:
        return
    before, now = results.known[task.key].logits, _judged(system, [task], is_timed=False)[0].logits
    if not agree(identity(system.reranker), before, now, rounding=_ROUNDING):
        raise ScoringError(
            f"{system.name} does not score as it did when the results were begun: query "
            f"{task.query} has a margin that is {farthest_apart(before, now):.2f} off. Give "
            "another folder for the results, or make the model what it was."
        )


def _judged(system: System, tasks: Sequence[_Task], *, is_timed: bool) -> list[QueryScores]:
    began = time.perf_counter()
    try:
        answers = system.reranker.judge_many(
            ScoreRequest(task.text, task.instruction, task.texts) for task in tasks
        )
    except RerankError as error:
        names = ", ".join(task.query for task in tasks[:3]) + (", …" if len(tasks) > 3 else "")
        error.args = (f"query {names}: {error}", *error.args[1:])
        raise
    seconds = time.perf_counter() - began
    return [
        _scores(task, judged, seconds if is_timed else None)
        for task, judged in zip(tasks, answers, strict=True)
    ]


def _scores(task: _Task, judged: Sequence[Judged], seconds: float | None) -> QueryScores:
    tokens = [document.total_tokens for document in judged]
    return QueryScores(
        key=task.key,
        query=task.query,
        logits=[document.logit for document in judged],
        tokens=sum_if_known(tokens),
        truncated=sum_if_known([document.truncated for document in judged]),
        seconds=seconds,
        tokens_each=None if None in tokens else [count or 0 for count in tokens],
    )


def _chunks(tasks: Sequence[_Task], size: int) -> Iterator[Sequence[_Task]]:
    for begin in range(0, len(tasks), size):
        yield tasks[begin : begin + size]
