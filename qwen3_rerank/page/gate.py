"""Filter in front of Gradio: only routes that the page uses, with checked bodies.

Gradio has some ninety routes, among them ones that serve files by path, fetch addresses and keep
queues of messages. The page needs its document, its assets and its events. Files are added here
(store.py), and events are answered at once: nothing of a session stays on the server.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qwen3_rerank.page.bodies import Bodies, PageLimits, PageRefusedError
from qwen3_rerank.page.document import Document, made
from qwen3_rerank.page.fields import Check, Value
from qwen3_rerank.page.inputs import FILE_TYPES, IMAGE_TYPES, MOST_FILE_BYTES
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.web.values import more_values_than

_ASSETS = ("/assets/", "/static/")
_FILES = frozenset({"/favicon.ico", "/theme.css", "/gradio_api/theme.css", "/config"})
# Asked for every two seconds once the server did not answer; the page loads anew when it does.
_APP_ID = "/gradio_api/app_id"
_RUN = "/gradio_api/run/"
_UPLOAD = "/gradio_api/upload"
_PROGRESS = "/gradio_api/upload_progress"
# What surrounds a file in a multipart body.
_AROUND_FILE_BYTES = 16_384
# Of images that are added together: the limit of all bodies is lower by default.
_MOST_IMAGES, _MOST_IMAGES_BYTES = 64, 32 * 2**20
# An event has some twenty.
_MOST_VALUES = 256
# Gradio believes these, whoever sends them, or answers them by itself.
_KEPT_OUT = frozenset(
    {b"origin", b"cookie", b"content-length", b"x-gradio-server", b"x-forwarded-host"}
)


class _Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    fn_index: int
    data: list[Value] = Field(max_length=64)
    session_hash: str = Field(default="", max_length=64)


class Gate:
    """An ASGI application: the page, without the rest of Gradio.

    Args:
        app: Gradio's application, at the path ``/``.
        takes_images: Tells whether images may be added.
    """

    def __init__(
        self,
        app: ASGIApp,
        checks: Mapping[int, Sequence[Check]],
        uploads: Kept[Upload],
        limits: PageLimits,
        takes_images: Callable[[], bool],
    ) -> None:
        self._app = app
        self._checks = checks
        self._uploads = uploads
        self._limits = limits
        self._takes_images = takes_images
        self._bodies = Bodies(limits)
        self._document: Document | None = None
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose ``path`` is relative to the page."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            reply = await self._reply(scope, receive, send)
        except PageRefusedError as refusal:
            # Gradio's page shows what is called `error`.
            headers = {"Connection": "close"} if refusal.status in (408, 413, 503) else None
            reply = JSONResponse({"error": refusal.message}, refusal.status, headers=headers)
        if reply is not None:
            await reply(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Return the reply; ``None`` is one that Gradio has sent."""
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD"):
            if path in ("", "/"):
                return await self._page(scope)
            if path == _PROGRESS:
                # An upload that is asked about here is over, or will be in a moment.
                return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")
            is_file = path in _FILES or path == _APP_ID or path.startswith(_ASSETS)
            if is_file and ".." not in path:
                plain = {**_passed(scope), "query_string": b""}
                await self._app(plain, receive, _without_cors(send))
                return None
        elif method == "POST" and path.startswith(_RUN):
            await self._run(scope, receive, send)
            return None
        elif method == "POST" and path == _UPLOAD:
            return await self._upload(scope, receive)
        return PlainTextResponse("Not found", 404)

    async def _page(self, scope: Scope) -> Response:
        if self._document is None:
            self._document = await made(self._app)
        headers = {
            "Content-Security-Policy": self._document.policy,
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        }
        if "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return Response(self._document.content, headers=headers, media_type="text/html")
        headers["Content-Encoding"] = "gzip"
        return Response(self._document.compressed, headers=headers, media_type="text/html")

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an event by Gradio without a session, so that Gradio stores nothing."""
        most = self._limits.max_body_bytes
        async with self._bodies.read(scope, receive, "application/json", most) as body:
            if more_values_than(_MOST_VALUES, body):
                raise PageRefusedError(422, "bad_values")
            try:
                event = _Event.model_validate_json(body)
            except ValidationError:
                raise PageRefusedError(422, "bad_values") from None
            checks = self._checks.get(event.fn_index)
            if (
                checks is None
                or len(checks) != len(event.data)
                or not all(check(value) for check, value in zip(checks, event.data, strict=True))
            ):
                raise PageRefusedError(422, "bad_values")
            content = json.dumps({"fn_index": event.fn_index, "data": event.data}).encode()
            inner = {**_passed(scope), "path": f"{_RUN}predict", "raw_path": b""}
            inner["headers"].append((b"content-length", str(len(content)).encode()))
            with self._place(event.session_hash):
                await _unless_hung_up(self._app, inner, content, receive, _without_cors(send))

    async def _upload(self, scope: Scope, receive: Receive) -> Response:
        """Keep a file, or some images, and answer with a token where Gradio has a path."""
        most = (
            _MOST_IMAGES_BYTES if self._takes_images() else MOST_FILE_BYTES
        ) + _AROUND_FILE_BYTES
        async with self._bodies.read(scope, receive, "multipart/form-data", most) as body:
            uploads = await _files_in(Headers(scope=scope), body, self._takes_images())
        tokens = [self._uploads.add(one, len(one.content) + len(one.name)) for one in uploads]
        places = zip(tokens, uploads, strict=True)
        return JSONResponse([f"{token}/{upload.name}" for token, upload in places])

    @contextmanager
    def _place(self, session: str) -> Iterator[None]:
        """Hold a place among the events under way."""
        limits, counts = self._limits, self._under_way
        if counts.total() >= limits.most_events or counts[session] >= limits.most_events_of_session:
            raise PageRefusedError(503, "busy")
        counts[session] += 1
        try:
            yield
        finally:
            counts[session] -= 1
            if not counts[session]:
                del counts[session]


class _InMemory(MultiPartParser):
    """The body is in memory already, and bounded: nothing is written to disk."""

    max_file_size = spool_max_size = 2 * _MOST_IMAGES_BYTES


async def _files_in(headers: Headers, body: bytes, with_images: bool) -> list[Upload]:
    """Return the one file of a multipart body, or all of its images."""

    async def stream() -> AsyncIterator[bytes]:
        yield body

    most = _MOST_IMAGES if with_images else 1
    parser = _InMemory(headers, stream(), max_files=most, max_fields=0)  # type: ignore[arg-type]  # a generator or not, it is read once
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise PageRefusedError(400, "one_file") from None
    try:
        files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
        names = [_name(file) for file in files]
        are_images = with_images and all(name.lower().endswith(IMAGE_TYPES) for name in names)
        if not files or (len(files) > 1 and not are_images):
            raise PageRefusedError(400, "one_file")
        uploads = [Upload(name, await file.read()) for name, file in zip(names, files, strict=True)]
        if are_images:
            return uploads
        if not names[0].lower().endswith(FILE_TYPES):
            raise PageRefusedError(415, "file_types", types=", ".join(FILE_TYPES))
        if len(uploads[0].content) > MOST_FILE_BYTES:
            raise PageRefusedError(413, "too_large", most=MOST_FILE_BYTES)
        return uploads
    finally:
        await form.close()


def _name(file: UploadFile) -> str:
    """Return the name of a file, without folders and what cannot be shown."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isprintable, name))[-200:]


def _passed(scope: Scope) -> Scope:
    """Return a request for Gradio, without what it would believe or answer by itself."""
    headers = [(name, value) for name, value in scope["headers"] if name not in _KEPT_OUT]
    return {**scope, "root_path": "", "app_root_path": "", "headers": headers}


def _without_cors(send: Send) -> Send:
    """Return `send` without headers that let other web pages read, and without cookies."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, value)
                for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-") and name.lower() != b"set-cookie"
            ]
            message = {**message, "headers": headers}
        await send(message)

    return sent


async def _unless_hung_up(
    app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send
) -> None:
    """Answer a request with this body by an application; cancel it if the client disconnects."""
    unread = [body]

    async def replayed() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(app(scope, replayed, send))
    watching = asyncio.ensure_future(hung_up())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
