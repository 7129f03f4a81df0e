"""HTTP session: pooled connections per event loop, limits, and retries."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from shared_core.errors import (
    ClosedError,
    RemoteError,
    ServerStatusError,
    ServerUnreachableError,
)
from shared_core.forking import renew_in_children
from shared_core.options.remote import RemoteOptions
from shared_core.scorers.remote.exchange import Exchange
from shared_core.scorers.remote.failures import RETRIED_STATUSES
from shared_core.scorers.remote.keys import Redactor, api_key, warn_of_plain_http
from shared_core.scorers.remote.proxies import proxy_for
from shared_core.scorers.remote.reply import Reply

logger = logging.getLogger("qwen3_rerank")
# What a forked child has of its parent, kept so that nothing of it is closed there.
_inherited: list[object] = []
_BACKOFF = wait_random_exponential(multiplier=0.5, max=20)  # seconds: 0–0.5, 0–1, 0–2, …


class HttpSession:
    """Sends requests to one server, from any event loop.

    Args:
        options: Timeouts, bounds, key and headers.
        key_variables: Environment variables to look for the key in, the first that is set wins.

    Attributes:
        redact: Removes the key and the secret headers from a text.
    """

    def __init__(
        self, options: RemoteOptions, base_url: str = "", key_variables: Iterable[str] = ()
    ) -> None:
        self._options = options
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "qwen3-rerank",
            **{name.lower(): value.get_secret_value() for name, value in options.headers.items()},
        }
        key = api_key(options, key_variables)
        if key and "authorization" not in headers:
            headers["authorization"] = f"Bearer {key}"
        self._headers = headers
        address = httpx.URL(base_url)
        self._proxy = proxy_for(address) if base_url else None
        secrets = [value.get_secret_value() for value in options.headers.values()]
        if key or secrets:
            warn_of_plain_http(address, self._proxy)
        of_proxy = self._proxy.credentials or () if self._proxy else ()
        passwords = [secret.decode() for secret in of_proxy[1:]]
        self.redact = Redactor([*secrets, *filter(None, [key]), *passwords])
        self._pools: dict[asyncio.AbstractEventLoop, Exchange] = {}
        self.renew()
        renew_in_children(self)
        self._tls: ssl.SSLContext | None = None
        is_plain = self._proxy is None or self._proxy.url.scheme != b"https"
        self._needs_tls = not (is_plain and address.scheme == "http")
        self._next_start = 0.0
        self._is_closed = False

    def renew(self) -> None:
        """Forget all connections, which are the parent process's."""
        _inherited.extend(self._pools.items())
        self._lock = threading.Lock()
        self._pools = {}

    def read_certificates(self) -> None:
        """Read the TLS certificates once, which takes a tenth of a second; not for plain HTTP."""
        if self._needs_tls and self._tls is None:
            self._tls = httpx.create_ssl_context()

    async def get(self, url: str) -> Reply:
        """Return the answer to a GET.

        Raises:
            ServerUnreachableError, ServerStatusError: As for `post`.
        """
        return await self._repeat("GET", url, None, RETRIED_STATUSES)

    async def post(self, url: str, body: Any, retried: Iterable[int] = ()) -> Reply:
        """Return the reply to a POST of JSON, repeated where that may succeed.

        Args:
            url: The URL.
            body: The content; bytes are JSON already.
            retried: Statuses to repeat it on, besides those of all servers.

        Raises:
            ServerUnreachableError: No connection, or no complete answer in time.
            ServerStatusError: An error status that is not worth repeating, or that stayed.
        """
        content = body if isinstance(body, bytes) else encoded(body)
        return await self._repeat("POST", url, content, RETRIED_STATUSES.union(retried))

    async def _repeat(
        self, method: str, url: str, content: bytes | None, statuses: frozenset[int]
    ) -> Reply:
        deadline = time.monotonic() + self._options.total_timeout

        def is_over(state: RetryCallState) -> bool:
            if time.monotonic() + state.upcoming_sleep >= deadline:
                return True
            # A model takes as long to load as it takes: that is waited for, but not for ever.
            is_patient = self._options.max_retries > 0 and _is_loading(state)
            return not is_patient and state.attempt_number > self._options.max_retries

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
                    timeout = min(self._options.timeout, left)
                    return await self._pool().send(method, url, content, timeout)
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
                await pool.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(pool.aclose(), loop)
                if loop is not blocked:
                    elsewhere.append(asyncio.wrap_future(closing))
        if elsewhere:
            await asyncio.wait(elsewhere, timeout=2.0)

    async def _wait_for_turn(self) -> None:
        """Sleep until ``requests_per_second`` allows another request."""
        if self._options.requests_per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 1 / self._options.requests_per_second
        await asyncio.sleep(start - now)

    def _pool(self) -> Exchange:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_closed:
                raise ClosedError("the reranker is closed; make a new one")
            pool = self._pools.get(loop)
            if pool is None:
                # Those of loops that have ended cannot be closed any more, but collected.
                for ended in [other for other in self._pools if other.is_closed()]:
                    del self._pools[ended]
                self.read_certificates()
                pool = self._pools[loop] = Exchange(
                    self._headers,
                    self._options.connect_timeout,
                    self.redact,
                    tls=self._tls,
                    proxy=self._proxy,
                    at_once=self._options.max_concurrency,
                )
            return pool


def encoded(body: Any) -> bytes:
    """Return the bytes of a JSON body."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next attempt: the server's wish, else a random backoff.

    A server that is loading is asked less and less often, however soon it wants to be asked.
    """
    error = state.outcome.exception() if state.outcome is not None else None
    seconds = getattr(error, "wait", None)
    if seconds is None:
        return float(_BACKOFF(state))
    return max(float(seconds), float(_BACKOFF(state)) if _is_loading(state) else 0.0)


def _is_loading(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome is not None else None
    return isinstance(error, RemoteError) and error.is_loading


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    seconds = state.next_action.sleep if state.next_action is not None else 0.0
    logger.info("attempt %d failed, next in %.1f s: %s", state.attempt_number, seconds, error)
