"""Buckets of sizes, to which packs of few documents are filled up, as graphs need fixed sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.scorers.local.devices import sent
from shared_core.scorers.local.flash import MOST_KEYS, FlashAttention, Sequences
from shared_core.scorers.local.inputs import Inputs
from shared_core.scorers.local.packing import Pack

# With more tokens than this, kernels take longer than starting them does.
_MOST_TOKENS = 4096
# Sizes of a bucket up to twice as large as another: finer steps waste less, and need more graphs.
_TOKEN_STEPS, _KEY_STEPS = 8, 4
_LEAST_STEP = 16


class Bucket(NamedTuple):
    """The sizes of a graph. Packs that are no larger in any of them can be filled up to it.

    Attributes:
        tokens: Tokens of the pack.
        documents: Documents of it.
        sequences: Spans of it.
        keys: Keys that attention gathers.
        most_queries: The most queries of a sequence.
        most_keys: The most keys of a sequence.
    """

    tokens: int
    documents: int
    sequences: int
    keys: int
    most_queries: int
    most_keys: int


def bucket_of(pack: Pack) -> Bucket | None:
    """Return the bucket of a pack; ``None`` if it is too large to gain by a graph."""
    ends = [span.end_position for span in pack.spans]
    if len(pack.ids) > _MOST_TOKENS or sum(ends) > MOST_KEYS:
        return None
    return Bucket(
        tokens=_rounded(len(pack.ids), _TOKEN_STEPS),
        documents=_power(len(pack.document_spans)),
        sequences=_power(len(pack.spans)),
        keys=_rounded(sum(ends), _KEY_STEPS),
        most_queries=_power(max(span.length for span in pack.spans)),
        most_keys=_power(max(ends)),
    )


def _power(size: int) -> int:
    """Return the least power of two that is no smaller."""
    return 1 << (size - 1).bit_length()


def _rounded(size: int, steps: int) -> int:
    """Return the least size of a bucket that is no smaller; there are so many steps in a double."""
    step = max(_power(size) // (2 * steps), _LEAST_STEP)
    return -(-size // step) * step


@dataclass(frozen=True, slots=True)
class Filled:
    """The inputs of a pack that is filled up to the sizes of its bucket.

    Attributes:
        bucket: The sizes.
        values: All inputs one after the other, int64.
        n_documents: The documents of the pack itself.
    """

    bucket: Bucket
    values: Tensor
    n_documents: int

    def on(self, device: torch.device) -> Filled:
        """Return the same on a device, which is not waited for."""
        return Filled(self.bucket, sent(self.values, device), self.n_documents)

    def inputs(self) -> Inputs:
        """Return the inputs, which are views of the values where they can be."""
        bucket, parts = self.bucket, torch.split(self.values, _sizes(self.bucket))
        ids, positions, last = parts[:3]
        return Inputs(
            ids,
            positions[:, None],
            last,
            [_sequences(parts[3:6], bucket.tokens, bucket.most_queries, bucket.most_keys)],
            [_sequences(parts[6:9], bucket.documents, 1, bucket.most_keys)],
        )


def _sizes(bucket: Bucket) -> list[int]:
    starts, last_starts = bucket.sequences + 1, bucket.documents + 1
    return [
        *(bucket.tokens, bucket.tokens, bucket.documents),
        *(bucket.keys, starts, starts),
        *(bucket.keys, last_starts, last_starts),
    ]


def _sequences(
    parts: Sequence[Tensor], n_queries: int, most_queries: int, most_keys: int
) -> Sequences:
    keys, query_starts, key_starts = parts
    queries = slice(0, n_queries)
    return Sequences(queries, keys, query_starts.int(), key_starts.int(), most_queries, most_keys)


# Plans are made on the host; it computes nothing.
_PLANNER = FlashAttention(torch.device("cpu"), kernel=lambda *_: torch.empty(0))


def filled(pack: Pack, bucket: Bucket) -> Filled:
    """Return a pack filled up to a bucket, on the host: with tokens that nothing reads.

    They are no sequence's queries, no sequence has them as keys, and all sequences more than the
    pack has are empty.
    """
    last = [span.stop - 1 for span in pack.document_spans]
    values = [*map(torch.tensor, (pack.ids, pack.position_ids, last))]
    ends = [0, 0, 0]
    for plan in (
        _PLANNER.plan(pack.spans, len(pack.ids)),
        _PLANNER.plan_last(pack.document_spans),
    ):
        (call,) = plan
        values += [call.keys, call.query_starts, call.key_starts]
        ends += [0, int(call.query_starts[-1]), int(call.key_starts[-1])]
    parts = [
        F.pad(part, (0, size - len(part)), value=end)
        for part, size, end in zip(values, _sizes(bucket), ends, strict=True)
    ]
    return Filled(bucket, torch.cat(parts), len(last))
