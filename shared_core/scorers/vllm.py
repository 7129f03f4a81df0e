"""The vLLM scorer: vLLM's engine beside this process, its pooling runner, its prefix cache.

vLLM builds the same head that the local scorer does, ``W_yes − W_no`` in float32 (vllm
``model_executor/models/adapters.py``, ``from_2_way_softmax``), and is asked for its output without
an activation, which is the margin. Prompts are sent as our own token ids, so neither a chat
template nor vLLM's tokenizer is ever involved.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import itertools
import json
import logging
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

# Both are read while vLLM is imported: it logs some sixty lines a start on "INFO", and reports
# the use of the model to its makers unless told otherwise.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from tqdm.auto import tqdm
from transformers import AutoConfig, AutoTokenizer, Qwen3ForCausalLM
from vllm import PoolingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from shared_core.encodable import check_encodable
from shared_core.encoding import PairEncoder
from shared_core.errors import (
    ConfigurationError,
    ModelLoadError,
    RerankError,
    ScoringError,
    UnsupportedModelError,
)
from shared_core.options import RerankerOptions
from shared_core.prompt import NO, YES, render_fields
from shared_core.scorers.base import Scored, ScoreRequest
from shared_core.scorers.loading import (
    _bounded_length,
    _check_config,
    _check_report,
    _choose_dtype,
    _resolve_source,
)

logger = logging.getLogger("qwen3_rerank")

# Documents of one call that vLLM holds at a time. vLLM serves first come, first served, and takes
# some hundreds into a step: more in its queue would only make other callers wait.
_WINDOW = 1024
# Documents tokenised at once: the engine starts on them, and other callers get their turn.
_SLICE = 256
# vLLM's own on a CPU is 128 tokens: less than most queries' prompts, of which nothing was shared.
_CPU_BLOCK_SIZE = 32
# vLLM's own patience, five seconds, is less than its worker takes; killed, it leaks shared memory.
_SHUTDOWN_SECONDS = 20.0
# What the engine needs of a checkpoint's folder.
_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja"]
# vLLM had the one name up to 0.11, and has the other since.
_ACTIVATION = (
    "use_activation" if "use_activation" in PoolingParams.__struct_fields__ else "activation"
)


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
        self._host: _Host | None = None
        self._stop: weakref.finalize[Any, Any] | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether an engine is running."""
        return self._host is not None and self._host.is_loaded

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        """Return the margin of each document, in input order. See `score_many`."""
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [one.logit for one in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Args:
            requests: Queries with their documents, which are computed next to one another, so that
                they find their common prefix in the cache.
            show_progress: Draw a bar over the documents.

        Raises:
            ModelLoadError: The first call could not start the engine.
            ConfigurationError: vLLM does not know an engine argument, or has no such device.
            QueryTooLongError, TextEncodingError: A text cannot be put into the prompt.
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
        """Return what `score_many` does, from any event loop; cancelling it aborts its requests."""
        return await asyncio.wrap_future(self._submit(requests, show_progress))

    def unload(self) -> None:
        """End the engine, after the calls in progress; the next call starts another."""
        with self._lock:
            host = self._host
        if host is not None:
            asyncio.run_coroutine_threadsafe(host.unload(), host.loop).result()

    def close(self) -> None:
        """`unload`, and end the thread that served the engine."""
        self.unload()
        with self._lock:
            self._host, stop, self._stop = None, self._stop, None
        if stop is not None:
            stop()

    def _submit(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> Future[list[list[Scored]]]:
        with self._lock:
            if self._host is None:
                self._host = _Host(self._options)
                self._stop = weakref.finalize(self, self._host.stop)
                self._stop.atexit = False  # the host sees to its end at exit, and waits for it
            host = self._host
        return asyncio.run_coroutine_threadsafe(host.score(requests, show_progress), host.loop)


@dataclass(frozen=True, slots=True)
class _Loaded:
    engine: AsyncLLM
    encoder: PairEncoder


class _Host:
    """The engine and the event loop that it lives on, in a thread: no caller's loop need last.

    All coroutines here run on that loop, so that none of its state needs a lock.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._loaded: _Loaded | None = None
        self._calls = 0
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

    async def score(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> list[list[Scored]]:
        """See `VllmScorer.score_many`."""
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
            self._calls -= 1
            if not self._calls:
                self._is_idle.set()

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

    def _stop_at_exit(self) -> None:
        self.stop()
        self._thread.join(_SHUTDOWN_SECONDS + 10)

    async def _end(self) -> None:
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

    async def _enter(self) -> _Loaded:
        """Return a running engine, which stays until the caller has counted `_calls` down."""
        async with self._changing:
            if self._loaded is not None and self._loaded.engine.errored:
                self._discard(self._loaded)
            if self._loaded is None:
                checkpoint = await self.loop.run_in_executor(
                    self._worker, _read_checkpoint, self._options
                )
                # Blocks the loop, but nothing else can run without an engine.
                self._loaded = _start_engine(self._options, checkpoint)
            self._calls += 1
            self._is_idle.clear()
            return self._loaded

    def _discard(self, loaded: _Loaded | None) -> None:
        """End this engine, unless that was done."""
        if loaded is not None and self._loaded is loaded:
            self._loaded = None
            shutdown = loaded.engine.shutdown
            if "timeout" in inspect.signature(shutdown).parameters:  # not in the first versions
                shutdown(timeout=_SHUTDOWN_SECONDS)
            else:
                shutdown()

    async def _score(
        self, loaded: _Loaded, requests: Sequence[ScoreRequest], progress: tqdm[Any]
    ) -> list[list[Scored]]:
        """Return the scores; encodes the next documents while the engine computes these."""
        window = asyncio.Semaphore(_WINDOW)
        tasks: list[asyncio.Task[Scored]] = []
        failed = asyncio.Event()

        def finish(task: asyncio.Task[Scored]) -> None:
            window.release()
            progress.update()
            if not task.cancelled() and task.exception() is not None:
                failed.set()

        try:
            for request, documents in _slices(requests):
                group = await self.loop.run_in_executor(
                    self._worker,
                    loaded.encoder.encode,
                    request.instruction,
                    request.query,
                    documents,
                )
                for document in group.documents:
                    await window.acquire()
                    if failed.is_set():
                        await asyncio.gather(*tasks)  # raises
                    task = self.loop.create_task(
                        self._score_one(
                            loaded.engine,
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

    async def _score_one(self, engine: AsyncLLM, ids: list[int], truncated: bool) -> Scored:
        """Return the judgement of one prompt."""
        outputs = engine.encode(
            # Finished input, as a renderer of vLLM would return it; versions without renderers
            # look at the ids alone.
            {"type": "token", "prompt_token_ids": ids},
            PoolingParams(task="classify", **{_ACTIVATION: False}),
            f"qwen3-rerank-{next(self._request_ids)}",
        )
        values = [value async for output in outputs for value in output.outputs.data.tolist()]
        if len(values) != 1:
            raise ScoringError(f"vLLM returned {len(values)} values for a prompt, not its margin")
        return Scored(float(values[0]), len(ids), truncated)

    def _translated(self, loaded: _Loaded, error: Exception) -> RerankError:
        """Return the error to raise; an engine that died of it is replaced by the next call."""
        if loaded.engine.errored:
            self._discard(loaded)
            return ScoringError(
                "vLLM's engine ended; its own words are on the error output, out of memory is the "
                f"likely cause. The next call starts it again. ({type(error).__name__}: {error})"
            )
        return ScoringError(f"vLLM failed: {type(error).__name__}: {error}")


def _slices(requests: Sequence[ScoreRequest]) -> Iterator[tuple[ScoreRequest, Sequence[str]]]:
    """Yield the documents of each request by the slice, in order, having looked at all of them."""
    for request in requests:
        check_encodable(render_fields(request.instruction, request.query), request.documents)
    for request in requests:
        for start in range(0, len(request.documents), _SLICE):
            yield request, request.documents[start : start + _SLICE]


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What was read of a checkpoint before the engine is started with its folder."""

    arguments: dict[str, Any]
    tokenizer: Any
    encoder: PairEncoder


def _read_checkpoint(options: RerankerOptions) -> _Checkpoint:
    """Return the engine's arguments and the encoder, having refused what would score wrongly.

    Raises:
        ConfigurationError: vLLM has no such device or argument.
        ModelLoadError: Files are missing or unreadable.
        UnsupportedModelError: It is not a Qwen3 reranker with a head.
    """
    placement = _device_arguments(options.device)
    source, hub_options = _resolve_source(options)
    try:
        folder = source if Path(source).is_dir() else _download(source, hub_options)
        config = AutoConfig.from_pretrained(folder)
        architecture = _check_config(config, options.model)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        weights = _weight_names(Path(folder))
    except RerankError:
        raise
    except Exception as error:  # transformers, safetensors and the hub have errors of their own
        raise ModelLoadError(f"could not load {options.model!r}: {error}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedModelError(
            f"{options.model!r} has no fast tokenizer (tokenizer.json is missing)"
        )
    is_causal = architecture is Qwen3ForCausalLM
    _check_head(weights, config, is_causal, options.model)
    encoder = PairEncoder(tokenizer.backend_tokenizer, _bounded_length(config, options.max_length))
    overrides: dict[str, Any] = {"head_dtype": "float32"}
    if is_causal:
        _ = encoder.yes_id, encoder.no_id  # raises unless each is one token
        overrides |= {
            "architectures": ["Qwen3ForSequenceClassification"],
            "classifier_from_token": [NO, YES],
            "is_original_qwen3_reranker": True,
        }
    arguments = {
        "model": folder,
        "runner": "pooling",
        "dtype": _dtype(options),
        "max_model_len": encoder.max_length,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **placement,
    }
    if current_platform.is_cpu():
        arguments["block_size"] = _CPU_BLOCK_SIZE
    if options.max_batch_tokens is not None:
        arguments["max_num_batched_tokens"] = options.max_batch_tokens
        arguments["max_num_seqs"] = min(options.max_batch_tokens, 256)
    arguments |= options.engine_args
    arguments["hf_overrides"] = overrides | options.engine_args.get("hf_overrides", {})
    _check_arguments(arguments)
    return _Checkpoint(arguments, tokenizer, encoder)


def _start_engine(options: RerankerOptions, checkpoint: _Checkpoint) -> _Loaded:
    """Return a running engine. Blocks for as long as it takes.

    Raises:
        ModelLoadError: It could not be started.
    """
    try:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**checkpoint.arguments))
    except Exception as error:  # pydantic's, torch's and vLLM's own
        raise ModelLoadError(
            f"vLLM could not be started with {options.model!r}: {error}\nWhere this does not say "
            "why, its engine process did, on the error output. With too little memory, lower "
            'max_length or engine_args={"gpu_memory_utilization": …}. A script needs '
            '`if __name__ == "__main__":` around what it does.'
        ) from error
    encoder = checkpoint.encoder
    limit = engine.model_config.max_model_len
    if limit < encoder.max_length:  # engine_args may say so
        encoder = PairEncoder(checkpoint.tokenizer.backend_tokenizer, limit)
    return _Loaded(engine, encoder)


def _download(name: str, hub_options: dict[str, Any]) -> str:
    """Return the folder of a hub checkpoint: the engine itself never asks the network."""
    return str(snapshot_download(name, allow_patterns=_FILES, **hub_options))


def _device_arguments(device: str | None) -> dict[str, Any]:
    """Return the engine arguments that place the model.

    Raises:
        ConfigurationError: This vLLM does not compute there.
    """
    if device is None:
        return {}
    kind, _, index = device.partition(":")
    if kind != current_platform.device_type:
        raise ConfigurationError(
            f"device={device!r}: this installation of vLLM computes on "
            f"{current_platform.device_type!r} alone; leave device out, or use "
            'backend="transformers"'
        )
    if not index or current_platform.is_cpu():
        return {}
    if "device_ids" not in _argument_names():
        raise ConfigurationError(
            f"device={device!r}: this version of vLLM takes no device number; set "
            f"CUDA_VISIBLE_DEVICES={index} before Python starts, and device={kind!r}"
        )
    return {"device_ids": [int(index)]}


def _dtype(options: RerankerOptions) -> str:
    """Return vLLM's name of the dtype; ``"auto"`` means what it does in the local scorer."""
    if options.dtype != "auto":
        return options.dtype
    if current_platform.is_cpu():
        dtype = _choose_dtype("auto", torch.device("cpu"))
    else:
        dtype = current_platform.supported_dtypes[0]  # asked without initialising CUDA
    return str(dtype).removeprefix("torch.")


def _argument_names() -> frozenset[str]:
    return frozenset(field.name for field in fields(AsyncEngineArgs))


def _check_arguments(arguments: dict[str, Any]) -> None:
    unknown = sorted(set(arguments) - _argument_names())
    if unknown:
        raise ConfigurationError(
            f"engine_args: vLLM's AsyncEngineArgs has no {', '.join(map(repr, unknown))}"
        )


def _weight_names(folder: Path) -> frozenset[str] | None:
    """Return the names of all tensors, from the files' headers; ``None`` without safetensors."""
    names: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        names.update(json.loads(index.read_text())["weight_map"])
    if not names:
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as tensors:
                names.update(tensors.keys())
    return frozenset(names) or None


def _check_head(weights: frozenset[str] | None, config: Any, is_causal: bool, name: str) -> None:
    """Raise if the head is not in the checkpoint: vLLM would start with one made of noise."""
    if not is_causal:
        head = "score.weight"
    elif config.tie_word_embeddings:
        head = "model.embed_tokens.weight"
    else:
        head = "lm_head.weight"
    if weights is not None and not {head, head.removeprefix("model.")} & weights:
        _check_report({"missing_keys": [head]}, name)
