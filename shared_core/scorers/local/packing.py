"""Packing of encoded prompts into sequences without padding. Plain Python, without tensors.

A pack is one sequence without padding::

    [shared | rest of prefix A | document 1 | document 2 | rest of prefix B | document 3]

Each document (with its suffix) attends to what is in front of it in its own prompt and to itself,
and its position ids continue from there, so every document is scored as if it stood alone, while
a prefix is computed once per pack, and what the prefixes of several queries begin with (the
system message and the instruction) is computed once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared_core.prompt.encoding import EncodedGroup

if TYPE_CHECKING:
    from shared_core.scorers.local.buckets import Filled
    from shared_core.scorers.local.inputs import Inputs
    from shared_core.scorers.local.inserted import Inserted


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens ``start … start + length`` of a pack that attend causally to one another.

    Attributes:
        start: Position of the first token in the pack.
        length: Number of tokens.
        before: The span that they attend to as well, with all that is before it in turn; ``None``
            at the beginning of a prompt.
        first_position: Tokens in front of the span's own, which is also its first position id.
    """

    start: int
    length: int
    before: Span | None = None
    first_position: int = 0

    @property
    def stop(self) -> int:
        """The position after the last token."""
        return self.start + self.length

    @property
    def end_position(self) -> int:
        """The position id after the last token, which is the prompt's length up to here."""
        return self.first_position + self.length

    def chain(self) -> Iterator[Span]:
        """Return the spans of the prompt up to and with this one, in order."""
        if self.before is not None:
            yield from self.before.chain()
        yield self


@dataclass(slots=True)
class Pack:
    """One forward pass.

    Attributes:
        ids: Token ids, one flat sequence.
        position_ids: The position of each token in its own prompt; same length. Where images are
            inserted, their positions count instead.
        spans: All spans in order of position; together they cover the pack.
        documents: The (group, document) pair each document span answers for, in order.
        document_spans: The span of each of them.
        inserted: The images among the tokens, whose ids are not looked up then; ``None`` without.
        inputs: What its forward reads, if that is on the device already.
    """

    ids: list[int] = field(default_factory=list)
    position_ids: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    documents: list[tuple[int, int]] = field(default_factory=list)
    document_spans: list[Span] = field(default_factory=list)
    inserted: Inserted | None = None
    inputs: Inputs | Filled | None = None

    def _add(self, ids: Sequence[int], before: Span | None) -> Span:
        first_position = 0 if before is None else before.end_position
        span = Span(len(self.ids), len(ids), before, first_position)
        self.ids.extend(ids)
        self.position_ids.extend(range(first_position, first_position + len(ids)))
        self.spans.append(span)
        return span


def build_pack(groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]) -> Pack:
    """Return the pack of the given (group, document) pairs; pairs of a group must be adjacent."""
    pack = Pack(documents=list(documents))
    n_shared = _shared_length([groups[group].prefix_ids for group, _ in documents])
    shared: Span | None = None
    prefix: Span | None = None
    current = None
    for group_index, document_index in documents:
        group = groups[group_index]
        if group_index != current:
            if shared is None and n_shared:
                shared = pack._add(group.prefix_ids[:n_shared], None)
            rest = group.prefix_ids[n_shared:]
            prefix = pack._add(rest, shared) if rest else shared
            current = group_index
        span = pack._add(group.documents[document_index].ids, prefix)
        pack.document_spans.append(span)
    return pack


def _shared_length(prefixes: Sequence[list[int]]) -> int:
    """Return the number of ids that all prefixes share; 0 for a single prefix."""
    distinct = list({id(prefix): prefix for prefix in prefixes}.values())
    if len(distinct) < 2:
        return 0
    # Whatever the least and the greatest share, all in between share as well.
    least, greatest = min(distinct), max(distinct)
    for position, (left, right) in enumerate(zip(least, greatest, strict=False)):
        if left != right:
            return position
    return len(least)


def plan_packs(
    groups: Iterable[EncodedGroup], max_batch_tokens: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield the (group, document) pairs of each pack, as soon as the groups taken fill it.

    Documents of a query are taken longest first, so that the greatest memory is asked for at the
    start and documents of similar length lie together. A pack is closed when the next document
    would take it over the budget; a pack of one document may exceed it.

    Args:
        groups: The encoded queries with their documents.
        max_batch_tokens: The most tokens a pack of several documents may have, each query's
            prefix counted whole.
    """
    current: list[tuple[int, int]] = []
    size = 0
    for group_index, group in enumerate(groups):
        order = sorted(range(len(group.documents)), key=lambda i: -len(group.documents[i].ids))
        prefix_is_in_pack = False
        for document_index in order:
            length = len(group.documents[document_index].ids)
            prefix_length = len(group.prefix_ids)
            added = length if prefix_is_in_pack else prefix_length + length
            if current and size + added > max_batch_tokens:
                yield current
                current, size, added = [], 0, prefix_length + length
            current.append((group_index, document_index))
            size += added
            prefix_is_in_pack = True
    if current:
        yield current
