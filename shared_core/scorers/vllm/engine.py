"""Start of a vLLM engine; a checkpoint that would score wrongly is refused before."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Both are read while vLLM is imported: it logs some sixty lines a start on "INFO", and reports
# the use of the model to its makers unless told otherwise.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from shared_core.errors import (
    ConfigurationError,
    ModelLoadError,
    RerankError,
    UnsupportedModelError,
)
from shared_core.options import RerankerOptions
from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.local.checkpoints.adapter_source import adapter_folder, told_apart
from shared_core.scorers.local.checkpoints.checkpoint import Checkpoint, open_checkpoint
from shared_core.scorers.local.checkpoints.merged_folder import write_merged
from shared_core.scorers.local.devices import dtype_of
from shared_core.scorers.local.loading import resolve_source
from shared_core.scorers.vllm.prompts import (
    Prompts,
    prompts_of,
    vision_arguments,
    vision_overrides,
)

# vLLM's own on a CPU is 128 tokens: less than most queries' prompts, of which nothing was shared.
_CPU_BLOCK_SIZE = 32


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A running engine.

    Attributes:
        engine: The engine.
        encoder: Encodes texts.
        begin: Returns what makes the prompts of a new call.
        reads_images: Whether it takes images.
    """

    engine: AsyncLLM
    encoder: PairEncoder
    begin: Callable[[], Prompts]
    reads_images: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checkpoint with the engine's arguments, before the engine is started.

    Attributes:
        merged: The weights with the adapter merged in, until the engine has read them.
    """

    arguments: dict[str, Any]
    checkpoint: Checkpoint
    merged: TemporaryDirectory[str] | None = None


def read_checkpoint(options: RerankerOptions) -> Prepared:
    """Return the engine's arguments and encoder; a wrong checkpoint is refused.

    Raises:
        ConfigurationError: vLLM has no such device or argument.
        ModelLoadError: Files are missing or unreadable.
        UnsupportedModelError: The model is not a Qwen3 reranker with a head.
    """
    placement = _device_arguments(options.device)
    options = told_apart(options)
    adapter = adapter_folder(options)
    source, hub_options = resolve_source(options)
    try:
        checkpoint = open_checkpoint(
            source,
            hub_options,
            options.model,
            options.max_length,
            adapter=adapter,
            answers=options.answers,
            reads_quantised=True,
        )
    except RerankError:
        raise
    except Exception as error:  # safetensors and the hub have errors of their own
        raise ModelLoadError(f"could not load {options.model!r}: {error}") from error
    encoder = checkpoint.encoder
    overrides: dict[str, Any] = {"head_dtype": "float32"}
    if checkpoint.config.is_causal:
        if len(checkpoint.answer_ids) == 1:
            raise UnsupportedModelError(
                f"{options.model!r} scores by one token alone (LogitScore without a false token), "
                'and vLLM by two: use backend="transformers"'
            )
        overrides |= {
            "architectures": ["Qwen3ForSequenceClassification"],
            "classifier_from_token": [
                checkpoint.tokenizer.id_to_token(token) for token in checkpoint.answer_ids[::-1]
            ],
            "is_original_qwen3_reranker": True,
        }
    if checkpoint.vision is not None:
        overrides |= vision_overrides(checkpoint)
    merged = None
    if adapter is not None:
        merged = TemporaryDirectory(prefix="qwen3-rerank-merged-")
        write_merged(checkpoint, Path(merged.name), getattr(torch, engine_dtype(options)))
    arguments = {
        "model": str(checkpoint.folder) if merged is None else merged.name,
        "runner": "pooling",
        "trust_remote_code": False,
        "dtype": engine_dtype(options),
        "max_model_len": encoder.max_length,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **placement,
        **vision_arguments(checkpoint, options.model),
    }
    if current_platform.is_cpu():
        arguments["block_size"] = _CPU_BLOCK_SIZE
    if options.max_batch_tokens is not None:
        arguments["max_num_batched_tokens"] = options.max_batch_tokens
        arguments["max_num_seqs"] = min(options.max_batch_tokens, 256)
    arguments |= options.engine_args
    arguments["hf_overrides"] = overrides | options.engine_args.get("hf_overrides", {})
    _check_arguments(arguments)
    return Prepared(arguments, checkpoint, merged)


def start_engine(options: RerankerOptions, prepared: Prepared) -> LoadedEngine:
    """Return a running engine. Blocks until it has started.

    Raises:
        ModelLoadError: The engine could not be started.
    """
    try:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**prepared.arguments))
    except Exception as error:  # pydantic's, torch's and vLLM's own
        raise ModelLoadError(
            f"vLLM could not be started with {options.model!r}: {error}\nWhere this does not say "
            "why, its engine process did, on the error output. With too little memory, lower "
            'max_length or engine_args={"gpu_memory_utilization": …}. A script needs '
            '`if __name__ == "__main__":` around what it does.'
        ) from error
    finally:
        if prepared.merged is not None:
            prepared.merged.cleanup()
    checkpoint = prepared.checkpoint
    encoder = checkpoint.encoder
    limit = engine.model_config.max_model_len
    if limit < encoder.max_length:  # engine_args may say so
        encoder = PairEncoder(checkpoint.tokenizer, limit, encoder.answers, encoder.form)
    begin = prompts_of(checkpoint, encoder, options.model)
    return LoadedEngine(engine, encoder, begin, reads_images=checkpoint.vision is not None)


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


def engine_dtype(options: RerankerOptions) -> str:
    """Return vLLM's name of the dtype; ``"auto"`` means the same as in the local scorer."""
    if options.dtype != "auto":
        return options.dtype
    if current_platform.is_cpu():
        dtype = dtype_of(options, torch.device("cpu"))
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
