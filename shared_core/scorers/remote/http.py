"""One HTTP request: pooled per event loop, bounded in time and number, repeated where it helps."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import anyio
import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from shared_core.errors import (
    ClosedError,
    ServerStatusError,
    ServerUnreachableError,
)
from shared_core.forking import renew_in_children
from shared_core.remote_options import RemoteOptions
from shared_core.scorers.remote.failures import (
    RETRIED_STATUSES,
    advice,
    request_id,
    retry_after,
    server_words,
    shortened,
)
from shared_core.scorers.remote.keys import Redactor, api_key
from shared_core.scorers.remote.reply import Reply, read_body

logger = logging.getLogger("qwen3_rerank")
# What a forked child has of its parent, kept so that nothing of it is closed there.
_inherited: list[object] = []
_BACKOFF = wait_random_exponential(multiplier=0.5, max=20)  # seconds: 0–0.5, 0–1, 0–2, …


class HttpSession:
    """Requests to one server, from any event loop.

    Args:
        options: Timeouts, bounds, key and headers.
        key_variables: Environment variables to look for the key in, the first that is set wins.

    Attributes:
        redact: Removes the key and the secret headers from a text.
    """

    def __init__(self, options: RemoteOptions, key_variables: Iterable[str] = ()) -> None:
        self._options = options
        self._headers = {
            "accept": "application/json",
            "user-agent": "qwen3-rerank",
            **{name.lower(): value.get_secret_value() for name, value in options.headers.items()},
        }
        key = api_key(options, key_variables)
        if key and "authorization" not in self._headers:
            self._headers["authorization"] = f"Bearer {key}"
        secrets = [value.get_secret_value() for value in options.headers.values()]
        self.redact = Redactor([*secrets, *filter(None, [key])])
        self._timeout = httpx.Timeout(options.timeout, connect=options.connect_timeout)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        self.renew()
        renew_in_children(self)
        # Made once, since it reads all certificates: a tenth of a second. Plain HTTP needs none.
        self._tls: ssl.SSLContext | None = None
        self._needs_tls = not (options.base_url or "").startswith("http://")
        self._next_start = 0.0
        self._is_closed = False

    def renew(self) -> None:
        """Leave all connections to the parent process."""
        _inherited.extend(self._pools.items())
        self._lock = threading.Lock()
        self._pools = {}

    async def get(self, url: str) -> Reply:
        """Return the answer to a GET.

        Raises:
            ServerUnreachableError, ServerStatusError: As for `post`.
        """
        return await self._repeat("GET", url, None, RETRIED_STATUSES)

    async def post(self, url: str, body: Any, retried: Iterable[int] = ()) -> Reply:
        """Return the answer to a POST of JSON, repeated where it may yet succeed.

        Args:
            url: Where to.
            body: What to send.
            retried: Statuses to repeat it on, besides those of all servers.

        Raises:
            ServerUnreachableError: No connection, or no complete answer in time.
            ServerStatusError: An error status that is not worth repeating, or that stayed.
        """
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        return await self._repeat("POST", url, content, RETRIED_STATUSES.union(retried))

    async def _repeat(
        self, method: str, url: str, content: bytes | None, statuses: frozenset[int]
    ) -> Reply:
        deadline = time.monotonic() + self._options.total_timeout

        def is_over(state: RetryCallState) -> bool:
            is_too_late = time.monotonic() + state.upcoming_sleep >= deadline
            return is_too_late or state.attempt_number > self._options.max_retries

        def is_worth_repeating(error: BaseException) -> bool:
            if isinstance(error, ServerStatusError):
                return error.status in statuses
            return isinstance(error, ServerUnreachableError)

        retrying = AsyncRetrying(
            stop=is_over,
            wait=_wait,
            retry=retry_if_exception(is_worth_repeating),
            before_sleep=_log_retry,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                queued = time.monotonic()
                async with self._pool().slots:
                    await self._wait_for_turn()
                    # To wait for other requests of ours is not the server's fault.
                    deadline += time.monotonic() - queued
                    left = max(0.001, deadline - time.monotonic())
                    return await self._send(method, url, content, min(self._options.timeout, left))
        raise AssertionError("unreachable")  # pragma: no cover

    @property
    def is_open(self) -> bool:
        """Whether there may be connections to close."""
        return bool(self._pools)

    async def aclose(self, blocked: asyncio.AbstractEventLoop | None = None) -> None:
        """Close the pools of all loops that run.

        Args:
            blocked: A loop whose thread waits for this, so that it cannot be waited for.
        """
        here = asyncio.get_running_loop()
        with self._lock:
            self._is_closed = True
            pools, self._pools = list(self._pools.items()), {}
        elsewhere = []
        for loop, pool in pools:
            if loop is here:
                await pool.client.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(pool.client.aclose(), loop)
                if loop is not blocked:
                    elsewhere.append(asyncio.wrap_future(closing))
        if elsewhere:
            await asyncio.wait(elsewhere, timeout=2.0)

    async def _send(self, method: str, url: str, content: bytes | None, timeout: float) -> Reply:
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            with anyio.fail_after(timeout):
                async with self._pool().client.stream(
                    method, url, content=content, headers=headers
                ) as response:
                    body = await read_body(url, response)
        except (TimeoutError, httpx.TimeoutException) as error:
            where = "a connection" if isinstance(error, httpx.ConnectTimeout) else "an answer"
            raise ServerUnreachableError(
                f"{url} gave no complete answer in {timeout:g} s ({where} was waited for): raise "
                "timeout or connect_timeout, or is the server overloaded?",
                url=url,
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            words = self.redact(str(error) or type(error).__name__)
            raise ServerUnreachableError(
                f"no answer from {url}: {words}. Is the server running, and base_url right?",
                url=url,
            ) from None
        except RuntimeError as error:  # httpx, of a client that was closed under way
            if not self._is_closed:
                raise
            raise ClosedError("the reranker was closed while it was working") from error
        if response.is_success:
            return Reply(url, response.headers, body, self.redact)
        raise self._status_error(url, response, body)

    def _status_error(self, url: str, response: httpx.Response, body: bytes) -> ServerStatusError:
        status, headers = response.status_code, response.headers
        words = server_words(body, headers.get("content-type", ""), self.redact)
        if 300 <= status < 400:
            words = f"a redirection to {shortened(headers.get('location', 'nowhere'), 200)}"
        name, wait = request_id(headers, body), retry_after(headers)
        name = self.redact(name) if name else None
        message = f"{url} answered {status}" + (f": {self.redact(words)}" if words else "")
        if name:
            message += f" (request {name})"
        if wait is not None:
            message += f" [retry after {wait:g} s]"
        if hint := advice(status):
            message += f". {hint}"
        error = ServerStatusError(message, url=url, status=status, request_id=name)
        error.wait = wait
        return error

    async def _wait_for_turn(self) -> None:
        """Sleep until another request may begin, by ``requests_per_second``."""
        if self._options.requests_per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 1 / self._options.requests_per_second
        await asyncio.sleep(start - now)

    def _pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_closed:
                raise ClosedError("the reranker is closed; make a new one")
            pool = self._pools.get(loop)
            if pool is None:
                # Those of loops that have ended cannot be closed any more, but collected.
                for ended in [other for other in self._pools if other.is_closed()]:
                    del self._pools[ended]
                if self._needs_tls and self._tls is None:
                    self._tls = httpx.create_ssl_context()
                bound = self._options.max_concurrency
                client = httpx.AsyncClient(
                    headers=self._headers,
                    timeout=self._timeout,
                    verify=self._tls or False,
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                    limits=httpx.Limits(max_connections=bound, max_keepalive_connections=bound),
                )
                pool = self._pools[loop] = _Pool(client, asyncio.Semaphore(bound))
            return pool


@dataclass(frozen=True, slots=True)
class _Pool:
    """The connections of one event loop."""

    client: httpx.AsyncClient
    slots: asyncio.Semaphore


def _wait(state: RetryCallState) -> float:
    """Return the seconds to the next attempt: what the server asks for, else a random backoff."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = getattr(error, "wait", None)
    return float(_BACKOFF(state)) if asked is None else float(asked)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    seconds = state.next_action.sleep if state.next_action is not None else 0.0
    logger.info("attempt %d failed, next in %.1f s: %s", state.attempt_number, seconds, error)
