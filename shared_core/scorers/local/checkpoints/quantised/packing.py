"""Numbers of a few bits in 32-bit words."""

from __future__ import annotations

from math import ceil, gcd

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name


def n_words(count: int, bits: int) -> int:
    """Return how many words hold some numbers without gaps."""
    return ceil(count * bits / 32)


def unpacked(words: Tensor, bits: int, count: int) -> Tensor:
    """Return the numbers of each row of words, which lie there without gaps, low bits first.

    Args:
        words: Shape (…, n) int32; n is `n_words` of the count.
        bits: Bits of a number, at most 8. Its bits may be in two words.
        count: The numbers of a row.

    Returns:
        Shape (…, count) uint8.
    """
    step = bits // gcd(bits, 32)  # in words: from there numbers lie as from the beginning
    words = F.pad(words, (0, -words.shape[-1] % step))
    period = 32 * step // bits
    shape = (*words.shape[:-1], words.shape[-1] // step, period)
    numbers = words.new_empty(shape, dtype=torch.uint8)
    for place in range(period):
        word, shift = divmod(place * bits, 32)
        value = (words[..., word::step] >> shift) & ((1 << min(bits, 32 - shift)) - 1)
        if shift + bits > 32:
            value |= words[..., word + 1 :: step] << (32 - shift)
        numbers[..., place] = value & ((1 << bits) - 1)
    return numbers.flatten(-2)[..., :count]
