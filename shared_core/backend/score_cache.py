"""An exact, bounded cache of scores."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from shared_core.forking import renew_in_children
from shared_core.scoring import Scored


class ScoreCache:
    """Keeps the most recently used scores. Safe in threads.

    A key is a 256-bit digest of model, revision, instruction, query and document, each with its
    length, so that equal keys mean equal texts and no text is kept in memory.

    Args:
        max_entries: The most scores to keep; the least recently used is dropped first.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, Scored] = OrderedDict()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Take a lock that nobody holds."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def key(*parts: str | None) -> bytes:
        """Return the digest of the parts; ``None`` differs from every string."""
        digest = hashlib.blake2b(digest_size=32)
        for part in parts:
            data = b"" if part is None else part.encode("utf-8", "surrogatepass")
            length = -1 if part is None else len(data)
            digest.update(length.to_bytes(8, "little", signed=True) + data)
        return digest.digest()

    def get(self, key: bytes) -> Scored | None:
        """Return the score under a key and mark it as used, or ``None``."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: bytes, scored: Scored) -> None:
        """Keep a score, dropping the least recently used one beyond the bound."""
        with self._lock:
            self._entries[key] = scored
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
