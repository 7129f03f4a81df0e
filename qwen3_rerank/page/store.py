"""A bounded store in memory for uploaded files and the last rankings."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was added at the page.

    Attributes:
        name: The name of the file, without folders.
    """

    name: str
    content: bytes


class Kept(Generic[Item]):
    """Items by random tokens that nobody can guess; the oldest go when there is no more room.

    Nothing is written to disk, so nothing can be read from there, and nothing is left behind.

    Args:
        most: The size of all items together, in the unit that `add` is told.

    >>> kept = Kept[str](most=10)
    >>> first, second = kept.add("a", 6), kept.add("b", 6)
    >>> kept.get(first), kept.get(second), kept.get("something else")
    (None, 'b', None)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._items: OrderedDict[str, tuple[Item, int]] = OrderedDict()
        self._lock = Lock()

    def add(self, item: Item, size: int) -> str:
        """Keep an item, and return its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._items[token] = (item, size)
            self._size += size
            while self._size > self._most and len(self._items) > 1:
                _, (_, freed) = self._items.popitem(last=False)
                self._size -= freed
        return token

    def get(self, token: str) -> Item | None:
        """Return the item, or ``None`` if it is not here, or not any more."""
        with self._lock:
            found = self._items.get(token)
            if found is None:
                return None
            self._items.move_to_end(token)
            return found[0]
