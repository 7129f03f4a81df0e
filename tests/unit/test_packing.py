"""The plan of packs: complete, within its budget, and laid out as promised."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared_core.encoding import EncodedDocument, EncodedGroup
from shared_core.scorers.attention import _TILE_ELEMENTS, _batches
from shared_core.scorers.packing import Span, build_pack, plan_packs

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


@given(groups_strategy, st.integers(1, 400))
def test_every_document_is_in_exactly_one_pack_within_the_budget(
    shapes: list[tuple[int, list[int]]], budget: int
) -> None:
    groups = make_groups(shapes)
    packs = plan_packs(groups, budget)
    planned = sorted(pair for pack in packs for pair in pack)
    assert planned == [(g, d) for g, (_, ds) in enumerate(shapes) for d in range(len(ds))]
    for documents in packs:
        pack = build_pack(groups, documents)
        assert len(pack.ids) <= budget or len(documents) == 1


@given(groups_strategy, st.integers(1, 400))
def test_no_two_neighbouring_packs_would_fit_in_one(
    shapes: list[tuple[int, list[int]]], budget: int
) -> None:
    """The budget is used: the first document of a pack did not fit in the pack before."""
    groups = make_groups(shapes)
    packs = plan_packs(groups, budget)
    for pack, following in pairwise(packs):
        assert len(build_pack(groups, [*pack, following[0]]).ids) > budget


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
            first = 0 if span.prefix is None else span.prefix.length
            expected = list(range(first, first + span.length))
            assert pack.position_ids[span.start : span.stop] == expected
            if span.prefix is None:
                assert ids == groups[ids[0] // 1000].prefix_ids
            else:
                g, d = ids[0] // 1000, ids[0] % 1000 - 1
                assert pack.ids[span.prefix.start] == 1000 * g, "attends to its own prefix"
                assert ids == groups[g].documents[d].ids
                answered.append((g, d))
        assert position == len(pack.ids)
        assert answered == pack.documents
        assert [pack.ids[last] for last in pack.last_positions] == [
            1000 * g + d + 1 for g, d in answered
        ]


@given(st.lists(st.integers(1, 9000), max_size=60), st.integers(1, 9000))
def test_attention_batches_hold_every_span_once_within_the_memory_bound(
    span_lengths: list[int], prefix_length: int
) -> None:
    n_heads = 16
    prefix = Span(0, prefix_length)
    spans = [prefix]
    for length in span_lengths:
        spans.append(Span(spans[-1].stop, length, prefix))
    batches = list(_batches(spans, n_heads))
    assert sorted(span.start for batch in batches for span in batch) == [s.start for s in spans]
    for batch in batches:
        assert len({span.prefix for span in batch}) == 1
        longest = max(span.length for span in batch)
        weights = len(batch) * n_heads * min(longest, 256) * (longest + batch[0].prefix_length)
        assert weights <= _TILE_ELEMENTS or len(batch) == 1
        assert min(span.length for span in batch) >= 0.85 * longest - 1
