"""Ranking of many requests: in batches, written in order, each failure named by its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from qwen3_rerank.cli.rank_fusion import retriever_scores
from qwen3_rerank.cli.rank_input import RankJob, batches, count_lines
from qwen3_rerank.reading.document_files import Fields
from qwen3_rerank.reading.text import InputError
from shared_core import RankedDocument, RankingOptions, Reranker

DOCUMENTS_AT_ONCE = 256

Write = Callable[[RankJob, Sequence[RankedDocument]], None]


@dataclass(frozen=True, slots=True)
class Ranker:
    """A reranker with the options of a command.

    Attributes:
        kept: The options of rankings; a request's own ``top_k`` goes before theirs.
        score_key: The field of a document with the retriever's score.
    """

    reranker: Reranker
    kept: RankingOptions
    score_key: str | None

    def rank(self, job: RankJob) -> list[RankedDocument]:
        """Return the ranking of one request."""
        return self.reranker.rerank(
            job.query,
            [document.judged for document in job.documents],
            instruction=job.instruction,
            retriever_scores=self._scores(job),
            **self._options(job.top_k),
        )

    def rank_many(
        self, jobs: Sequence[RankJob]
    ) -> Iterator[tuple[RankJob, list[RankedDocument] | InputError]]:
        """Yield every request with its ranking, in order, or with what is wrong with it.

        Requests with the same instruction and the same ``top_k`` share forward passes, but with a
        budget of time, which each has for itself.

        Raises:
            RerankError: Scoring failed, and not because of a request.
        """
        if self.kept.time_budget is not None:
            yield from ((job, self._tried(job)) for job in jobs)
            return
        for (instruction, top_k), group in groupby(jobs, lambda job: (job.instruction, job.top_k)):
            some = list(group)
            try:
                scores = None if self.kept.fusion is None else [self._scores(job) for job in some]
                rankings = self.reranker.rerank_many(
                    [job.query for job in some],
                    [[document.judged for document in job.documents] for job in some],
                    instruction=instruction,
                    retriever_scores=scores,
                    **self._options(top_k),
                )
            except ValueError:  # one request is at fault: find it
                yield from ((job, self._tried(job)) for job in some)
            else:
                yield from zip(some, rankings, strict=True)

    def _options(self, top_k: int | None) -> dict[str, Any]:
        options = self.kept.model_dump()
        return options if top_k is None else options | {"top_k": top_k}

    def _scores(self, job: RankJob) -> list[float | None] | None:
        return None if self.kept.fusion is None else retriever_scores(job, self.score_key)

    def _tried(self, job: RankJob) -> list[RankedDocument] | InputError:
        try:
            return self.rank(job)
        except ValueError as error:
            return InputError(f"{job.where}: {error}")


def rank_lines(
    ranker: Ranker,
    sources: Sequence[str],
    fields: Fields,
    write: Write,
    *,
    keep_going: bool,
    show_progress: bool,
) -> int:
    """Rank and write every request; return how many lines were named and left out.

    Raises:
        InputError: A line is wrong, unless ``keep_going``; those before it are written.
        RerankError: Scoring failed.
    """
    skipped = 0

    def leave_out(error: InputError) -> None:
        nonlocal skipped
        if not keep_going:
            raise error
        skipped += 1
        errors.print(f"[yellow]left out:[/] {escape(str(error))}", highlight=False, soft_wrap=True)

    errors = Console(stderr=True)
    bar = Progress(
        TextColumn("ranking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not show_progress,
    )
    with bar:
        task = bar.add_task("", total=count_lines(sources) if show_progress else None)
        for batch in batches(sources, fields, DOCUMENTS_AT_ONCE):
            for is_job, some in groupby(batch, lambda item: isinstance(item, RankJob)):
                if not is_job:
                    for error in some:
                        leave_out(error)
                        bar.advance(task)
                    continue
                for job, ranked in ranker.rank_many(list(some)):
                    if isinstance(ranked, InputError):
                        leave_out(ranked)
                    else:
                        write(job, ranked)
                    bar.advance(task)
    return skipped
