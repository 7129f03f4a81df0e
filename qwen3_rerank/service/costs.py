"""Estimates of tokens and of time, learnt from what was scored."""

from __future__ import annotations

import math
from collections.abc import Iterable

from qwen3_rerank.service.fair_queue import Job
from shared_core.scoring import Scored

# Tokens of the fixed parts of the prompt before and after the document (prompt.py), about.
_HEAD_TOKENS, _SUFFIX_TOKENS = 60, 10
_SHARE_OF_THE_LATEST = 0.2


class Costs:
    """Tokens by bytes of texts, and documents by seconds.

    Args:
        parallel: Batches under way at once.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        # English and Chinese have about 4 UTF-8 bytes in a Qwen token; what is scored corrects it.
        self._tokens_per_byte = 0.25
        self._documents_per_second = 0.0

    def of_document(self, n_bytes: int) -> float:
        """Return the tokens of a document, its prefix apart."""
        return _SUFFIX_TOKENS + self._tokens_per_byte * n_bytes

    def of_prefix(self, job: Job) -> float:
        """Return the tokens of a query with its instruction."""
        return _HEAD_TOKENS + self._tokens_per_byte * job.prefix_bytes

    def seconds_for(self, n_documents: int) -> int:
        """Return the seconds after which so many documents may be scored, from 1 to 60."""
        rate = self._documents_per_second
        return max(1, min(60, math.ceil(n_documents / rate))) if rate else 1

    def learn(self, scored: Iterable[tuple[int, Scored]], seconds: float) -> None:
        """Note how fast it goes, and how many tokens a byte of these texts has.

        Args:
            scored: The bytes of each prompt's texts, with its judgement.
            seconds: The time that they took together.
        """
        n_documents, all_bytes, n_tokens = 0, 0, 0
        for n_bytes, document in scored:
            n_documents += 1
            if document.n_tokens is not None and not document.truncated:
                all_bytes += n_bytes
                n_tokens += max(0, document.n_tokens - _HEAD_TOKENS - _SUFFIX_TOKENS)
        if all_bytes:
            measured = min(1.0, max(0.05, n_tokens / all_bytes))
            self._tokens_per_byte += _SHARE_OF_THE_LATEST * (measured - self._tokens_per_byte)
        rate = n_documents / max(seconds, 1e-6) * self._parallel
        before = self._documents_per_second or rate
        self._documents_per_second = before + _SHARE_OF_THE_LATEST * (rate - before)
