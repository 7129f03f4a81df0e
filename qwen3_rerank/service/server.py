"""The server process, which finishes accepted requests before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from pydantic import ValidationError

from qwen3_rerank.service.app import create_app
from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.failures import in_words
from qwen3_rerank.service.settings import ServiceSettings
from qwen3_rerank.web.connections import BoundedServer, ConnectionLimits, bounded, fitting
from shared_core.errors import RerankError
from shared_core.reranker import Reranker

logger = logging.getLogger("qwen3_rerank.service")

_LAST_REQUESTS_SECONDS = 0.2
_LAST_REPLIES_SECONDS = 3.0
_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104  # a comparison
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Server(BoundedServer):
    """uvicorn, which on SIGTERM and SIGINT finishes what was accepted while it refuses the rest.

    First readiness says 503 and requests are still taken (``shutdown_delay``); then new ones get
    503 while accepted ones finish (``shutdown_grace`` at most); then the port is closed. A second
    signal ends at once. On SIGHUP the API keys are read again.

    Args:
        read_again: Returns the settings as flags, environment and files give them now.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        read_again: Callable[[], ServiceSettings] | None = None,
    ) -> None:
        super().__init__(config)
        self.service = service
        self._read_again = read_again
        self.exit_code = 0
        self._running: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None
        service.on_failure = self._fail

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # sockets are passed on
        """Listen, and log the address."""
        self._running = asyncio.get_running_loop()
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            self._running.add_signal_handler(signal.SIGHUP, self.reload)
        await super().startup(sockets)  # type: ignore[arg-type]  # as above
        for server in self.servers:
            for socket in server.sockets:
                logger.info("listening on %s port %d", *socket.getsockname()[:2])

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # as above
        """Close the port first; a client that just connected still gets a reply, a refusal."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)
        await super().shutdown(sockets)  # type: ignore[arg-type]  # as above

    def reload(self) -> None:
        """Read the settings again, and take their API keys; the others are for the next start."""
        try:
            settings = (self._read_again or self.service.settings.model_copy)()
            keys = settings.all_keys()
        except ValidationError as error:
            logger.error("the API keys stay as they are: %s", in_words(error))
            return
        except (RerankError, ValueError) as error:
            logger.error("the API keys stay as they are: %s", error)
            return
        if self.service.keys and not keys:
            logger.error("the API keys stay as they are: without any, everybody would be let in")
            return
        self.service.keys.replace(keys)
        logger.info("the API keys were read again: %d are in force", len(keys))
        changed = [
            name
            for name in ServiceSettings.model_fields
            if name not in ("serve_keys", "serve_key_file")
            and getattr(settings, name) != getattr(self.service.settings, name)
        ]
        if changed:
            logger.warning("a restart is needed for what else changed: %s", ", ".join(changed))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end at once the second time."""
        if self._running is None or self.service.state in ("draining", "stopped"):
            self.force_exit = True
            super().handle_exit(sig, frame)
            return
        self.service.drain()
        self._running.call_soon_threadsafe(self._begin_to_end)

    def _begin_to_end(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        settings = self.service.settings
        logger.info("shutting down: accepted requests are finished")
        await asyncio.sleep(settings.shutdown_delay)
        self.service.refuse()
        try:
            await asyncio.wait_for(self.service.until_idle(), settings.shutdown_grace)
        except asyncio.TimeoutError:
            logger.warning("requests are left after %g s: they get 503", settings.shutdown_grace)
            self.service.abandon()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.service.until_idle(), _LAST_REPLIES_SECONDS)
        self.should_exit = True

    def _fail(self) -> None:
        self.exit_code = 1
        self.should_exit = True


def make_server(
    settings: ServiceSettings,
    *,
    reranker: Reranker | None = None,
    read_again: Callable[[], ServiceSettings] | None = None,
) -> Server:
    """Return a server that is ready to run; for its arguments see `create_app` and `Server`."""
    app = create_app(settings, reranker=reranker)
    service: Service = app.state.service
    limits = ConnectionLimits(
        fitting(settings.max_connections),
        settings.head_timeout,
        settings.body_timeout,
    )
    if limits.most < settings.max_connections:
        logger.warning(
            "%d connections at most, not %d: the process may open no more files (ulimit -n)",
            limits.most,
            settings.max_connections,
        )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=5,
        **bounded(limits, lambda why: service.metrics.connections_closed.labels(why).inc()),
    )
    return Server(config, service, read_again)


def serve(
    settings: ServiceSettings, read_again: Callable[[], ServiceSettings] | None = None
) -> int:
    """Run the service until it is told to end, and return the exit code.

    0: it was told to. 1: the model could not be loaded, or the port not be had.

    Args:
        read_again: Returns them as they are when SIGHUP asks.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server listens
    if settings.host not in _LOOPBACK and not settings.all_keys():
        logger.warning("%s can be reached by others, and no API key is set", settings.host)
    if settings.host in _ANY_ADDRESS:
        names = ", ".join(("localhost", *settings.allowed_hosts))
        logger.info("requests may be addressed to any IP address and to the names: %s", names)
    server = make_server(settings, read_again=read_again)
    try:
        server.run()
    except SystemExit:
        return 1
    return server.exit_code if server.started else 1
