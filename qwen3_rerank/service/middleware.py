"""Middleware of every request: request id, log, metrics, API key, trailing slashes.

Plain ASGI, so that a streamed body stays one and a client that hangs up is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.failures import error_body, shape_of
from qwen3_rerank.service.keys import Keys
from qwen3_rerank.service.logs import access_logger, log_fields
from qwen3_rerank.web.refusal import send_json

logger = logging.getLogger("qwen3_rerank.service")

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready"})
HUNG_UP = 499  # what nginx calls it; never sent, only counted

_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class OneSpelling:
    """Takes a path with trailing slashes for the one without, where there is such a route."""

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            stripped = scope["path"].rstrip("/")
            if stripped and stripped in self._paths:
                scope = {**scope, "path": stripped, "raw_path": stripped.encode()}
        await self._app(scope, receive, send)


class Observed:
    """Gives each request an id, and logs its outcome.

    What goes wrong unforeseen is logged with its traceback and answered with 500 and the id.
    """

    def __init__(self, app: ASGIApp, service: Service, paths: Collection[str]) -> None:
        self._app = app
        self._service = service
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = Headers(scope=scope).get("x-request-id", "")
        request_id = received if _REQUEST_ID.fullmatch(received) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if self._service.state == "draining":
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            status = status or HUNG_UP
            raise
        except Exception:
            logger.exception("request %s failed", request_id)
            if status == 0:
                body = error_body(
                    shape_of(scope["path"]), 500, f"internal error; request id {request_id}"
                )
                await send_json(send_with_id, 500, body)
        finally:
            if (place := scope["state"].get("place")) is not None:
                place.close()
            self._record(scope, request_id, status or HUNG_UP, time.perf_counter() - started)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        path, method = scope["path"], scope["method"]
        route = path if path in self._paths else "/ui" if path.startswith("/ui") else "other"
        method = method if method in _METHODS else "OTHER"
        if scope["state"].get("hung_up"):
            status = HUNG_UP
        metrics = self._service.metrics
        metrics.requests.labels(route, method, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if path in OPEN_PATHS and status == 200:
            return
        client = scope.get("client")
        log_fields(
            access_logger,
            "request",
            request_id=request_id,
            method=method,
            path=path[:200],
            status=status,
            duration_ms=round(seconds * 1000, 1),
            client=client[0] if client else None,
            key=scope["state"].get("key"),
        )


class Guarded:
    """Admits requests with a valid key, and all requests to the health routes."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401; a websocket is closed with 1008."""
        if scope["type"] == "lifespan" or not self._keys or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        number = self._keys.number_of(headers)
        if number is not None:
            scope.setdefault("state", {})["key"] = f"key {number}"
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        brought = "authorization" in headers or "x-api-key" in headers
        message = "the API key is not valid" if brought else "an API key is needed"
        is_page = "text/html" in headers.get("accept", "")
        challenge = 'Basic realm="qwen3-rerank", charset="UTF-8"' if is_page else "Bearer"
        body = error_body(
            shape_of(scope["path"]), 401, f"{message}: send Authorization: Bearer KEY"
        )
        await send_json(send, 401, body, {"WWW-Authenticate": challenge})
