"""Error replies in plain ASGI, in a format that the clients of every route understand."""

from __future__ import annotations

import json

from starlette.types import Scope, Send


async def refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    """Answer a request with an error; close a websocket before it is opened."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": status}
    body = json.dumps({"error": error, "detail": message, "message": message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
