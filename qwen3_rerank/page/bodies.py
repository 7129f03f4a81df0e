"""Request bodies of the page, read within bounds, and its refusals in both languages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from qwen3_rerank.page.texts import both


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Limits on simultaneous requests of the page.

    Attributes:
        max_body_bytes: The most bytes of one request body.
        body_timeout: Seconds that a body may take to arrive.
        most_events: The most events under way, over all visitors.
        most_events_of_session: The most events under way of one opened page.
    """

    max_body_bytes: int = 16 * 2**20
    body_timeout: float = 30.0
    most_events: int = 64
    most_events_of_session: int = 8

    @property
    def most_bytes(self) -> int:
        """The limit on bytes of all bodies held at the same time."""
        return 4 * self.max_body_bytes


class PageRefusedError(Exception):
    """A request that the page does not answer.

    Args:
        word: The sentence to say (texts.py).
        **values: What it is filled in with.
    """

    def __init__(self, status: int, word: str, **values: object) -> None:
        super().__init__(word)
        self.status = status
        self.message = both(word, **values)


class Bodies:
    """Reads request bodies; those that are held at the same time are counted together."""

    def __init__(self, limits: PageLimits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def read(
        self, scope: Scope, receive: Receive, kind: str, most: int
    ) -> AsyncIterator[bytes]:
        """Read a body of a content type, and hold it until the block ends.

        Bytes are counted as they come, whatever ``Content-Length`` says or if it says nothing.

        Raises:
            PageRefusedError: The body has another type, is too large or slow, or too much is held.
        """
        headers = Headers(scope=scope)
        most = min(most, self._limits.max_body_bytes)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
            # A web page may send some types to any address without asking; JSON it may not.
            raise PageRefusedError(415, "content_type", kind=kind)
        declared = headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > most):
            raise PageRefusedError(413, "too_large", most=most)
        chunks: list[bytes] = []
        try:
            try:
                await asyncio.wait_for(
                    self._collect(receive, chunks, most), self._limits.body_timeout
                )
            except asyncio.TimeoutError:
                raise PageRefusedError(408, "too_slow") from None
            yield b"".join(chunks)
        finally:
            self._held -= sum(map(len, chunks))

    async def _collect(self, receive: Receive, chunks: list[bytes], most: int) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise PageRefusedError(400, "too_slow")
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            self._held += len(chunk)
            if size > most:
                raise PageRefusedError(413, "too_large", most=most)
            if self._held > self._limits.most_bytes:
                raise PageRefusedError(503, "busy")
            more = message.get("more_body", False)
