"""The plan that turns encoded prompts into packs. Plain Python; no tensor is made here.

A pack is one sequence without padding::

    [prefix A | document 1 + suffix | document 2 + suffix | prefix B | document 3 + suffix]

Each document attends to its own prefix and to itself, and its position ids continue from the
prefix, so every document is scored as if it stood alone while a prefix is computed once per pack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared_core.encoding import EncodedGroup


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens ``start … start + length`` of a pack that attend causally to one another.

    Attributes:
        start: Position of the first token in the pack.
        length: Number of tokens.
        prefix: The span that they attend to as well, as a whole; ``None`` for a prefix itself.
    """

    start: int
    length: int
    prefix: Span | None = None

    @property
    def stop(self) -> int:
        """The position after the last token."""
        return self.start + self.length

    @property
    def prefix_length(self) -> int:
        """Tokens in front of the span's own, which is also its first position id."""
        return 0 if self.prefix is None else self.prefix.length


@dataclass(slots=True)
class Pack:
    """One forward pass.

    Attributes:
        ids: Token ids, one flat sequence.
        position_ids: The position of each token in its own prompt; same length.
        spans: All spans in order of position; together they cover the pack.
        documents: The (group, document) pair each document span answers for, in order.
    """

    ids: list[int] = field(default_factory=list)
    position_ids: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    documents: list[tuple[int, int]] = field(default_factory=list)

    @property
    def last_positions(self) -> list[int]:
        """The position of each document's last token, where the answer is read."""
        return [span.stop - 1 for span in self.spans if span.prefix is not None]

    def _add(self, ids: Sequence[int], prefix: Span | None) -> Span:
        span = Span(len(self.ids), len(ids), prefix)
        self.ids.extend(ids)
        self.position_ids.extend(range(span.prefix_length, span.prefix_length + len(ids)))
        self.spans.append(span)
        return span


def build_pack(groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]) -> Pack:
    """Return the pack of the given (group, document) pairs; pairs of a group must be adjacent."""
    pack = Pack(documents=list(documents))
    prefix: Span | None = None
    current = None
    for group_index, document_index in documents:
        group = groups[group_index]
        if prefix is None or group_index != current:
            prefix = pack._add(group.prefix_ids, None)
            current = group_index
        pack._add(group.documents[document_index].ids, prefix)
    return pack


def plan_packs(
    groups: Sequence[EncodedGroup], max_batch_tokens: int
) -> list[list[tuple[int, int]]]:
    """Return which (group, document) pairs go into which pack.

    Documents of a query are taken longest first, so that the greatest memory is asked for at the
    start and documents of similar length lie together. A pack is closed when the next document
    would take it over the budget; a pack of one document may exceed it.

    Args:
        groups: The encoded queries with their documents.
        max_batch_tokens: The most tokens a pack of several documents may have.
    """
    packs: list[list[tuple[int, int]]] = []
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
                packs.append(current)
                current, size, added = [], 0, prefix_length + length
            current.append((group_index, document_index))
            size += added
            prefix_is_in_pack = True
    if current:
        packs.append(current)
    return packs
