"""Execution of blocks, in this process or on Ray actors (ray_workers.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.known_pairs import Scoring, scoring_of
from qwen3_rerank.batch.output import BlockReport
from qwen3_rerank.batch.sampling import Sample, take_sample
from qwen3_rerank.batch.scoring import BlockScorer
from qwen3_rerank.batch.source import Source
from shared_core.reranker import Reranker

OnChunk = Callable[[int], None]


class Workers(Protocol):
    """Protocol of workers, which score blocks.

    Attributes:
        deaths: The number of workers that died and were replaced.
        expected: The record from the beginning of the job; a worker that differs scores no block.
    """

    count: int
    deaths: int
    expected: Scoring | None

    def scoring(self) -> Scoring:
        """Return the identity of the model that scores."""

    def sample(self, blocks: Sequence[Block], scores: bool) -> Sample:
        """Return the measurements of a sample of the job."""

    def run(
        self, blocks: Sequence[Block], on_chunk: Callable[[int], None]
    ) -> Iterator[BlockReport]:
        """Yield the report of each block, in the order in which they are done.

        ``on_chunk`` is told of pairs dealt with inside of a block, where that is known.
        """

    def close(self) -> None:
        """Free all resources."""


class OneWorker:
    """Scores blocks in this process, one after another."""

    count = 1
    deaths = 0

    def __init__(self, reranker: Reranker, job: Job, source: Source) -> None:
        self._reranker = reranker
        self._source = source
        self._scorer = BlockScorer(reranker, job, source)
        self.expected: Scoring | None = None

    def scoring(self) -> Scoring:
        return scoring_of(self._reranker)

    def sample(self, blocks: Sequence[Block], scores: bool) -> Sample:
        return take_sample(self._reranker, self._source, blocks, scores)

    def run(
        self, blocks: Sequence[Block], on_chunk: Callable[[int], None]
    ) -> Iterator[BlockReport]:
        for block in blocks:
            yield self._scorer.run(block, on_chunk)

    def close(self) -> None:
        """Do nothing: the caller closes the reranker."""
