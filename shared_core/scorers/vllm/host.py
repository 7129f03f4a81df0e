"""The engine of vLLM and its event loop, in a thread of their own."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm.auto import tqdm

from shared_core.errors import ClosedError, RerankError, ScoringError
from shared_core.images.content import text_of
from shared_core.options import RerankerOptions
from shared_core.prompt import render_fields
from shared_core.prompt.encodable import check_encodable
from shared_core.scorers.vllm.engine import LoadedEngine, read_checkpoint, start_engine
from shared_core.scorers.vllm.prompts import Prompts
from shared_core.scoring import Scored, ScoreRequest

# isort: split
from vllm import PoolingParams
from vllm.v1.engine.async_llm import AsyncLLM

# Documents tokenised at once: the engine starts on them, and other callers get their turn.
_SLICE = 256
# vLLM's own patience, five seconds, is less than its worker takes; killed, it leaks shared memory.
_SHUTDOWN_SECONDS = 20.0
# vLLM had the one name up to 0.11, and has the other since.
_ACTIVATION = (
    "use_activation" if "use_activation" in PoolingParams.__struct_fields__ else "activation"
)


class Host:
    """The engine and its event loop, in a thread of their own: callers' loops may end.

    All coroutines here run on that loop, so that none of its state needs a lock.

    Attributes:
        is_ending: Whether no call may enter any more.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._loaded: LoadedEngine | None = None
        self._calls = 0
        self.is_ending = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._changing = asyncio.Lock()  # held while the engine starts or ends
        self._request_ids = itertools.count()
        # Tokenising and reading checkpoints, which would block the loop.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-vllm-encode")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="qwen3-rerank-vllm", daemon=True)
        self._thread.start()
        atexit.register(self._stop_at_exit)

    @property
    def is_loaded(self) -> bool:
        """Whether an engine is running."""
        return self._loaded is not None and not self._loaded.engine.errored

    @property
    def reads_images(self) -> bool | None:
        """Whether the model reads images; ``None`` while no engine is running."""
        loaded = self._loaded
        return None if loaded is None else loaded.reads_images

    async def score(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> list[list[Scored]]:
        """See `VllmScorer.score_many`."""
        try:
            return await self._score_entered(requests, show_progress)
        except asyncio.CancelledError:
            if self.is_ending:
                raise ClosedError("the reranker was closed while it was working") from None
            raise

    async def _score_entered(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> list[list[Scored]]:
        loaded = await self._enter()
        total = sum(len(request.documents) for request in requests)
        try:
            with tqdm(
                total=total, desc="rerank", unit="document", disable=not show_progress
            ) as progress:
                return await self._score(loaded, requests, progress)
        except RerankError:
            raise
        except Exception as error:  # vLLM's own, pydantic's and plain ValueErrors
            raise self._translated(loaded, error) from error
        finally:
            self._leave()

    async def load(self) -> LoadedEngine:
        """See `VllmScorer.load`."""
        loaded = await self._enter()
        self._leave()
        return loaded

    async def unload(self) -> None:
        """End the engine once no call uses it; calls that come meanwhile wait for the next one."""
        async with self._changing:
            await self._is_idle.wait()
            self._discard(self._loaded)

    def stop(self) -> None:
        """End engine, loop and thread, whatever is in progress. Does not wait for it."""
        atexit.unregister(self._stop_at_exit)
        self._worker.shutdown(wait=False)
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)

    def abandon(self) -> None:
        """Do nothing at exit of a forked child: all of this belongs to the parent."""
        atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        self.stop()
        self._thread.join(_SHUTDOWN_SECONDS + 10)

    async def _end(self) -> None:
        self.is_ending = True
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=5)
        self._discard(self._loaded)
        self.loop.stop()

    def _serve(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    async def _enter(self) -> LoadedEngine:
        """Return a running engine, kept until the caller decrements `_calls`."""
        async with self._changing:
            if self._loaded is not None and self._loaded.engine.errored:
                self._discard(self._loaded)
            if self.is_ending:
                raise ClosedError("the reranker is closed; make a new one")
            if self._loaded is None:
                checkpoint = await self.loop.run_in_executor(
                    self._worker, read_checkpoint, self._options
                )
                # Blocks the loop, but nothing else can run without an engine.
                self._loaded = start_engine(self._options, checkpoint)
            self._calls += 1
            self._is_idle.clear()
            return self._loaded

    def _leave(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._is_idle.set()

    def _discard(self, loaded: LoadedEngine | None) -> None:
        """End this engine, unless that was done."""
        if loaded is not None and self._loaded is loaded:
            self._loaded = None
            shutdown = loaded.engine.shutdown
            if "timeout" in inspect.signature(shutdown).parameters:  # not in the first versions
                shutdown(timeout=_SHUTDOWN_SECONDS)
            else:
                shutdown()

    async def _score(
        self, loaded: LoadedEngine, requests: Sequence[ScoreRequest], progress: tqdm[Any]
    ) -> list[list[Scored]]:
        """Return the scores; encodes the next documents while the engine computes these."""
        prompts = loaded.begin()
        window = asyncio.Semaphore(prompts.window)
        tasks: list[asyncio.Task[Scored]] = []
        failed = asyncio.Event()

        def finish(task: asyncio.Task[Scored]) -> None:
            window.release()
            progress.update()
            if not task.cancelled() and task.exception() is not None:
                failed.set()

        try:
            for request, start in _slices(requests):
                group = await self.loop.run_in_executor(
                    self._worker,
                    prompts.encode,
                    request.instruction,
                    request.query,
                    request.documents[start : start + _SLICE],
                    start,
                )
                for document in group.documents:
                    await window.acquire()
                    if failed.is_set():
                        await asyncio.gather(*tasks)  # raises
                    task = self.loop.create_task(
                        self._score_one(
                            loaded.engine,
                            prompts,
                            group.prefix_ids + document.ids,
                            document.truncated,
                        )
                    )
                    task.add_done_callback(finish)
                    tasks.append(task)
            scored = iter(await asyncio.gather(*tasks))
            return [[next(scored) for _ in request.documents] for request in requests]
        finally:
            for task in tasks:
                task.cancel()  # vLLM aborts the request of a cancelled task
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _score_one(
        self, engine: AsyncLLM, prompts: Prompts, ids: list[int], truncated: bool
    ) -> Scored:
        """Return the judgement of one prompt."""
        prompt = prompts.prompt(ids)
        if "type" not in prompt and hasattr(engine, "renderer"):  # the first versions had none
            (prompt,) = await engine.renderer.render_cmpl_async([prompt])
        outputs = engine.encode(
            prompt,
            PoolingParams(task="classify", **{_ACTIVATION: False}),
            f"qwen3-rerank-{next(self._request_ids)}",
        )
        values: list[float] = []
        n_tokens = 0
        async for output in outputs:
            values += output.outputs.data.tolist()
            n_tokens = len(output.prompt_token_ids)
        if len(values) != 1:
            raise ScoringError(f"vLLM returned {len(values)} values for a prompt, not its margin")
        if n_tokens != len(ids):
            raise ScoringError(
                f"vLLM made {n_tokens} tokens of a prompt of {len(ids)}: its image processor is "
                "another one than Qwen3-VL-Reranker's"
            )
        return Scored(float(values[0]), len(ids), truncated)

    def _translated(self, loaded: LoadedEngine, error: Exception) -> RerankError:
        """Return the error to raise; a dead engine is replaced by the next call."""
        if loaded.engine.errored:
            self._discard(loaded)
            return ScoringError(
                "vLLM's engine ended; its own words are on the error output, out of memory is the "
                f"likely cause. The next call starts it again. ({type(error).__name__}: {error})"
            )
        return ScoringError(f"vLLM failed: {type(error).__name__}: {error}")


def _slices(requests: Sequence[ScoreRequest]) -> Iterator[tuple[ScoreRequest, int]]:
    """Yield each request with the start of each slice of its documents, after all were checked."""
    for request in requests:
        fields = render_fields(request.instruction, text_of(request.query))
        check_encodable(fields, list(map(text_of, request.documents)))
    for request in requests:
        for start in range(0, len(request.documents), _SLICE):
            yield request, start
