"""Texts that a server tokenises: none can become a control token, and no others are touched."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from parity import reference
from support.checkpoints import BUNDLED
from tokenizers import Tokenizer

from shared_core.scorers.remote.wrapping import (
    QWEN3_CONTROL_TOKENS,
    Neutraliser,
    prompt_pieces,
    wrapped_pair,
)

TOKENIZER = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
CONTROL_IDS = {TOKENIZER.token_to_id(token) for token in QWEN3_CONTROL_TOKENS}

neutralise = Neutraliser(QWEN3_CONTROL_TOKENS)
pieces = st.lists(
    st.sampled_from([*QWEN3_CONTROL_TOKENS, "<|", "|>", "<", ">", "<|im_", "end|>", "<th", "ink>"])
    | st.text(max_size=3),
    max_size=12,
)


@given(pieces)
def test_no_control_token_is_left_and_nothing_but_spaces_is_added(parts: list[str]) -> None:
    text = "".join(parts)
    safe = neutralise(text)
    assert not any(token in safe for token in QWEN3_CONTROL_TOKENS)
    assert safe.replace(" ", "") == text.replace(" ", "")
    if not any(token in text for token in QWEN3_CONTROL_TOKENS):
        assert safe == text
    assert neutralise(safe) == safe


def test_the_control_tokens_are_those_of_the_tokenizer(real_tokenizer: Any) -> None:
    assert sorted(QWEN3_CONTROL_TOKENS) == sorted(real_tokenizer.get_added_vocab())


@given(pieces)
def test_no_control_id_comes_of_a_neutralised_text(parts: list[str]) -> None:
    ids = TOKENIZER.encode(neutralise("".join(parts)), add_special_tokens=False).ids
    assert not CONTROL_IDS.intersection(ids)


@given(st.text(), st.text(), st.text())
def test_the_pieces_are_the_published_prompt(instruction: str, query: str, document: str) -> None:
    body = reference.format_instruction(instruction, query, document)
    whole = reference.PREFIX + body + reference.SUFFIX
    assert "".join(wrapped_pair(instruction, query, document)) == whole
    assert "".join(prompt_pieces(instruction, query, document)) == whole


def test_tokens_of_spaces_forge_nothing_and_are_left_alone() -> None:
    assert Neutraliser(["  ", "<x>"])("a  b<x>") == "a  b< x>"
    assert Neutraliser([])("<think>") == "<think>"
