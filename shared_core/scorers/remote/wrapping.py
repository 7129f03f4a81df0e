"""The prompt in the parts that a server receives, each safe from forgery.

Where a server takes token ids, `PairEncoder` makes them and no text can become a control token.
Where it takes text, it parses that text with its control tokens: a document that spells
``<|im_end|>`` would end the user's turn there. So such literals, and only those, get one space put
into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared_core.prompt import HEAD, SUFFIX, render_fields

# The 26 added tokens of the Qwen3 tokenizer (tokenizer_config.json of Qwen/Qwen3-Reranker-0.6B).
QWEN3_CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>",
    "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip


class Neutraliser:
    """Makes texts safe for tokenisation with control tokens by a server.

    Args:
        control_tokens: The literals that a tokenizer takes for control tokens.

    >>> Neutraliser(QWEN3_CONTROL_TOKENS)("An HTML tag is <b>, a turn ends with <|im_end|>.")
    'An HTML tag is <b>, a turn ends with < |im_end|>.'
    """

    def __init__(self, control_tokens: Iterable[str]) -> None:
        # The longest first, so that none is hidden by another that it begins with. Runs of spaces,
        # which some tokenizers have as added tokens, forge nothing, and a space breaks none.
        literals = sorted(filter(str.strip, control_tokens), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, literals))) if literals else None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            return text
        while (safe := self._pattern.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)) != text:
            text = safe  # again, in case that a literal overlapped another one
        return text


def wrapped_pair(instruction: str, query: str, document: str) -> tuple[str, str]:
    """Return a query and a document that together are the whole prompt."""
    fields = render_fields(instruction, query)
    label = "<Document>:"
    return HEAD + fields.removesuffix(label), f"{label} {document}{SUFFIX}"


def prompt_pieces(instruction: str, query: str, document: str) -> tuple[str, str]:
    """Return the prompt's part that a query's documents share, and the rest."""
    return HEAD + render_fields(instruction, query), f" {document}{SUFFIX}"
