"""Loading of a Qwen3 reranker checkpoint; one that would score wrongly is refused.

Two kinds of checkpoint are read: the original causal language model, whose head rows for "yes" and
"no" are subtracted, and a conversion to one-label ``Qwen3ForSequenceClassification``, whose only
row is that difference already (vllm ``examples/pooling/score/convert_model_to_seq_cls.py``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import Tensor
from transformers import Qwen3ForCausalLM, Qwen3ForSequenceClassification

from shared_core.errors import MissingDependencyError, ModelLoadError, RerankError
from shared_core.options import DEFAULT_MODEL, TINY, RerankerOptions
from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.checkpoint import open_checkpoint
from shared_core.scorers.local.checkpoint_tensors import (
    HEAD,
    check_missing,
    check_unread,
    is_frequency,
)
from shared_core.scorers.local.devices import choose_device, dtype_of
from shared_core.scorers.local.int8 import project_int8
from shared_core.scorers.local.projection import project

logger = logging.getLogger("qwen3_rerank")

_TINY_PATH = Path(__file__).parents[2] / "tiny"
_DTYPE_OPTION = "dtype" if Version(transformers.__version__) >= Version("4.56") else "torch_dtype"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint ready to score.

    Attributes:
        backbone: The transformer without its head, over packs.
        margin_weight: ``W_yes − W_no``, Shape (width,) float32, on the model's device.
        encoder: Its tokenizer.
        device: The device of the weights.
        dtype: The dtype of the computation.
    """

    backbone: Backbone
    margin_weight: Tensor
    encoder: PairEncoder
    device: torch.device
    dtype: torch.dtype


def load_model(options: RerankerOptions) -> LoadedModel:
    """Read the checkpoint that the options name.

    Raises:
        ModelLoadError: Files are missing or unreadable.
        UnsupportedModelError: It is not a Qwen3 reranker with all its weights.
        ConfigurationError: There is no such device.
        MissingDependencyError: ``hub="modelscope"`` without modelscope installed.
    """
    source, hub_options = resolve_source(options)
    device = choose_device(options)
    dtype = dtype_of(options, device)
    try:
        checkpoint = open_checkpoint(source, hub_options, options.model, options.max_length)
        model, report = checkpoint.architecture.from_pretrained(
            checkpoint.folder,
            config=checkpoint.config,
            output_loading_info=True,
            local_files_only=True,
            attn_implementation="eager",  # a config could name one that is downloaded
            **{_DTYPE_OPTION: dtype},
        )
    except RerankError:
        raise
    except (
        Exception
    ) as error:  # transformers, safetensors and the hub each have errors of their own
        raise ModelLoadError(
            f"could not load {options.model!r}: {error}\nWhere files are damaged or were not "
            "downloaded to their end, download them again."
        ) from error
    check_report(report, options.model)
    margin_weight = _margin_weight(model, checkpoint.encoder)
    transformer = model.model.to(device).eval().requires_grad_(False)
    if options.quantize == "int8":
        backbone = Backbone(transformer, project_int8, rotate=True)
    else:
        backbone = Backbone(transformer, project)
    return LoadedModel(backbone, margin_weight.to(device), checkpoint.encoder, device, dtype)


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
        return _modelscope_folder(options), {"local_files_only": True}
    return options.model, {
        "revision": options.revision or "main",
        "cache_dir": options.cache_dir,
        "local_files_only": options.local_files_only,
    }


def _modelscope_folder(options: RerankerOptions) -> str:
    try:
        from modelscope import snapshot_download
    except ImportError as error:
        raise MissingDependencyError('hub="modelscope"', "modelscope") from error
    try:
        folder = snapshot_download(
            options.model,
            revision=options.revision,
            cache_dir=options.cache_dir,
            local_files_only=options.local_files_only,
        )
    except Exception as error:  # modelscope raises its own, requests' and plain ValueErrors
        raise ModelLoadError(
            f"could not get {options.model!r} from ModelScope: {error}. Where there is a network, "
            f"download it with: modelscope download --model {options.model} --local_dir FOLDER; "
            "then give the folder as the model."
        ) from error
    return str(folder)


def check_report(report: dict[str, Any], name: str) -> None:
    """Raise if the tensors that transformers read differ from those of the checkpoint."""
    absent = sorted(report.get("missing_keys", ()))
    check_missing(absent + sorted(str(key) for key in report.get("mismatched_keys", ())), name)
    unread = (key for key in report.get("unexpected_keys", ()) if key != HEAD)
    check_unread([key for key in unread if not is_frequency(key)], name)


def _margin_weight(
    model: Qwen3ForCausalLM | Qwen3ForSequenceClassification, encoder: PairEncoder
) -> Tensor:
    """Return the head row that gives the margin, Shape (width,) float32."""
    if isinstance(model, Qwen3ForSequenceClassification):
        row: Tensor = model.score.weight.detach()[0]
        return row.float()
    rows: Tensor = model.lm_head.weight.detach()
    return rows[encoder.yes_id].float() - rows[encoder.no_id].float()
