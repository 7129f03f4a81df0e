"""Scoring of one block, chunk by chunk. Pairs that cannot be scored are set aside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.chunks import chunks
from qwen3_rerank.batch.errors import BatchError
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.output import BlockReport, Output
from qwen3_rerank.batch.rows import Judged, Pair, RowError, pairs_of
from qwen3_rerank.batch.source import Source
from shared_core.calibration import Calibration
from shared_core.errors import (
    ClosedError,
    ConfigurationError,
    MissingDependencyError,
    ModelLoadError,
    QueryTooLongError,
    RerankError,
    ServerStatusError,
    ServerUnreachableError,
)
from shared_core.images.content import VISION_MODEL, Content, text_of
from shared_core.options import resolve_instruction
from shared_core.prompt.unwrapping import unwrapped_query
from shared_core.reranker import Reranker

_PROBE = ("What is the capital of France?", "Paris is the capital of France.")
_ABOUT_THE_REQUEST = (400, 413, 422)  # HTTP statuses that a text can cause
_NEVER_A_ROW = (MissingDependencyError, ModelLoadError, ClosedError, ServerUnreachableError)


class BlockScorer:
    """Scores blocks and writes them. There is one in every worker.

    Args:
        reranker: The backend that scores.
        job: The options of the batch.
        source: The rows of the input.
    """

    def __init__(self, reranker: Reranker, job: Job, source: Source) -> None:
        self._reranker = reranker
        self._job = job
        self._source = source
        self._output = Output(job, source.shape)

    def run(self, block: Block, on_chunk: Callable[[int], None] | None = None) -> BlockReport:
        """Score a block and write its output as a whole.

        Args:
            block: The rows to score.
            on_chunk: Receives the number of finished pairs, now and then.

        Raises:
            RerankError: The backend failed, and not because of a row.
            BatchInputError: The input cannot be read any more.
        """
        if self._job.columns.has_images:
            self._check_sees()
        begun = time.monotonic()
        errors: list[RowError] = []
        judged: list[Judged] = []
        for chunk in chunks(self._pairs(block, errors)):
            part: list[Judged] = []
            self._score(chunk, part, errors)
            # As they were read; rows that were brought together are not in the order of numbers.
            order = {(pair.row, pair.index): place for place, pair in enumerate(chunk)}
            judged += sorted(part, key=lambda pair: order[pair.row, pair.index])
            if on_chunk is not None:
                on_chunk(len(chunk))
        errors.sort(key=lambda error: (error.row, error.index or 0))
        counted = [pair.n_tokens for pair in judged]
        tokens = None if None in counted else sum(filter(None, counted))
        report = BlockReport(
            block.number,
            block.rows,
            len(judged),
            len(errors),
            tokens,
            sum(bool(pair.truncated) for pair in judged),
            time.monotonic() - begun,
        )
        self._output.commit(report, judged, errors)
        return report

    def _check_sees(self) -> None:
        """Raise unless the model takes images, which it knows for certain when it is loaded."""
        self._reranker.warm_up()
        if not self._reranker.takes_images:
            raise BatchError(
                f"a column of images is named, and {self._reranker.options.model!r} reads text "
                f'alone: use a model that sees, such as "{VISION_MODEL}" (docs/images.md)'
            )

    def _pairs(self, block: Block, errors: list[RowError]) -> Iterator[Pair]:
        """Yield the pairs of a block; those that cannot be scored go to ``errors``."""
        shape = self._source.shape
        single_text = self._job.output == "ranked" and shape.layout == "pairs"
        rows = 0
        last: Pair | None = None
        for row, raw in self._source.rows(block):
            rows += 1
            for pair in pairs_of(raw, row, shape):
                if isinstance(pair, RowError):
                    errors.append(pair)
                elif single_text and last is not None and _is_other_text(pair, last):
                    reason = f"this query_id has another query text in row {last.row}"
                    errors.append(_failed(pair, shape.layout, ValueError(reason)))
                else:
                    last = pair
                    yield pair
        if rows != block.rows:
            raise BatchError(f"block {block.number} has {rows} rows and had {block.rows}")

    def _score(self, chunk: Sequence[Pair], judged: list[Judged], errors: list[RowError]) -> None:
        """Score pairs; pairs that cannot be scored are found by halving and go to ``errors``."""
        try:
            scored = self._reranker.score_pairs([(pair.query, pair.document) for pair in chunk])
        except Exception as error:
            if not may_be_a_row(error):
                raise
            queries = list(dict.fromkeys(pair.query for pair in chunk))
            if len(queries) > 1:
                first = set(queries[: len(queries) // 2])
                self._score([pair for pair in chunk if pair.query in first], judged, errors)
                self._score([pair for pair in chunk if pair.query not in first], judged, errors)
            elif len(chunk) > 1 and not isinstance(error, QueryTooLongError):
                self._score(chunk[: len(chunk) // 2], judged, errors)
                self._score(chunk[len(chunk) // 2 :], judged, errors)
            else:
                self._probe(error)
                errors += (_failed(pair, self._source.shape.layout, error) for pair in chunk)
            return
        keeps_query = self._source.shape.query_id is None and self._job.output == "ranked"
        calibrations = {pair.query: self._calibration(pair.query) for pair in chunk}
        for pair, judgement in zip(chunk, scored, strict=True):
            calibration = calibrations[pair.query]
            if isinstance(calibration, Exception):
                errors.append(_failed(pair, self._source.shape.layout, calibration))
                continue
            judged.append(
                Judged(
                    pair.row,
                    pair.index,
                    pair.query_id,
                    text_of(pair.query) if keeps_query else None,
                    pair.document_id,
                    judgement.logit,
                    judgement.score,
                    judgement.total_tokens,
                    judgement.truncated,
                    judgement.window,
                    calibration,
                )
            )

    def _calibration(self, query: str | Content) -> Calibration | ConfigurationError | None:
        """Return the calibration of a query's scores, or that its own instruction has none.

        Raises:
            ConfigurationError: The model, or the instruction of all rows, has none.
        """
        if not self._job.calibration:
            return None
        configured = self._reranker.options.instruction
        text = text_of(query)
        try:
            return self._reranker.calibration_of(resolve_instruction(None, configured, text))
        except ConfigurationError as error:
            if unwrapped_query(text) is None and not callable(configured):
                raise
            return error

    def _probe(self, error: Exception) -> None:
        """Raise the error if a harmless pair cannot be scored either: then no row is at fault."""
        try:
            self._reranker.score(_PROBE[0], [_PROBE[1]])
        except RerankError as other:
            raise error from other


def may_be_a_row(error: Exception) -> bool:
    """Return whether the cause of an error may be a row, not the model, server or program."""
    if isinstance(error, _NEVER_A_ROW):
        return False
    if isinstance(error, ServerStatusError):
        return error.status in _ABOUT_THE_REQUEST
    return isinstance(error, (RerankError, ValueError, TypeError))


def _is_other_text(pair: Pair, last: Pair) -> bool:
    """Return whether two pairs have the same query id but different queries."""
    return pair.query_id is not None and pair.query_id == last.query_id and pair.query != last.query


def _failed(pair: Pair, layout: str, error: Exception) -> RowError:
    return RowError(
        pair.row,
        pair.index if layout == "lists" else None,
        pair.query_id,
        pair.document_id,
        type(error).__name__,
        str(error),
    )
