"""A sample of a job, tokenised and scored, from which its size and time are estimated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.rows import Pair, pairs_of
from qwen3_rerank.batch.source import Source
from shared_core.errors import RerankError
from shared_core.images.content import text_of
from shared_core.jobs import encoder_of
from shared_core.options import resolve_instruction
from shared_core.prompt.unwrapping import unwrapped
from shared_core.reranker import Reranker
from shared_core.scoring import ScoreRequest, text_request

PAIRS = 512
_BLOCKS = 16
_SCORED_REMOTELY = 64  # pairs: a hosted API has them paid for
_SECONDS = 2.0  # that a measurement is to take at least, where there are pairs enough
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """Measurements of a sample.

    Attributes:
        tokens_per_pair: Prompt tokens of a pair, on average; ``None`` without a tokenizer.
        scored: Pairs that were scored with the clock running; 0 if none were.
        seconds: The time that scoring took.
        scored_tokens: The prompt tokens of the scored pairs.
    """

    rows: int
    pairs: int
    tokens_per_pair: float | None
    scored: int = 0
    seconds: float = 0.0
    scored_tokens: int | None = None


def take_sample(
    reranker: Reranker, source: Source, blocks: Sequence[Block], scores: bool
) -> Sample:
    """Return the measurements on a few rows from all parts of the job.

    Args:
        scores: Whether to score some, which loads the model, or only to tokenise.

    Raises:
        RerankError: The model or the server does not work.
    """
    rows, pairs = _pairs(source, blocks)
    tokens = _tokens_per_pair(reranker, pairs)
    if not (scores and pairs):
        return Sample(rows, len(pairs), tokens)
    scored, seconds, scored_tokens = _measured(reranker, pairs)
    if tokens is None and scored_tokens:
        tokens = scored_tokens / scored
    return Sample(rows, len(pairs), tokens, scored, seconds, scored_tokens)


def _pairs(source: Source, blocks: Sequence[Block]) -> tuple[int, list[Pair]]:
    """Return the number of rows read, and their pairs, from blocks at even distances."""
    step = max(1, len(blocks) // _BLOCKS)
    chosen = list(blocks[::step])[:_BLOCKS]
    rows = 0
    pairs: list[Pair] = []
    for block in chosen:
        before = len(pairs)
        for row, raw in source.rows(block):
            rows += 1
            pairs += (pair for pair in pairs_of(raw, row, source.shape) if isinstance(pair, Pair))
            if len(pairs) - before >= max(1, PAIRS // len(chosen)):
                break
    return rows, pairs


def _tokens_per_pair(reranker: Reranker, pairs: Sequence[Pair]) -> float | None:
    if reranker.options.long_documents == "windows":
        return None  # how many there are of a document shows when it is scored
    encoder = encoder_of(reranker)
    if encoder is None or not pairs:
        return None
    configured = reranker.options.instruction
    counts = []
    for pair in pairs:
        try:
            instruction = resolve_instruction(None, configured, text_of(pair.query))
            request = text_request(
                unwrapped(ScoreRequest(pair.query, instruction, [pair.document])), "the tokenizer"
            )
            group = encoder.encode(request.instruction, request.query, request.documents)
        except ValueError:  # a query that is too long, say; it will be in the error file
            continue
        counts += [document.n_tokens for document in group.documents]
    return sum(counts) / len(counts) if counts else None


def _measured(reranker: Reranker, pairs: Sequence[Pair]) -> tuple[int, float, int | None]:
    """Return pairs scored, the seconds it took, and their tokens: of the last and largest batch."""
    from qwen3_rerank.batch.scoring import may_be_a_row

    is_remote = reranker.options.is_remote
    pairs = pairs[:_SCORED_REMOTELY] if is_remote else pairs
    size, at = _WARM_UP, 0
    best: tuple[int, float, int | None] = (0, 0.0, None)
    while at < len(pairs):
        some = pairs[at : at + size]
        begun = time.monotonic()
        try:
            scored = reranker.score_pairs([(pair.query, pair.document) for pair in some])
        except (RerankError, ValueError, TypeError) as error:
            if not may_be_a_row(error):
                raise
            scored = []
        seconds = time.monotonic() - begun
        counted = [one.total_tokens for one in scored]
        tokens = None if None in counted else sum(filter(None, counted))
        if at and len(scored) >= best[0]:  # not the first, which loaded the model
            best = len(scored), seconds, tokens
        if at and scored and seconds >= _SECONDS:
            break
        at += size
        size = 8 if size == _WARM_UP else size * 2
    return best
