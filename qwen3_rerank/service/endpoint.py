"""One HTTP request for scores, from its body to the last byte of its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from qwen3_rerank.service.body import hang_up, read_body
from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.error_reply import refused
from qwen3_rerank.service.failures import RefusedError
from qwen3_rerank.service.requests import RerankRequest

Result = TypeVar("Result")


class HungUpError(Exception):
    """Nobody waits for the reply any more."""


def endpoint(
    service: Service,
    model: type[BaseModel],
    answer: Callable[[Any, Request], Coroutine[Any, Any, Any]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a route.

    Args:
        answer: Returns the reply to that.
    """
    settings = service.settings

    async def handle(request: Request) -> Response:
        is_tei = False
        try:
            async with service.accept():
                # Its room is given back when the reply was sent: see Observed (middleware.py).
                place = request.state.place = service.bodies.place()
                reading = read_body(
                    request, place, max_bytes=settings.max_body_bytes, timeout=settings.body_timeout
                )
                body = await _finished(service, reading)
                is_tei = model is RerankRequest and _has_texts(body)
                parsed = await service.parsed(model, body)
                del body
                reply = await _finished(
                    service, answer(parsed, request), hang_up(request), settings.request_timeout
                )
        except RefusedError as refusal:
            return refused(request, refusal, shape="tei" if is_tei else None)
        except (HungUpError, ClientDisconnect):
            request.state.hung_up = True
            return Response(status_code=204)
        return _SentResponse(to_json(reply), media_type="application/json")

    return handle


def _has_texts(body: bytes) -> bool:
    """Return whether a body, be it valid or not, is in the form of TEI's clients."""
    return b'"texts"' in body and b'"documents"' not in body


async def _finished(
    service: Service,
    work: Coroutine[Any, Any, Result],
    hanging_up: Coroutine[Any, Any, None] | None = None,
    timeout: float | None = None,
) -> Result:
    """Return the result of some work, which is given up when nobody is to have it any more.

    Args:
        service: Refuses what is left when its time to end is over.
        hanging_up: Ends when the client hangs up.
        timeout: Seconds for the work.

    Raises:
        HungUpError: The client disconnected.
        RefusedError: The work took too long, or the service is stopping.
    """
    working = asyncio.ensure_future(work)
    watching = [asyncio.ensure_future(service.until_abandoned())]
    if hanging_up is not None:
        watching.append(asyncio.ensure_future(hanging_up))
    try:
        await asyncio.wait(
            {working, *watching}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if working.done():
            return working.result()
        if watching[0].done():
            raise RefusedError(
                503,
                "the service is shutting down, and had no time left for this: send it again",
                headers={"Retry-After": "5"},
                close=hanging_up is None,
            )
        if watching[-1].done():
            raise HungUpError
        raise RefusedError(504, f"no reply within {timeout:g} s: send fewer documents, or later")
    finally:
        for task in watching:
            task.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


class _SentResponse(Response):
    """A reply that ends when the client has taken all of it but what the kernel holds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it. The server waits, before the empty rest, until the rest before it is gone."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
