"""The vLLM scorer, on vLLM's pooling engine with its prefix cache.

vLLM builds the same head that the local scorer does, ``W_yes − W_no`` in float32 (vllm
``model_executor/models/adapters.py``, ``from_2_way_softmax``), and is asked for its output without
an activation, which is the margin. Prompts are sent as our own token ids, so neither a chat
template nor vLLM's tokenizer is ever involved.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from shared_core.errors import ClosedError, ForkedProcessError
from shared_core.forking import renew_in_children
from shared_core.images.content import Content
from shared_core.options import RerankerOptions
from shared_core.scorers.local.checkpoints.model_source import may_read_images
from shared_core.scorers.vllm.engine import LoadedEngine
from shared_core.scorers.vllm.host import Host
from shared_core.scoring import Scored, ScoreRequest
from shared_core.windows.meters import EncoderMeter


class VllmScorer:
    """Scores with vLLM's asynchronous engine, started by the first call and shared by all.

    The engine computes in a process of its own. On a CPU always, and on a GPU if this process used
    CUDA before, vLLM *spawns* that process, which imports the main script again: a script that uses
    this backend without ``if __name__ == "__main__":`` around what it does then fails, with a
    `ModelLoadError` and Python's own words on "bootstrapping". Notebooks, and what is imported
    rather than run, are not affected.

    Args:
        options: Names the checkpoint, the device and the bounds. ``max_length`` becomes
            ``max_model_len``, ``max_batch_tokens`` becomes ``max_num_batched_tokens``;
            ``engine_args`` go to vLLM's ``AsyncEngineArgs`` and win over all of ours.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._stop: weakref.finalize[Any, Any] | None = None
        self._is_closed = False
        self._is_inherited = False
        renew_in_children(self)

    def renew(self) -> None:
        """Forget the engine, which belongs to the parent process."""
        self._lock = threading.Lock()
        self._is_inherited = self._is_inherited or self._host is not None
        if self._stop is not None:
            self._stop.detach()
        if self._host is not None:
            self._host.abandon()
        self._host = self._stop = None

    @property
    def is_loaded(self) -> bool:
        """Whether an engine is running."""
        return self._host is not None and self._host.is_loaded

    @property
    def takes_images(self) -> bool:
        """Whether the model reads images; before it is loaded, as far as its folder tells."""
        host = self._host
        known = None if host is None else host.reads_images
        return may_read_images(self._options.model) if known is None else known

    def score(
        self, query: str | Content, documents: Sequence[str | Content], *, instruction: str
    ) -> list[float]:
        """Return the margin of each document, in input order. See `score_many`."""
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [result.logit for result in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Args:
            requests: Queries with their documents, which are computed next to one another, so that
                they find their common prefix in the cache.
            show_progress: Show a progress bar over the documents.

        Raises:
            ModelLoadError: The first call could not start the engine.
            ConfigurationError: vLLM does not know an engine argument, or has no such device.
            QueryTooLongError, TextEncodingError: A text cannot be put into the prompt.
            ImageError: Images do not fit into it, or the model reads text alone.
            ScoringError: The engine failed.
        """
        future = self._submit(requests, show_progress)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # after Ctrl-C, nobody waits for what vLLM still computes
            raise

    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return what `score_many` returns, from any event loop; cancelling aborts its requests."""
        return await asyncio.wrap_future(self._submit(requests, show_progress))

    def load(self) -> LoadedEngine:
        """Return the running engine, started if need be. From any thread but the engine's."""
        host = self._get_host()
        return asyncio.run_coroutine_threadsafe(host.load(), host.loop).result()

    async def aload(self) -> LoadedEngine:
        """`load` without blocking the event loop."""
        host = self._get_host()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(host.load(), host.loop))

    def token_meter(self) -> EncoderMeter:
        """Return the token meter, for any thread but the engine's."""
        return EncoderMeter(self.load().encoder)

    def reset_prefix_cache(self) -> None:
        """Forget the prefixes that were computed, as benchmarks of a cold start need."""
        engine = self.load().engine
        asyncio.run_coroutine_threadsafe(
            engine.reset_prefix_cache(), self._get_host().loop
        ).result()

    def unload(self) -> None:
        """End the engine, after the calls in progress; the next call starts another."""
        with self._lock:
            host = self._host
        if host is not None:
            asyncio.run_coroutine_threadsafe(host.unload(), host.loop).result()

    def close(self) -> None:
        """Unload, and end the engine's thread for good."""
        with self._lock:
            self._is_closed = True
            if self._host is not None:
                self._host.is_ending = True
        self.unload()
        with self._lock:
            self._host, stop, self._stop = None, self._stop, None
        if stop is not None:
            stop()

    def _submit(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> Future[list[list[Scored]]]:
        host = self._get_host()
        return asyncio.run_coroutine_threadsafe(host.score(requests, show_progress), host.loop)

    def _get_host(self) -> Host:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the reranker is closed; make a new one")
            if self._is_inherited:
                raise ForkedProcessError("its parent runs the engine of vLLM")
            if self._host is None:
                self._host = Host(self._options)
                self._stop = weakref.finalize(self, self._host.stop)
                self._stop.atexit = False  # the host sees to its end at exit, and waits for it
            return self._host
