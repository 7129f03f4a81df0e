"""Checks that a checkpoint's tensors are exactly those that the forward pass reads.

Files are judged by their headers, before gigabytes are read. An unread tensor of a file
means that the model differs from its config: an adapter's, a bias, the scales of
a quantised layer, more layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.rotary import frequencies
from shared_core.scorers.local.checkpoints.weights import Header, Weights, shown

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
CONVERTED_HEAD = "score.weight"

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
# Rotary frequencies, which transformers wrote into files before 4.32.
_FREQUENCIES = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
# What quantised linear layers of a decoder layer have instead of, or beside, their weight.
LINEAR = re.compile(
    r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.(?P<part>.+)"
)
_ADAPTER = re.compile(r"lora|adapter|\bia3|base_layer", re.IGNORECASE)
_SCALES = re.compile(r"scale|zero|qweight|packed|absmax|quant|g_idx|SCB")


def read_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors that the forward of this config reads, by name.

    Source: transformers ``models/qwen3/modeling_qwen3.py``.
    """
    width, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv_heads = d * config.num_attention_heads, d * config.num_key_value_heads
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
    vocabulary = (config.vocab_size, width)
    shapes = {EMBEDDING: vocabulary, "model.norm.weight": (width,)}
    for number in range(config.num_hidden_layers):
        shapes |= {f"model.layers.{number}.{part}": shape for part, shape in layer.items()}
    if not config.is_causal:
        shapes[CONVERTED_HEAD] = (1, width)
    elif not config.tie_word_embeddings:
        shapes[HEAD] = vocabulary
    return shapes


def check_tensors(
    weights: Weights,
    config: ModelConfig,
    name: str,
    *,
    answer_ids: Sequence[int],
    reads_quantised: bool = False,
) -> None:
    """Raise unless the files hold exactly the tensors that are read.

    Harmless are a head beside tied embeddings that has their rows, biases of zeros, and rotary
    frequencies that are those of the config.

    Args:
        weights: The tensors of the files.
        config: The checkpoint's.
        name: The caller's name for it, for messages.
        answer_ids: The ids of "yes" and "no", or of "yes" alone.
        reads_quantised: Whether the backend scales quantised linear layers itself.

    Raises:
        UnsupportedModelError: Names tensors that are missing, unread, or of another shape or dtype,
            or a head that tells "yes" from "no" by nothing.
    """
    expected = read_shapes(config)
    found = weights.headers
    if reads_quantised:
        found = {tensor: header for tensor, header in found.items() if not LINEAR.match(tensor)}
        expected = {tensor: s for tensor, s in expected.items() if not LINEAR.match(tensor)}
    check_missing([tensor for tensor in expected if tensor not in found], name)
    check_unread(
        [
            tensor
            for tensor in found
            if tensor not in expected and not _spared(tensor, weights, config, answer_ids, name)
        ],
        name,
    )
    check_shapes(found, expected, name)
    if config.is_causal and not reads_quantised:
        head = HEAD if HEAD in expected else EMBEDDING
        rows = weights.rows(head, answer_ids)
        if len(rows) == 2 and torch.equal(rows[0], rows[1]):
            raise UnsupportedModelError(
                f'{name!r} has the same numbers for "yes" as for "no" in {head}, so every score '
                "would be 0.5: its head was not saved, or never loaded by what saved it. Download "
                "it again."
            )


def check_shapes(
    found: Mapping[str, Header], expected: Mapping[str, tuple[int, ...]], name: str
) -> None:
    """Raise if a tensor has another shape than expected, or numbers that mean nothing alone."""
    for tensor, shape in expected.items():
        header = found[tensor]
        if header.dtype not in FLOATS:
            raise UnsupportedModelError(
                f"{name!r} has {tensor} in {header.dtype}: such numbers mean nothing without the "
                f"scales of their quantisation. Expected one of {', '.join(sorted(FLOATS))}."
            )
        if header.shape != shape:
            raise UnsupportedModelError(
                f"{name!r} has {tensor} of shape {header.shape}, its config.json says {shape}: "
                "they are of different models"
            )


def check_missing(absent: Sequence[str], name: str) -> None:
    """Raise if weights are missing from the files."""
    if absent:
        raise UnsupportedModelError(
            f"{name!r} lacks the weights {shown(absent)}. They would be newly initialised, and "
            "every score random. A Qwen3-Reranker is a Qwen3ForCausalLM, or its conversion with a "
            "trained score.weight; a folder that was only relabelled as a classifier is neither."
        )


def check_unread(unread: Sequence[str], name: str) -> None:
    """Raise if the files have tensors that are not read."""
    if unread:
        raise UnsupportedModelError(
            f"{name!r} has weights that nothing would read: {shown(sorted(unread))}. "
            f"{_reason(unread)}, so its scores would be wrong."
        )


def _spared(
    tensor: str, weights: Weights, config: ModelConfig, answer_ids: Sequence[int], name: str
) -> bool:
    """Return whether an unread tensor can be ignored safely.

    Raises:
        UnsupportedModelError: The tensor contradicts the one that is read instead.
    """
    if tensor == HEAD and config.is_causal and config.tie_word_embeddings:
        embedding = weights.headers[EMBEDDING]
        if weights.headers[HEAD].shape == embedding.shape and torch.equal(
            weights.rows(HEAD, answer_ids), weights.rows(EMBEDDING, answer_ids)
        ):
            return True
        raise UnsupportedModelError(
            f"{name!r} says in config.json that its head is tied to its embeddings "
            "(tie_word_embeddings), and has an lm_head.weight that differs from them. If that is "
            'the trained head, set "tie_word_embeddings": false; else remove it.'
        )
    if tensor.endswith(".bias") and LINEAR.fullmatch(tensor):
        return not bool(weights.read(tensor).any())  # AutoGPTQ gives every layer one
    if _FREQUENCIES.fullmatch(tensor):
        expected, _ = frequencies(config)
        return weights.headers[tensor].shape == tuple(expected.shape) and torch.allclose(
            weights.read(tensor).float(), expected, 1e-2
        )
    return False


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
