"""HTTP replies of refused requests."""

from __future__ import annotations

import asyncio
import time

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from qwen3_rerank.service.failures import RefusedError, Shape, error_body, shape_of

# A client that is told no while it still sends would find its connection reset, and never read why.
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 64 * 2**20


def refused(request: Request, refusal: RefusedError, *, shape: Shape | None = None) -> Response:
    """Return the reply, in the form that clients of the route read."""
    path = request.url.path
    content = to_json(error_body(shape or shape_of(path), refusal.status, refusal.message))
    kind = _LingeringResponse if refusal.close else Response
    return kind(
        content,
        status_code=refusal.status,
        headers=refusal.headers,
        media_type="application/json",
    )


class _LingeringResponse(Response):
    """Replies while the client still sends, reads on for a moment, and closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the reply."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        deadline = time.monotonic() + _LINGER_SECONDS
        size, more = 0, True
        while more and size < _LINGER_BYTES and (left := deadline - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(receive(), left)
            except asyncio.TimeoutError:
                break
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
