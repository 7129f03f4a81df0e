"""The plan of packs: complete, within its budget, and laid out as promised."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_core.prompt.encoding import EncodedDocument, EncodedGroup
from shared_core.scorers.local.attention import Tile, TiledAttention, _batches
from shared_core.scorers.local.packing import Pack, Span, build_pack, plan_packs

lengths = st.lists(st.integers(1, 60), max_size=12)
groups_strategy = st.lists(st.tuples(st.integers(1, 40), lengths), max_size=6)


def make_groups(shapes: list[tuple[int, list[int]]]) -> list[EncodedGroup]:
    """Return groups whose ids tell where they belong: prefixes 1,000 g, documents 1,000 g + d."""
    return [
        EncodedGroup(
            [1000 * g] * prefix,
            [
                EncodedDocument([1000 * g + d + 1] * length, prefix + length, False)
                for d, length in enumerate(documents)
            ],
        )
        for g, (prefix, documents) in enumerate(shapes)
    ]


@settings(deadline=None)
@given(groups_strategy, st.integers(1, 400))
def test_every_document_is_in_exactly_one_pack_within_the_budget(
    shapes: list[tuple[int, list[int]]], budget: int
) -> None:
    groups = make_groups(shapes)
    packs = list(plan_packs(groups, budget))
    planned = sorted(pair for pack in packs for pair in pack)
    assert planned == [(g, d) for g, (_, ds) in enumerate(shapes) for d in range(len(ds))]
    for documents in packs:
        pack = build_pack(groups, documents)
        assert len(pack.ids) <= budget or len(documents) == 1


@settings(deadline=None)
@given(groups_strategy, st.integers(1, 400))
def test_no_two_neighbouring_packs_would_fit_in_one(
    shapes: list[tuple[int, list[int]]], budget: int
) -> None:
    """The budget is used: the first document of a pack did not fit in the pack before."""
    groups = make_groups(shapes)
    packs = plan_packs(groups, budget)
    for pack, following in pairwise(packs):
        assert len(build_pack(groups, [*pack, following[0]]).ids) > budget


@settings(deadline=None)
@given(groups_strategy)
def test_a_pack_is_laid_out_as_its_spans_say(shapes: list[tuple[int, list[int]]]) -> None:
    groups = make_groups(shapes)
    for documents in plan_packs(groups, 10_000):
        pack = build_pack(groups, documents)
        position = 0
        answered = []
        for span in pack.spans:
            assert span.start == position
            position = span.stop
            ids = pack.ids[span.start : span.stop]
            first = sum(part.length for part in span.chain()) - span.length
            expected = list(range(first, first + span.length))
            assert pack.position_ids[span.start : span.stop] == expected
            if span not in pack.document_spans:
                assert ids == groups[ids[0] // 1000].prefix_ids
            else:
                g, d = ids[0] // 1000, ids[0] % 1000 - 1
                assert _prompt(pack, span) == groups[g].prefix_ids + groups[g].documents[d].ids
                answered.append((g, d))
        assert position == len(pack.ids)
        assert answered == pack.documents
        assert [pack.ids[span.stop - 1] for span in pack.document_spans] == [
            1000 * g + d + 1 for g, d in answered
        ]


def _prompt(pack: Pack, span: Span) -> list[int]:
    """Return the whole prompt that ends with the span."""
    return [i for part in span.chain() for i in pack.ids[part.start : part.stop]]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=6),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_what_prefixes_begin_with_is_in_a_pack_once(
    prefixes: list[list[int]], document_lengths: list[int]
) -> None:
    """However prefixes overlap: equal, one the beginning of another, or nothing in common."""
    groups = [
        EncodedGroup(
            prefix, [EncodedDocument([7] * n, len(prefix) + n, False) for n in document_lengths]
        )
        for prefix in prefixes
    ]
    pack = build_pack(
        groups, [(g, d) for g in range(len(groups)) for d in range(len(document_lengths))]
    )
    for (g, d), span in zip(pack.documents, pack.document_spans, strict=True):
        assert _prompt(pack, span) == groups[g].prefix_ids + groups[g].documents[d].ids
        assert pack.position_ids[span.start] == len(groups[g].prefix_ids)
    assert all(span.length for span in pack.spans)
    columns = list(zip(*prefixes, strict=False))
    n_alike = next((i for i, ids in enumerate(columns) if len(set(ids)) > 1), len(columns))
    n_shared = n_alike if len(prefixes) > 1 else 0
    n_own = sum(len(prefix) - n_shared for prefix in prefixes)
    assert len(pack.ids) == n_shared + n_own + len(groups) * sum(document_lengths)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9000), st.integers(0, 2)), max_size=60),
    st.lists(st.integers(1, 9000), min_size=3, max_size=3),
)
def test_attention_batches_hold_every_span_once_within_the_memory_bound(
    shapes: list[tuple[int, int]], prefix_lengths: list[int]
) -> None:
    n_heads, most_elements, most_rows = 16, 2_000_000, 256
    spans: list[Span] = []
    for length in prefix_lengths:
        spans.append(Span(spans[-1].stop if spans else 0, length))
    for length, which in shapes:
        prefix = spans[which]
        spans.append(Span(spans[-1].stop, length, prefix, prefix.length))
    batches = list(_batches(spans, n_heads, most_elements, most_rows))
    assert sorted(span.start for batch in batches for span in batch) == [s.start for s in spans]
    for batch in batches:
        longest = max(span.length for span in batch)
        most_keys = max(span.end_position for span in batch)
        weights = len(batch) * n_heads * min(longest, most_rows) * most_keys
        assert weights <= most_elements or len(batch) == 1
        assert min(span.length for span in batch) >= 0.85 * longest - 1
        assert min(span.end_position for span in batch) >= 0.85 * most_keys - 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=12))
def test_every_position_attends_to_its_own_prompt_up_to_itself(
    shapes: list[tuple[int, bool]],
) -> None:
    """In whichever tile it lies, and the last positions alone just so."""
    spans = [Span(0, 5), Span(5, 3, None, 0)]
    for length, which in shapes:
        before = spans[which]
        spans.append(Span(spans[-1].stop, length, before, before.length))
    n_tokens = spans[-1].stop
    seen = {}
    for tile in TiledAttention(4, torch.device("cpu")).plan(spans, n_tokens):
        seen |= {query: keys for query, keys in _visible(tile) if query != n_tokens}
    assert seen == {
        span.start + row: [
            i
            for part in span.chain()
            for i in range(part.start, part.stop)
            if i <= span.start + row
        ]
        for span in spans
        for row in range(span.length)
    }
    last = {}
    for tile in TiledAttention(4, torch.device("cpu")).plan_last(spans):
        last |= dict(_visible(tile))
    assert last == {index: seen[span.stop - 1] for index, span in enumerate(spans)}


def test_a_long_document_keeps_the_memory_bound() -> None:
    """Its rows are fewer, down to where products become slow."""
    spans = [Span(0, 79), Span(79, 4000, Span(0, 79), 79)]
    tiles = TiledAttention(16, torch.device("cpu"), 2**21).plan(spans, 4079)
    assert max(tile.hidden.numel() * 16 for tile in tiles) <= 2**21
    assert sum(tile.queries.numel() for tile in tiles) == 4079


def _visible(tile: Tile) -> list[tuple[int, list[int]]]:
    """Return each query of a tile with the positions that it sees."""
    return [
        (int(tile.queries[n, q]), tile.keys[n][~tile.hidden[n, q, 0]].tolist())
        for n in range(len(tile.queries))
        for q in range(tile.queries.shape[1])
    ]
