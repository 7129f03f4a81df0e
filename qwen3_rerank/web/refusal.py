"""Error replies in plain ASGI, in a format that the clients of every route understand."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.types import Scope, Send


async def refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    """Answer a request with an error; close a websocket before it is opened."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": status}
    await send_json(send, status, {"error": error, "detail": message, "message": message})


async def send_json(
    send: Send, status: int, body: object, headers: Mapping[str, str] | None = None
) -> None:
    """Send a reply below any framework."""
    content = json.dumps(body).encode()
    fields = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        **(headers or {}),
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
