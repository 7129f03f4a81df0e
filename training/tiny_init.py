"""A structured start: embeddings that know spelling and rarity, heads that already match.

Nothing here is learnt from data but token counts. After Trockman & Kolter 2023 (mimetic
initialisation): weights are set near what such a network is known to learn, so that training
begins after the plateau instead of before it. All of it stays trainable.

The first `RESERVED` coordinates of the residual stream are given a meaning; the rest holds a
token's content, a sum of hashed character n-grams (as in fastText), so that `planet`, ` Planets`
and `planetary` begin as neighbours in every script.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from tiny_model import ROPE_THETA, SHAPE, GroupReranker
from tokenizers import Tokenizer
from torch import Tensor

CONSTANT, RARITY, MARKER, IN_DOCUMENT, IN_QUERY, ANSWER, IS_DOCUMENT, IS_QUERY = range(8)
MATCH, SIGNAL, MATCH_AGAIN, GATHERED = range(8, 12)
RESERVED = 12
NOISE = 0.01
GAINS = (1.6, 1.4, 1.4, 1.4)  # of q_norm and k_norm, by layer: how sharp attention is


def _ngrams(word: str) -> list[tuple[str, float]]:
    """(character n-gram, weight): lengths 2 to 4 with the word's bounds marked, and the word."""
    grams = [(f"={word}", 1.0)]
    marked = f"<{word}>"
    inner = [marked[i : i + n] for n in (2, 3, 4) for i in range(len(marked) - n + 1)]
    if len(word) > 1:
        grams += [(gram, 1.0 / math.sqrt(len(inner))) for gram in inner]
    return grams


def _hashed(text: str, width: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(width)


def embeddings(tokenizer: Tokenizer, counts: Tensor) -> Tensor:
    """[vocabulary, hidden] float32.

    Args:
        tokenizer: whose vocabulary it is.
        counts: [vocabulary], how often each token occurs in the training texts.
    """
    width = SHAPE["hidden_size"] - RESERVED
    table = np.zeros((len(counts), SHAPE["hidden_size"]), dtype=np.float32)
    cache: dict[str, np.ndarray] = {}
    for token, row in tokenizer.get_vocab(with_added_tokens=True).items():
        text = tokenizer.decoder.decode([token])
        word = token if "\ufffd" in text or not text.strip() else text.strip().lower()
        vector = 0.3 * _hashed(f"token {token}", width)
        for gram, weight in _ngrams(word):
            if gram not in cache:
                cache[gram] = _hashed(gram, width)
            vector = vector + weight * cache[gram]
        table[row, RESERVED:] = vector / vector.std()
    share = counts.double().clamp(min=1) / counts.sum()
    table[:, RARITY] = (-share.log() - 7).clamp(-4, 5).numpy() * 0.6
    table[:, CONSTANT] = 3.0
    for token, order, flag in (("<Document", 6.0, IS_DOCUMENT), ("<Query", 3.0, IS_QUERY)):
        row = tokenizer.encode(token).ids[0]
        table[row, MARKER], table[row, flag] = order, 6.0
    yes, no = tokenizer.encode("yes").ids[0], tokenizer.encode("no").ids[0]
    table[yes, RESERVED:] = table[no, RESERVED:]
    table[yes, :RESERVED] = table[no, :RESERVED]
    table[yes, ANSWER], table[no, ANSWER] = 0.5, -0.5
    return torch.from_numpy(table)


def _random(rows: int, columns: int, scale: float) -> Tensor:
    return torch.randn(rows, columns) * scale / math.sqrt(columns)


@dataclass
class HeadWeights:
    """One layer's attention by head: q [h, d, e], k and v [kv heads, d, e], o [h, d, e]."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor

    @staticmethod
    def noisy(heads: int, kv_heads: int, d: int, e: int) -> HeadWeights:
        """q and k nearly zero; v and o random, o writing to content coordinates only."""
        q, k = torch.randn(heads, d, e) * NOISE, torch.randn(kv_heads, d, e) * NOISE
        v = _random(kv_heads * d, e, 1.0).view(kv_heads, d, e)
        o = _random(heads * d, e, 0.25).view(heads, d, e)
        o[:, :, :RESERVED] = 0.0
        return HeadWeights(q, k, v, o)

    def carry(self, group: int, head: int, place: int, source: int, to: int, by: float) -> None:
        """Value dimension `place` copies coordinate `source` to coordinate `to`, times `by`."""
        self.v[group, place] = 0.0
        self.v[group, place, source] = 1.0
        self.o[head, place, to] = by


def _slow(d: int) -> tuple[Tensor, Tensor]:
    """Two sets of four rotary pairs that hardly turn over thousands of tokens."""
    return torch.arange(d // 2 - 8, d // 2 - 4), torch.arange(d // 2 - 4, d // 2)


def _look_back(w: HeadWeights, d: int) -> None:
    """Heads 0 and 1 attend one and two tokens back: the query is the constant, turned by RoPE."""
    fast = torch.arange(6)
    w.k[0, fast, CONSTANT] = 1.0
    for head, offset in ((0, 1), (1, 2)):
        angle = offset * ROPE_THETA ** (-2 * fast / d)
        w.q[head, fast, CONSTANT] = angle.cos()
        w.q[head, fast + d // 2, CONSTANT] = -angle.sin()


def _mark_segments(w: HeadWeights, d: int) -> None:
    """Head 2 attends to `<Document`, else to `<Query`, and notes which it found."""
    near, rest = _slow(d)
    w.k[1, near, MARKER] = 1.0
    w.k[1, rest, CONSTANT] = 1.0
    w.q[2, near, CONSTANT] = 1.0
    w.carry(1, 2, 0, IS_DOCUMENT, IN_DOCUMENT, 0.5)
    w.carry(1, 2, 1, IS_QUERY, IN_QUERY, 0.5)


def _match(w: HeadWeights, d: int, group: int, to: int) -> None:
    """Both heads of `group` attend to equal content; the first one prefers the query's tokens."""
    half, e = d // 2, w.q.shape[-1]
    where = torch.cat((torch.arange(10, half), torch.arange(10, half) + half))
    same = torch.zeros(len(where), e)
    same[:, RESERVED:] = _random(len(where), e - RESERVED, 1.0)
    _, bonus = _slow(d)
    w.k[group, where] += same
    w.q[2 * group, where] += same
    w.q[2 * group + 1, where] += same
    w.k[group, bonus], w.q[2 * group, bonus] = 0.0, 0.0
    w.k[group, bonus, IN_QUERY] = 0.7
    w.q[2 * group, bonus, CONSTANT] = 0.7
    w.carry(group, 2 * group, 0, IN_QUERY, to, 0.5)


def _gather(w: HeadWeights, d: int, group: int, to: int) -> None:
    """Both heads of `group` attend to rare matched tokens, the second one less sharply."""
    near, rest = _slow(d)
    w.k[group, near, SIGNAL] = 1.0
    w.k[group, rest, CONSTANT] = 2.0
    w.q[2 * group, near, CONSTANT] = 1.0
    w.q[2 * group + 1, near, CONSTANT] = 0.6
    w.q[2 * group + 1, near + d // 2, CONSTANT] = 0.8
    w.v[group, 0] = 0.0
    w.v[group, 0, SIGNAL] = 1.0
    w.o[2 * group, 0, to] = w.o[2 * group + 1, 0, to] = 2.0


def structured_init(model: GroupReranker, tokenizer: Tokenizer, counts: Tensor) -> None:
    """Sets every weight of `model`; random numbers come from torch's global generator.

    Layer 0 notes the two previous tokens and whether a token belongs to the query or the document;
    in layer 1 a document's token looks for itself in the query, and one MLP unit multiplies
    "found" by rarity; layer 2 looks again, with context; in layer 3 the last token gathers.
    """
    e, d, inner = SHAPE["hidden_size"], SHAPE["head_dim"], SHAPE["intermediate_size"]
    heads, kv_heads = SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"]
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(embeddings(tokenizer, counts))
        for number, layer in enumerate(model.model.layers):
            w = HeadWeights.noisy(heads, kv_heads, d, e)
            gate, up = _random(inner, e, 1.0), _random(inner, e, 1.0)
            down = _random(e, inner, 0.5)
            down[:RESERVED] = 0.0
            if number == 0:
                _look_back(w, d)
                _mark_segments(w, d)
            if number == 1:
                for group in range(kv_heads):
                    _match(w, d, group, MATCH)
                for matrix, terms in (
                    (gate, {MATCH: 4.0, IN_DOCUMENT: 4.0, CONSTANT: -4.8}),
                    (up, {RARITY: 1.0, CONSTANT: 0.6}),
                ):
                    matrix[0] = 0.0
                    for coordinate, value in terms.items():
                        matrix[0, coordinate] = value
                down[SIGNAL, 0] = 0.15
            if number == 2:
                _match(w, d, 0, MATCH_AGAIN)
                _gather(w, d, 1, GATHERED)
            if number == 3:
                _gather(w, d, 0, ANSWER)
            attention, mlp = layer.self_attn, layer.mlp
            attention.q_proj.weight.copy_(w.q.view(heads * d, e))
            attention.k_proj.weight.copy_(w.k.view(kv_heads * d, e))
            attention.v_proj.weight.copy_(w.v.view(kv_heads * d, e))
            attention.o_proj.weight.copy_(w.o.view(heads * d, e).T)
            attention.q_norm.weight.fill_(GAINS[number])
            attention.k_norm.weight.fill_(GAINS[number])
            mlp.gate_proj.weight.copy_(gate)
            mlp.up_proj.weight.copy_(up)
            mlp.down_proj.weight.copy_(down)


def plain_init(model: GroupReranker) -> None:
    """Transformers' own start: normal, standard deviation 0.02."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.02)
