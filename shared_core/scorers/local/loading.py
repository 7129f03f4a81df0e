"""Loading of a Qwen3 reranker checkpoint; one that would score wrongly is refused.

Two kinds of checkpoint are read: the original causal language model, whose head rows for "yes" and
"no" are subtracted, and a conversion to one-label ``Qwen3ForSequenceClassification``, whose only
row is that difference already (vllm ``examples/pooling/score/convert_model_to_seq_cls.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_core.errors import ModelLoadError, RerankError
from shared_core.options import DEFAULT_MODEL, TINY, RerankerOptions
from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.calls import Call, TextCall
from shared_core.scorers.local.checkpoints.adapter_source import adapter_folder, told_apart
from shared_core.scorers.local.checkpoints.checkpoint import Checkpoint, open_checkpoint
from shared_core.scorers.local.checkpoints.hub import snapshot
from shared_core.scorers.local.checkpoints.tensors import CONVERTED_HEAD, EMBEDDING, HEAD
from shared_core.scorers.local.devices import choose_batch_tokens, choose_device, dtype_of
from shared_core.scorers.local.graphs import Graphs, with_graphs
from shared_core.scorers.local.threads import choose_threads

logger = logging.getLogger("qwen3_rerank")

_TINY_PATH = Path(__file__).parents[2] / "tiny"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint ready to score.

    Attributes:
        backbone: The transformer without its head, over packs.
        forward: What plans and computes its forwards.
        margin_weight: ``W_yes − W_no``, Shape (width,) float32, on the model's device.
        encoder: The encoder of prompts.
        device: The device of the weights.
        dtype: The dtype of the computation.
        batch_tokens: The tokens of one forward, where no option says them.
        begin: Returns the state of a new call.
        reads_images: Whether images can be scored with it.
    """

    backbone: Backbone
    forward: Backbone | Graphs
    margin_weight: Tensor
    encoder: PairEncoder
    device: torch.device
    dtype: torch.dtype
    batch_tokens: int
    begin: Callable[[], Call]
    reads_images: bool


def load_model(options: RerankerOptions) -> LoadedModel:
    """Read the checkpoint that the options name.

    Raises:
        ModelLoadError: Files are missing or unreadable.
        UnsupportedModelError: The model is not a Qwen3 reranker with all its weights.
        ConfigurationError: There is no such device.
        MissingDependencyError: ``hub="modelscope"`` without modelscope installed.
    """
    device = choose_device(options)
    with opened(options) as checkpoint:
        if checkpoint.is_int8:
            options = options.model_copy(update={"quantize": "int8"})
            device = choose_device(options)
        dtype = dtype_of(options, device)
        config = checkpoint.config
        backbone = build_backbone(
            config,
            checkpoint.weights,
            device,
            dtype,
            threads=choose_threads(options.threads, config.n_layer_weights),
            quantize=options.quantize == "int8",
        )
        margin_weight = read_margin_weight(checkpoint).to(device)
        begin = _beginning(checkpoint, options, device, dtype)
    batch_tokens = choose_batch_tokens(device)
    return LoadedModel(
        backbone,
        backbone if checkpoint.vision is not None else with_graphs(backbone),
        margin_weight,
        checkpoint.encoder,
        device,
        dtype,
        batch_tokens,
        begin,
        reads_images=checkpoint.vision is not None,
    )


def _beginning(
    checkpoint: Checkpoint, options: RerankerOptions, device: torch.device, dtype: torch.dtype
) -> Callable[[], Call]:
    """Return what makes the state of a new call, with the vision tower where there is one."""
    if checkpoint.vision is None:
        return partial(TextCall, checkpoint.encoder, options.model)
    from shared_core.scorers.local.vision.model import read_vision

    return read_vision(
        checkpoint.vision,
        checkpoint.encoder,
        checkpoint.config.vocab_size,
        device,
        dtype,
        options.image_cache_size,
    ).begin


@contextmanager
def opened(options: RerankerOptions) -> Iterator[Checkpoint]:
    """Open the checkpoint that the options name; errors inside name it, too.

    Raises:
        ModelLoadError: Files are missing or unreadable.
        UnsupportedModelError: The model is not a Qwen3 reranker with all its weights.
    """
    options = told_apart(options)
    source, hub_options = resolve_source(options)
    try:
        yield open_checkpoint(
            source,
            hub_options,
            options.model,
            options.max_length,
            adapter=adapter_folder(options),
            answers=options.answers,
        )
    except RerankError as error:
        if type(error) is ModelLoadError and repr(options.model) not in str(error):
            raise ModelLoadError(f"could not load {options.model!r}: {error}") from error
        raise
    except Exception as error:  # safetensors and the hub have errors of their own
        raise ModelLoadError(
            f"could not load {options.model!r}: {error}\nWhere files are damaged or were not "
            "downloaded to their end, download them again."
        ) from error


def resolve_source(options: RerankerOptions) -> tuple[str, dict[str, Any]]:
    """Return the arguments of ``from_pretrained``: a folder or hub name, and hub options."""
    if options.model == TINY:
        logger.warning(
            'model="tiny" is a demonstration model, for wiring and not for quality: '
            'use model="%s" for real work.',
            DEFAULT_MODEL,
        )
        return str(_TINY_PATH), {"local_files_only": True}
    if options.hub == "modelscope" and not Path(options.model).exists():
        folder = snapshot(options, options.model, revision=options.revision)
        return str(folder), {"local_files_only": True}
    return options.model, {
        "revision": options.revision or "main",
        "cache_dir": options.cache_dir,
        "local_files_only": options.local_files_only,
    }


def read_margin_weight(checkpoint: Checkpoint) -> Tensor:
    """Return the head row that gives the margin, Shape (width,) float32."""
    config, weights = checkpoint.config, checkpoint.weights
    if not config.is_causal:
        head, margin = CONVERTED_HEAD, weights.rows(CONVERTED_HEAD, [0])[0]
    else:
        head = EMBEDDING if config.tie_word_embeddings else HEAD
        rows = weights.rows(head, checkpoint.answer_ids)
        margin = rows[0] - rows[1] if len(rows) == 2 else rows[0]
    if not torch.isfinite(margin).all():
        raise ModelLoadError(
            f"{head} holds numbers that are not finite (NaN or infinite) for the answers: the file "
            "is damaged, download it again"
        )
    return margin
