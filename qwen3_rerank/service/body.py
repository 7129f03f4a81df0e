"""Request bodies: read within bounds, counted while they arrive, parsed off the event loop."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from prometheus_client import Gauge
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from qwen3_rerank.service.failures import RefusedError, in_words
from qwen3_rerank.web.values import more_values_than

# So much of every body is not counted, so that large ones never keep small ones out. The number of
# connections bounds what that can be.
_UNCOUNTED_BYTES = 2**16
# Parsing more than this takes longer than the event loop should stand still.
PARSED_ASIDE_BYTES = 2**18
_ELEMENTS, _ELEMENTS_PER_DOCUMENT = 16_384, 64

Asked = TypeVar("Asked", bound=BaseModel)


class BodyRoom:
    """The bytes of all bodies in memory: of those that arrive, and of those not yet answered.

    Args:
        most: The most of them, without the first 64 KiB of each body.
        gauge: Shows how many there are.
    """

    def __init__(self, most: int, gauge: Gauge) -> None:
        self._most = most
        self._gauge = gauge
        self._taken = 0

    def place(self) -> Place:
        """Return a place for one body. It must be closed."""
        return Place(self)

    def take(self, n_bytes: int) -> None:
        """Count bytes; negative ones are given back.

        Raises:
            RefusedError: There is no room for them.
        """
        if n_bytes > 0:
            self.check(n_bytes)
        self._taken += n_bytes
        self._gauge.set(self._taken)

    def check(self, n_bytes: int) -> None:
        """Raise `RefusedError` if so many would not fit now."""
        if self._taken + n_bytes > self._most:
            raise RefusedError(
                429,
                f"the service holds {self._taken} bytes of large requests, and takes {self._most}: "
                "try again in 1 s",
                headers={"Retry-After": "1"},
                close=True,
            )


class Place:
    """The bytes of one body in a `BodyRoom`."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._size = 0
        self._taken = 0

    def grow(self, n_bytes: int) -> None:
        """Count more of the body. Raises `RefusedError` where there is no room."""
        self._size += n_bytes
        more = max(0, self._size - _UNCOUNTED_BYTES) - self._taken
        self._room.take(more)
        self._taken += more

    def check(self, n_bytes: int) -> None:
        """Raise `RefusedError` if there is no room now for a body of this size."""
        self._room.check(max(0, n_bytes - _UNCOUNTED_BYTES))

    def close(self) -> None:
        """Give the room back."""
        self._room.take(-self._taken)
        self._taken = 0


async def read_body(request: Request, place: Place, *, max_bytes: int, timeout: float) -> bytes:
    """Return the body of a JSON request.

    Bytes are counted as they come, whatever ``Content-Length`` says or if it says nothing.

    Raises:
        RefusedError: The body is too large, too slow, or not declared as JSON, or there is no room.
        ClientDisconnect: The client disconnected.
    """
    kind = request.headers.get("content-type", "none").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        # A web page may send other types to any address without asking; JSON it may not.
        raise RefusedError(415, f"Content-Type is {kind[:80]!r}: send application/json", close=True)
    declared = request.headers.get("content-length", "")
    if declared.isdigit():
        if len(declared) > 18 or int(declared) > max_bytes:
            raise _too_large(max_bytes)
        place.check(int(declared))
    try:
        return await asyncio.wait_for(_read(request, place, max_bytes), timeout)
    except asyncio.TimeoutError:
        raise RefusedError(
            408, f"the body did not arrive within {timeout:g} s: send it faster", close=True
        ) from None


async def _read(request: Request, place: Place, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        place.grow(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(
        413,
        f"the body has more than {max_bytes} bytes: send the documents in several requests",
        close=True,
    )


def parse_body(model: type[Asked], body: bytes, *, max_documents: int) -> Asked:
    """Return the request in a body.

    Raises:
        RefusedError: The body is not such a request, or has too many values: even those of ignored
            fields would be built, and take many times the memory of the body.
    """
    most = _ELEMENTS + _ELEMENTS_PER_DOCUMENT * max_documents
    if more_values_than(most, body):
        raise RefusedError(
            422, f"the body has more than {most} values, those of unknown fields among them"
        )
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise RefusedError(422, in_words(error)) from None


async def hang_up(request: Request) -> None:
    """Return when the client hangs up. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
