"""A plain-PyTorch Qwen3 forward over groups, whose state dict is `Qwen3ForCausalLM`'s own.

Legend: b groups · n documents of a group · p prefix tokens · t tokens of a document and suffix ·
h query heads · d head width · e hidden width.

A group is one query and its n documents. The prefix is computed once, every document attends to
the prefix's keys and, causally, to itself; nothing else is shared, so the margins are those of
scoring each (query, document) prompt by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
ROPE_THETA = 1_000_000.0
SHAPE = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
}


def hf_config(vocabulary: int, pad_id: int, eos_id: int) -> dict:
    """The keyword arguments of `Qwen3Config` for this shape."""
    return SHAPE | {
        "vocab_size": vocabulary,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "rms_norm_eps": EPSILON,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "hidden_act": "silu",
        "use_sliding_window": False,
        "initializer_range": 0.02,
        "pad_token_id": pad_id,
        "eos_token_id": eos_id,
        "bos_token_id": None,
    }


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, EPSILON)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE in Hugging Face's half-split layout: pairs are (i, i + d/2). Shape of `x`."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def angles(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """(cos, sin), each of shape positions.shape + [1, width / 2]; the 1 is the head axis."""
    steps = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    angle = positions[..., None, None].float() * ROPE_THETA**-steps
    return angle.cos(), angle.sin()


def pick(x: Tensor, last: Tensor) -> Tensor:
    """[b, n, 1, w]: the rows of `x` [b, n, t, w] at `last` [b, n]."""
    return x.gather(2, last[..., None, None].expand(-1, -1, 1, x.shape[-1]))


class Attention(nn.Module):
    def __init__(self, e: int, heads: int, kv_heads: int, d: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.d = heads, kv_heads, d
        self.q_proj = nn.Linear(e, heads * d, bias=False)
        self.k_proj = nn.Linear(e, kv_heads * d, bias=False)
        self.v_proj = nn.Linear(e, kv_heads * d, bias=False)
        self.o_proj = nn.Linear(heads * d, e, bias=False)
        self.q_norm = RMSNorm(d)
        self.k_norm = RMSNorm(d)

    def project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """q [..., t, h, d], k and v [..., t, kv heads, d] for `x` of shape [..., t, e]."""
        q = self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, self.d)))
        k = self.k_norm(self.k_proj(x).unflatten(-1, (self.kv_heads, self.d)))
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.d))
        return rotate(q, *rope), rotate(k, *rope), v


class MLP(nn.Module):
    def __init__(self, e: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(e, inner, bias=False)
        self.up_proj = nn.Linear(e, inner, bias=False)
        self.down_proj = nn.Linear(inner, e, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        e = SHAPE["hidden_size"]
        self.self_attn = Attention(
            e, SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"], SHAPE["head_dim"]
        )
        self.mlp = MLP(e, SHAPE["intermediate_size"])
        self.input_layernorm = RMSNorm(e)
        self.post_attention_layernorm = RMSNorm(e)

    def forward(
        self,
        prefix: Tensor,
        documents: Tensor,
        rope: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
        mask: Tensor,
        last: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same two shapes as `prefix` [b, p, e] and `documents` [b, n, t, e].

        Args:
            mask: [b, n, 1, t, p + t] float32, added to the attention logits of the documents.
            last: [b, n], in the final layer: the one token of each document that is read out.
                Only it is computed, documents come back as [b, n, 1, e] and `prefix` as it was.
        """
        attention = self.self_attn
        q, k, v = attention.project(self.input_layernorm(prefix), rope[0])
        q_doc, k_doc, v_doc = attention.project(self.input_layernorm(documents), rope[1])
        if last is None:
            q, k_, v_ = (x.transpose(1, 2) for x in (q, k, v))  # [b, h, p, d]
            seen = functional.scaled_dot_product_attention(
                q, k_, v_, is_causal=True, enable_gqa=True
            )
            x = prefix + attention.o_proj(seen.transpose(1, 2).flatten(2))
            x = x + self.mlp(self.post_attention_layernorm(x))
        else:
            x = prefix
            q_doc = pick(q_doc.flatten(3), last).unflatten(-1, q_doc.shape[3:])
            documents, mask = pick(documents, last), pick(mask.squeeze(2), last).unsqueeze(2)
        b, n, t = q_doc.shape[:3]
        keys = torch.cat((k[:, None].expand(-1, n, -1, -1, -1), k_doc), 2)
        values = torch.cat((v[:, None].expand(-1, n, -1, -1, -1), v_doc), 2)
        q_doc, keys, values = (y.flatten(0, 1).transpose(1, 2) for y in (q_doc, keys, values))
        seen = functional.scaled_dot_product_attention(
            q_doc, keys, values, mask.flatten(0, 1), enable_gqa=True
        )
        seen = seen.transpose(1, 2).reshape(b, n, t, -1)
        documents = documents + attention.o_proj(seen)
        return x, documents + self.mlp(self.post_attention_layernorm(documents))


class Body(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        e = SHAPE["hidden_size"]
        self.embed_tokens = nn.Embedding(vocabulary, e)
        self.layers = nn.ModuleList(Layer() for _ in range(SHAPE["num_hidden_layers"]))
        self.norm = RMSNorm(e)


class GroupReranker(nn.Module):
    """`Qwen3ForCausalLM`'s weights, read out as the margin logit(yes) − logit(no)."""

    def __init__(self, vocabulary: int, yes_id: int, no_id: int) -> None:
        super().__init__()
        self.model = Body(vocabulary)
        self.yes_id, self.no_id = yes_id, no_id

    def forward(
        self, prefix: Tensor, prefix_lengths: Tensor, documents: Tensor, lengths: Tensor
    ) -> Tensor:
        """Margins [b, n], float32.

        Args:
            prefix: ids [b, p], padded on the right.
            prefix_lengths: [b], tokens up to and including `<Document>:`.
            documents: ids [b, n, t] of document and suffix, padded on the right.
            lengths: [b, n], tokens of document and suffix.
        """
        p, t = prefix.shape[1], documents.shape[2]
        own = torch.arange(p, device=prefix.device)
        after = prefix_lengths[:, None, None] + torch.arange(t, device=prefix.device)
        rope = (angles(own[None], SHAPE["head_dim"]), angles(after, SHAPE["head_dim"]))
        far = (own >= prefix_lengths[:, None])[:, None, None, None, :].expand(
            -1, documents.shape[1], -1, t, -1
        )
        near = torch.ones(t, t, dtype=torch.bool, device=own.device).triu(1)
        near = near.expand(*far.shape[:3], t, t)
        mask = torch.zeros((), device=own.device).masked_fill(
            torch.cat((far, near), -1), torch.finfo(torch.float32).min
        )
        x, y = self.model.embed_tokens(prefix), self.model.embed_tokens(documents)
        for layer in self.model.layers[:-1]:
            x, y = layer(x, y, rope, mask)
        _, y = self.model.layers[-1](x, y, rope, mask, lengths - 1)
        head = self.model.embed_tokens.weight
        return self.model.norm(y.squeeze(2)) @ (head[self.yes_id] - head[self.no_id])
