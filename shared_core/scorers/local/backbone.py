"""The Qwen3 transformer over a pack.

Only what a reranker needs is computed: no padding, no vocabulary, and in the last layer nothing but
the last position of each document, where the answer is read. The residual stream, norms, rotations
and the softmax are float32 whatever the weights are.

Shapes: t tokens, n documents, w width of the model, g key-value heads, r query heads per key-value
head, d width of a head.

Sources: transformers ``models/qwen3/modeling_qwen3.py``, and where images are inserted
``models/qwen3_vl/modeling_qwen3_vl.py``, which the parity tests compare it with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_core.scorers.local.attention import Attention
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.rotary import frequencies, position_parts
from shared_core.scorers.local.devices import sent
from shared_core.scorers.local.elementwise import Elementwise, finite, rms_norm
from shared_core.scorers.local.elementwise_trial import choose_elementwise
from shared_core.scorers.local.embedding import Embedding
from shared_core.scorers.local.flash import choose_attention
from shared_core.scorers.local.inputs import Inputs
from shared_core.scorers.local.inserted import Inserted
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
        attention: The attention.
        elementwise: The work between the products.

    Args:
        config: The model's sizes.
        embedding: The token embeddings.
        layers: The layers, in order.
        norm: The weight of the last norm, Shape (w,) float32.
        dtype: The dtype of the inputs of matrix products.
        stream: The rotation of the residual stream that the layers were turned for.
        attention: The attention; ``None`` chooses it by device and dtype.
        elementwise: The work between the products; ``None`` chooses it likewise.
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
        elementwise: Elementwise | None = None,
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
        self._position_parts = position_parts(config).to(self.device)
        self._like = torch.empty(0, dtype=dtype, device=self.device)
        self.attention = attention or choose_attention(
            self.device, self.dtype, self._h, self._g, self._d
        )
        self.elementwise = elementwise or choose_elementwise(config, self.device, dtype)

    def plan(self, pack: Pack) -> Inputs:
        """Return what the forward of a pack reads, on the device, which is not waited for."""
        last = [span.stop - 1 for span in pack.document_spans]
        ids, positions, places = map(torch.tensor, (pack.ids, pack.position_ids, last))
        return Inputs(
            ids=sent(ids, self.device),
            positions=sent(positions, self.device)[:, None],
            last=sent(places, self.device),
            plan=self.attention.plan(pack.spans, len(pack.ids)),
            plan_last=self.attention.plan_last(pack.document_spans),
        )

    def last_hidden(self, pack: Pack) -> Tensor:
        """Return the normed last hidden state of each document, Shape (n, w) float32."""
        inputs = pack.inputs if isinstance(pack.inputs, Inputs) else self.plan(pack)
        return self.hidden(inputs, pack.inserted)

    def hidden(self, inputs: Inputs, inserted: Inserted | None = None) -> Tensor:
        """Return the normed last hidden states of planned documents, Shape (n, w) float32."""
        ids, last = inputs.ids, inputs.last
        additions: Sequence[Tensor] = ()
        if inserted is None:
            cos, sin = self._angles(inputs.positions)
            residual = self._embedding(ids)
        else:
            cos, sin = self._angles(inserted.positions[:, self._position_parts])
            residual = self._embedding(ids.index_fill(0, inserted.places, 0))
            residual[inserted.places] = inserted.embeddings.float()
            additions = inserted.additions
        residual = self._turned(residual)
        output: Tensor | None = None
        for number, layer in enumerate(self._layers[:-1]):
            query, key, value = self._qkv(layer, residual, output, cos, sin)
            mixed = self.attention(query, key, value, inputs.plan)
            output = self._feed_forward(layer, residual, mixed)
            if inserted is not None and number < len(additions):
                residual[inserted.places] += self._turned(additions[number].float())

        layer = self._layers[-1]
        query, key, value = self._qkv(layer, residual, output, cos, sin)
        residual = residual[last]
        mixed = self.attention(query[:, last], key, value, inputs.plan_last)
        output = self._feed_forward(layer, residual, mixed)
        if output is not None:
            residual += finite(output)
        if self._stream is not None:
            residual = self._stream.turn_back(residual)
        return rms_norm(residual, self._norm, self._eps)

    def _turned(self, x: Tensor) -> Tensor:
        """Return rows as the layers were turned for them, Shape (…, w) float32."""
        return x if self._stream is None else self._stream.turn(x)

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        step = _CHUNK_ROWS.get(self.device.type, n_rows)
        return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the rotations, each Shape (t, 1, d / 2) float32.

        Args:
            positions: One for all angles of a token, or one for each: Shape (t, 1) or (t, d / 2).
        """
        angles = positions.float() * self._per_position
        cos, sin = angles.cos() * self._rotary_scaling, angles.sin() * self._rotary_scaling
        return cos[:, None], sin[:, None]

    def _qkv(
        self, layer: Layer, residual: Tensor, output: Tensor | None, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (g, t, r, d), keys and values (g, t, d) of all tokens.

        An output of the layer before, Shape (t, w), is added to the residual first, in place.
        """
        t, g, d = len(residual), self._g, self._d
        r = self._h // g
        if self.attention.tokens_first and self.device.type not in _CHUNK_ROWS:
            products = layer.qkv(self._normed(layer, residual, output))
            norms = layer.query_norm, layer.key_norm
            heads = self.elementwise.heads(products, *norms, cos, sin)
            q, k, v = (values.to(self.dtype).transpose(0, 1) for values in heads)
            return q.view(g, r, t, d).transpose(1, 2), k, v
        query, key, value = self._empty(t, r), self._empty(t), self._empty(t)
        for rows in self._chunks(t):
            added = None if output is None else output[rows]
            products = layer.qkv(self._normed(layer, residual[rows], added))
            q, k, v = self.elementwise.heads(
                products, layer.query_norm, layer.key_norm, cos[rows], sin[rows]
            )
            query[:, rows] = q.view(-1, g, r, d).transpose(0, 1)
            key[:, rows] = k.transpose(0, 1)
            value[:, rows] = v.transpose(0, 1)
        return query, key, value

    def _empty(self, t: int, *rest: int) -> Tensor:
        """Return an empty tensor for the heads' values of t tokens, Shape (g, t, *rest, d)."""
        if self.attention.tokens_first:
            return self._like.new_empty(t, self._g, *rest, self._d).transpose(0, 1)
        return self._like.new_empty(self._g, t, *rest, self._d)

    def _normed(self, layer: Layer, stream: Tensor, output: Tensor | None) -> Tensor:
        if output is None:
            return self.elementwise.normed(stream, layer.input_norm)
        return self.elementwise.added(stream, output, layer.input_norm)

    def _feed_forward(self, layer: Layer, residual: Tensor, mixed: Tensor) -> Tensor | None:
        """Add the attention's output to the residual, in place, and the MLP's.

        Where all rows are computed at once, the MLP's output is returned instead, Shape (t, w): the
        next norm is computed as it is added, which reads the residual once.
        """
        for rows in self._chunks(len(residual)):
            stream = residual[rows]
            x = self.elementwise.added(stream, layer.output(mixed[rows])[0], layer.mlp_norm)
            output = layer.down(self.elementwise.gated(*layer.gate_up(x)))[0]
            if self.device.type not in _CHUNK_ROWS:
                return output
            stream += finite(output)
        return None
