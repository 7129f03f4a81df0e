"""Packs of random documents, and attention over them written out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.prompt.encoding import EncodedDocument, EncodedGroup
from shared_core.scorers.local.packing import Pack, build_pack


def random_pack(lengths: list[list[int]], prefix_lengths: list[int], n_shared: int) -> Pack:
    """Return the pack of groups of documents; ids are drawn, prefixes begin alike."""
    source = torch.Generator().manual_seed(sum(prefix_lengths))

    def ids(n: int) -> list[int]:
        return torch.randint(0, 300, (n,), generator=source).tolist()

    shared = ids(n_shared)
    groups = [
        EncodedGroup(
            prefix_ids=[*shared, *ids(prefix)],
            documents=[EncodedDocument(ids(n), n + prefix, False) for n in group],
        )
        for group, prefix in zip(lengths, prefix_lengths, strict=True)
    ]
    return build_pack(groups, [(g, d) for g, some in enumerate(lengths) for d in range(len(some))])


packs = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        random_pack,
        st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=n, max_size=n),
        st.lists(st.integers(1, 20), min_size=n, max_size=n),
        st.integers(0, 15),
    )
)


def random_heads(n_tokens: int, g: int, r: int, d: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (g, t, r, d), keys and values (g, t, d), float32."""
    source = torch.Generator().manual_seed(1)
    query = torch.randn(g, n_tokens, r, d, generator=source)
    key, value = (torch.randn(g, n_tokens, d, generator=source) for _ in range(2))
    return query, key, value


def attention_written_out(pack: Pack, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the mixed values, Shape (t, g · r · d) float64, one query at a time."""
    g, t, r, d = query.shape
    out = torch.empty(t, g, r, d, dtype=torch.float64)
    for span in pack.spans:
        seen = [i for part in span.chain() for i in range(part.start, part.stop)]
        for i in range(span.start, span.stop):
            before = [j for j in seen if j <= i]
            weights = torch.softmax(
                query[:, i].double() @ key[:, before].double().transpose(1, 2), dim=-1
            )
            out[i] = weights @ value[:, before].double()
    return out.view(t, g * r * d)


def kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    aligned_at_start: bool = False,
) -> Tensor:
    """The variable-length kernel: each sequence by itself, with a mask written out.

    What no sequence has as a query, or has no keys, is left as NaN.
    """
    mixed = torch.full_like(query, torch.nan)
    q_bounds, k_bounds = query_starts.tolist(), key_starts.tolist()
    assert most_queries >= max(b - a for a, b in pairwise(q_bounds))
    assert most_keys >= max(b - a for a, b in pairwise(k_bounds))
    for i in range(len(q_bounds) - 1):
        q = query[q_bounds[i] : q_bounds[i + 1]].transpose(0, 1)
        k = key[k_bounds[i] : k_bounds[i + 1]].transpose(0, 1)
        v = value[k_bounds[i] : k_bounds[i + 1]].transpose(0, 1)
        if not q.shape[1] or not k.shape[1]:
            continue
        shift = 0 if aligned_at_start else k.shape[1] - q.shape[1]
        seen = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(shift)
        repeats = q.shape[0] // k.shape[0]
        one = F.scaled_dot_product_attention(
            q,
            k.repeat_interleave(repeats, 0),
            v.repeat_interleave(repeats, 0),
            attn_mask=seen,
            scale=1.0,
        )
        mixed[q_bounds[i] : q_bounds[i + 1]] = one.transpose(0, 1)
    return mixed


class Again:
    """The stand-in of a recorder of CUDA graphs: what it recorded it does again.

    Args:
        n_bytes: What each recording takes.
        noted: The names of what happened, in order.
    """

    def __init__(self, noted: list[str] | None = None, n_bytes: int = 1) -> None:
        self.n_bytes, self._each = 0, n_bytes
        self._noted = [] if noted is None else noted

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.n_bytes += self._each
        self._noted.append("recorded")
        work()

        def replay() -> None:
            self._noted.append("replayed")
            work()

        return replay
