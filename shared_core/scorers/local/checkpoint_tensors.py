"""Checks that a checkpoint's tensors are exactly those that the forward pass reads.

Files are judged by their headers, before gigabytes are read. An unread tensor of a file
means that the model differs from its config: an adapter's, a bias, the scales of
a quantised layer, more layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoint_files import weight_files

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
CONVERTED_HEAD = "score.weight"

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_TORCH_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
}  # fmt: skip
# Rotary frequencies, which transformers wrote into files before 4.32.
_FREQUENCIES = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
# What quantised linear layers of a decoder layer have instead of, or beside, their weight.
_LINEAR = re.compile(
    r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.(?P<part>.+)"
)
_ADAPTER = re.compile(r"lora|adapter|\bia3|base_layer", re.IGNORECASE)
_SCALES = re.compile(r"scale|zero|qweight|packed|absmax|quant|g_idx|SCB")


@dataclass(frozen=True, slots=True)
class Header:
    """A tensor's entry in a safetensors header: its dtype, as spelled there, and its shape."""

    dtype: str
    shape: tuple[int, ...]
    file: Path


class Tensors:
    """The tensors in a checkpoint's files, by name, without their values.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.

    Raises:
        ModelLoadError: Files are missing or damaged.
        UnsupportedModelError: There are several sets of weights.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.headers: dict[str, Header] = {}
        files, weight_map = weight_files(folder, name)
        for file in files:
            for tensor, header in _headers(file, name).items():
                if tensor in self.headers:
                    raise UnsupportedModelError(
                        f"{name!r} has {tensor} twice: in {self.headers[tensor].file.name} and in "
                        f"{file.name}"
                    )
                self.headers[tensor] = header
        places = {tensor: header.file.name for tensor, header in self.headers.items()}
        if weight_map is not None and weight_map != places:
            wrong = sorted({tensor for tensor, _ in weight_map.items() ^ places.items()})
            raise UnsupportedModelError(
                f"{name!r} has an index that contradicts its files on the place of "
                f"{_shown(wrong)}: readers would take different weights. Download it again."
            )
        if not any(tensor.startswith("model.") for tensor in self.headers):
            # Saved without its head, as a part of another model: the same tensors by short names.
            self.headers = {
                tensor if tensor in (HEAD, CONVERTED_HEAD) else f"model.{tensor}": header
                for tensor, header in self.headers.items()
            }
            self._prefix = "model."
        else:
            self._prefix = ""

    def rows(self, tensor: str, places: Sequence[int]) -> Tensor:
        """Return rows of a tensor, Shape (places, …) float32."""
        file = self.headers[tensor].file
        stored = tensor.removeprefix(self._prefix)
        if file.suffix == ".bin":
            values = torch.load(file, map_location="cpu", weights_only=True, mmap=True)[stored]
            return torch.stack([values[place] for place in places]).float()
        with safe_open(file, framework="pt") as tensors:
            source = tensors.get_slice(stored)
            return torch.cat([source[place : place + 1] for place in places]).float()


def _headers(file: Path, name: str) -> dict[str, Header]:
    try:
        if file.suffix == ".bin":
            state = torch.load(file, map_location="meta", weights_only=True, mmap=True)
            return {
                tensor: Header(
                    _TORCH_NAMES.get(value.dtype, str(value.dtype)), tuple(value.shape), file
                )
                for tensor, value in state.items()
            }
        with safe_open(file, framework="pt") as tensors:
            slices = {tensor: tensors.get_slice(tensor) for tensor in tensors.keys()}  # noqa: SIM118
            return {
                tensor: Header(part.get_dtype(), tuple(part.get_shape()), file)
                for tensor, part in slices.items()
            }
    except Exception as error:  # of safetensors, pickle and zip
        raise ModelLoadError(f"could not load {name!r}: {file} is damaged: {error}") from error


def read_shapes(config: Any, *, is_causal: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors that the forward of this config reads, by name.

    Source: transformers ``models/qwen3/modeling_qwen3.py``.
    """
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    d = int(getattr(config, "head_dim", None) or width // config.num_attention_heads)
    heads, kv_heads = d * int(config.num_attention_heads), d * int(config.num_key_value_heads)
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (width,),
        "self_attn.q_proj.weight": (heads, width),
        "self_attn.k_proj.weight": (kv_heads, width),
        "self_attn.v_proj.weight": (kv_heads, width),
        "self_attn.q_norm.weight": (d,),
        "self_attn.k_norm.weight": (d,),
        "self_attn.o_proj.weight": (width, heads),
        "post_attention_layernorm.weight": (width,),
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
    }
    if config.attention_bias:
        for projection in "qkvo":
            rows = layer[f"self_attn.{projection}_proj.weight"][0]
            layer[f"self_attn.{projection}_proj.bias"] = (rows,)
    vocabulary = (int(config.vocab_size), width)
    shapes = {EMBEDDING: vocabulary, "model.norm.weight": (width,)}
    for number in range(int(config.num_hidden_layers)):
        shapes |= {f"model.layers.{number}.{part}": shape for part, shape in layer.items()}
    if not is_causal:
        shapes[CONVERTED_HEAD] = (1, width)
    elif not config.tie_word_embeddings:
        shapes[HEAD] = vocabulary
    return shapes


def check_tensors(
    tensors: Tensors,
    config: Any,
    name: str,
    *,
    is_causal: bool,
    answer_ids: Sequence[int],
    reads_quantised: bool = False,
) -> None:
    """Raise unless the files hold exactly the tensors that are read.

    Harmless are a head beside tied embeddings that has their rows, and rotary frequencies that are
    those of the config.

    Args:
        tensors: The tensors of the files.
        config: The checkpoint's.
        name: The caller's name for it, for messages.
        is_causal: Whether the head is that of a language model.
        answer_ids: The ids of "yes" and "no".
        reads_quantised: Whether what computes scales quantised linear layers itself.

    Raises:
        UnsupportedModelError: Names tensors that are missing, unread, or of another shape or dtype,
            or a head that tells "yes" from "no" by nothing.
    """
    expected = read_shapes(config, is_causal=is_causal)
    found = tensors.headers
    if reads_quantised:
        found = {tensor: header for tensor, header in found.items() if not _LINEAR.match(tensor)}
        expected = {tensor: s for tensor, s in expected.items() if not _LINEAR.match(tensor)}
    check_missing([tensor for tensor in expected if tensor not in found], name)
    check_unread(
        [
            tensor
            for tensor in found
            if tensor not in expected
            and not _spared(
                tensor, tensors, config, is_causal=is_causal, answer_ids=answer_ids, name=name
            )
        ],
        name,
    )
    for tensor, shape in expected.items():
        header = found[tensor]
        if header.dtype not in _FLOATS:
            raise UnsupportedModelError(
                f"{name!r} has {tensor} in {header.dtype}: such numbers mean nothing without the "
                f"scales of their quantisation. Expected one of {', '.join(sorted(_FLOATS))}."
            )
        if header.shape != shape:
            raise UnsupportedModelError(
                f"{name!r} has {tensor} of shape {header.shape}, its config.json says {shape}: "
                "they are of different models"
            )
    if is_causal and not reads_quantised:
        head = HEAD if HEAD in expected else EMBEDDING
        yes, no = tensors.rows(head, answer_ids)
        if torch.equal(yes, no):
            raise UnsupportedModelError(
                f'{name!r} has the same numbers for "yes" as for "no" in {head}, so every score '
                "would be 0.5: its head was not saved, or never loaded by what saved it. Download "
                "it again."
            )


def check_missing(absent: Sequence[str], name: str) -> None:
    """Raise if weights are missing from the files."""
    if absent:
        raise UnsupportedModelError(
            f"{name!r} lacks the weights {_shown(absent)}. They would be newly initialised, and "
            "every score random. A Qwen3-Reranker is a Qwen3ForCausalLM, or its conversion with a "
            "trained score.weight; a folder that was only relabelled as a classifier is neither."
        )


def check_unread(unread: Sequence[str], name: str) -> None:
    """Raise if the files have tensors that are not read."""
    if unread:
        raise UnsupportedModelError(
            f"{name!r} has weights that nothing would read: {_shown(sorted(unread))}. "
            f"{_reason(unread)}, so its scores would be wrong."
        )


def is_frequency(tensor: str) -> bool:
    """Return whether a name is that of saved rotary frequencies, which are recomputed."""
    return _FREQUENCIES.fullmatch(tensor) is not None


def _spared(
    tensor: str,
    tensors: Tensors,
    config: Any,
    *,
    is_causal: bool,
    answer_ids: Sequence[int],
    name: str,
) -> bool:
    """Return whether an unread tensor can be ignored safely.

    Raises:
        UnsupportedModelError: It contradicts what is read instead.
    """
    if tensor == HEAD and is_causal and config.tie_word_embeddings:
        embedding = tensors.headers[EMBEDDING]
        if tensors.headers[HEAD].shape == embedding.shape and torch.equal(
            tensors.rows(HEAD, answer_ids), tensors.rows(EMBEDDING, answer_ids)
        ):
            return True
        raise UnsupportedModelError(
            f"{name!r} says in config.json that its head is tied to its embeddings "
            "(tie_word_embeddings), and has an lm_head.weight that differs from them. If that is "
            'the trained head, set "tie_word_embeddings": false; else remove it.'
        )
    if is_frequency(tensor):
        rope = _rope(config)
        d = int(getattr(config, "head_dim", None) or 0)
        powers = torch.arange(0, d, 2, dtype=torch.float32) / max(d, 1)
        frequencies = float(rope.get("rope_theta", 10000.0)) ** -powers
        header = tensors.headers[tensor]
        return (
            rope.get("rope_type", "default") == "default"
            and header.shape == tuple(frequencies.shape)
            and torch.allclose(tensors.rows(tensor, range(len(frequencies))), frequencies, 1e-2)
        )
    return False


def _rope(config: Any) -> Mapping[str, Any]:
    """Return the rotary parameters; transformers before 5 keeps the base beside them."""
    rope = dict(getattr(config, "rope_parameters", None) or config.rope_scaling or {})
    rope.setdefault("rope_theta", getattr(config, "rope_theta", None) or 10000.0)
    return rope


def _reason(unread: Sequence[str]) -> str:
    """Return the probable reason for unread tensors with these names."""
    if any(map(_ADAPTER.search, unread)):
        return (
            "They are those of an adapter (LoRA) that was not merged: see peft's merge_and_unload"
        )
    if any(map(_SCALES.search, unread)):
        return "They are those of quantised layers that nothing would scale"
    if any(tensor.endswith(".bias") for tensor in unread):
        return "config.json says that the model has no such bias (attention_bias)"
    if all(tensor.startswith("model.layers.") for tensor in unread):
        return "config.json says that the model has fewer layers (num_hidden_layers)"
    return "The model is not the plain Qwen3 that its config.json describes"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
