"""The Qwen3 transformer over a pack.

Only what a reranker needs is computed: no padding, no vocabulary, and in the last layer nothing but
the last position of each document, where the answer is read. The residual stream, norms, rotations
and the softmax are float32 whatever the weights are.

Shapes: t tokens, n documents, w width of the model, g key-value heads, r query heads per key-value
head, d width of a head.

Source: transformers ``models/qwen3/modeling_qwen3.py``, which the parity tests compare it with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.scorers.local.attention import Attention
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.rotary import frequencies
from shared_core.scorers.local.embedding import Embedding
from shared_core.scorers.local.flash import choose_attention
from shared_core.scorers.local.packing import Pack
from shared_core.scorers.local.projection import Projection
from shared_core.scorers.local.rotation import Rotation

# Rows of a pack that go through the element-wise work at a time, so that they stay in the cache of
# a CPU from one step to the next. On other devices fewer, larger steps are better.
_CHUNK_ROWS = {"cpu": 512}


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one layer. Norms are float32; the query norm includes 1/√d."""

    input_norm: Tensor
    qkv: Projection
    query_norm: Tensor
    key_norm: Tensor
    output: Projection
    mlp_norm: Tensor
    gate_up: Projection
    down: Projection


class Backbone:
    """Computes the last hidden state of each document of a pack.

    Attributes:
        device: The device of the weights.
        dtype: The dtype of the inputs of matrix products.
        n_weights: Weights in the layers.

    Args:
        config: The model's sizes.
        embedding: The token embeddings.
        layers: The layers, in order.
        norm: The weight of the last norm, Shape (w,) float32.
        dtype: The dtype of the inputs of matrix products.
        stream: The rotation of the residual stream that the layers were turned for.
        attention: The attention; ``None`` chooses it by device and dtype.
    """

    def __init__(
        self,
        config: ModelConfig,
        embedding: Embedding,
        layers: Sequence[Layer],
        norm: Tensor,
        *,
        dtype: torch.dtype,
        stream: Rotation | None = None,
        attention: Attention | None = None,
    ) -> None:
        self.device, self.dtype = norm.device, dtype
        self.n_weights = config.n_layer_weights
        self._embedding, self._layers, self._norm = embedding, layers, norm
        self._stream = stream
        self._eps = config.rms_norm_eps
        self._d, self._h = config.head_dim, config.num_attention_heads
        self._g = config.num_key_value_heads
        per_position, self._rotary_scaling = frequencies(config)
        self._per_position = per_position.to(self.device)
        self._like = torch.empty(0, dtype=dtype, device=self.device)
        self._attention = attention or choose_attention(
            self.device, self.dtype, self._h, self._g, self._d
        )

    def last_hidden(self, pack: Pack) -> Tensor:
        """Return the normed last hidden state of each document, Shape (n, w) float32."""
        t, device = len(pack.ids), self.device
        ids = torch.tensor(pack.ids, device=device)
        positions = torch.tensor(pack.position_ids, device=device)
        last = torch.tensor([span.stop - 1 for span in pack.document_spans], device=device)
        cos, sin = self._angles(positions)
        plan = self._attention.plan(pack.spans, t)
        residual = self._embedding(ids)
        if self._stream is not None:
            residual = self._stream.turn(residual)
        for layer in self._layers[:-1]:
            query, key, value = self._qkv(layer, residual, cos, sin)
            mixed = self._attention(query, key, value, plan)
            self._feed_forward(layer, residual, mixed)

        layer = self._layers[-1]
        query, key, value = self._qkv(layer, residual, cos, sin)
        residual = residual[last]
        plan = self._attention.plan_last(pack.document_spans)
        mixed = self._attention(query[:, last], key, value, plan)
        self._feed_forward(layer, residual, mixed)
        if self._stream is not None:
            residual = self._stream.turn_back(residual)
        return self._normed(residual, self._norm)

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        step = _CHUNK_ROWS.get(self.device.type, n_rows)
        return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the rotations, each Shape (t, 1, d / 2) float32."""
        angles = positions[:, None].float() * self._per_position
        cos, sin = angles.cos() * self._rotary_scaling, angles.sin() * self._rotary_scaling
        return cos[:, None], sin[:, None]

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the root-mean-square norm over the last dimension, float32."""
        return F.rms_norm(x, weight.shape, weight, self._eps)

    def _qkv(
        self, layer: Layer, residual: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (g, t, r, d), keys and values (g, t, d) of all tokens."""
        t, g, d = len(residual), self._g, self._d
        r = self._h // g
        query, key, value = self._empty(t, r), self._empty(t), self._empty(t)
        for rows in self._chunks(t):
            x = self._normed(residual[rows], layer.input_norm).to(self.dtype)
            q, k, v = (heads.view(len(x), -1, d) for heads in layer.qkv(x))
            q = self._rotated(q, layer.query_norm, cos[rows], sin[rows])
            k = self._rotated(k, layer.key_norm, cos[rows], sin[rows])
            query[:, rows] = q.view(-1, g, r, d).transpose(0, 1)
            key[:, rows] = k.transpose(0, 1)
            value[:, rows] = v.transpose(0, 1)
        return query, key, value

    def _empty(self, t: int, *rest: int) -> Tensor:
        """Return an empty tensor for the heads' values of t tokens, Shape (g, t, *rest, d)."""
        if self._attention.tokens_first:
            return self._like.new_empty(t, self._g, *rest, self._d).transpose(0, 1)
        return self._like.new_empty(self._g, t, *rest, self._d)

    def _rotated(self, heads: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return normed heads rotated by their positions' angles, Shape unchanged, float32."""
        x = self._normed(heads.float(), weight)
        half = self._d // 2
        left, right = x[..., :half], x[..., half:]
        turned = torch.empty_like(x)
        torch.mul(left, cos, out=turned[..., :half]).addcmul_(right, sin, value=-1)
        torch.mul(right, cos, out=turned[..., half:]).addcmul_(left, sin)
        return turned

    def _feed_forward(self, layer: Layer, residual: Tensor, mixed: Tensor) -> None:
        """Add the attention's output and then the MLP's to the residual, in place."""
        for rows in self._chunks(len(residual)):
            stream = residual[rows]
            stream += layer.output(mixed[rows])[0]
            gate, up = layer.gate_up(self._normed(stream, layer.mlp_norm).to(self.dtype))
            stream += layer.down(F.silu(gate).mul_(up))[0]
