"""A request body, read within bounds."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from shared_core.service.failures import RefusedError


async def read_body(request: Request, *, max_bytes: int, timeout: float) -> bytes:
    """Return the body of a JSON request.

    Bytes are counted as they come, whatever ``Content-Length`` says or if it says nothing.

    Raises:
        RefusedError: It is too large, too slow, or not called JSON.
        ClientDisconnect: The client hung up.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        # A web page may send other types to any address without asking; JSON it may not.
        raise RefusedError(415, f"Content-Type is {kind[:80]!r}: send application/json", close=True)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > max_bytes):
        raise _too_large(max_bytes)
    try:
        return await asyncio.wait_for(_read(request, max_bytes), timeout)
    except asyncio.TimeoutError:
        raise RefusedError(
            408, f"the body did not arrive within {timeout:g} s: send it faster", close=True
        ) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(
        413,
        f"the body has more than {max_bytes} bytes: send the documents in several requests",
        close=True,
    )


async def hang_up(request: Request) -> None:
    """Return when the client hangs up. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


__all__ = ["ClientDisconnect", "hang_up", "read_body"]
