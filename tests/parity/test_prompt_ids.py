"""The token ids of every prompt equal those of the published recipe."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parity import reference
from support.texts import random_triples

from shared_core.prompt import render_prompt
from shared_core.prompt.encoding import PairEncoder

CONTROL_LITERALS = ("<|", "<think>", "</think>", "<tool_", "</tool_")


def whole_ids(encoder: PairEncoder, instruction: str, query: str, document: str) -> list[int]:
    group = encoder.encode(instruction, query, [document])
    return group.prefix_ids + group.documents[0].ids


def test_ids_of_a_thousand_triples_equal_the_recipes(real_tokenizer: Any) -> None:
    encoder = PairEncoder(real_tokenizer.backend_tokenizer, max_length=8192)
    triples = random_triples(1000)
    assert len({script for triple in triples for script in triple}) > 2000
    for triple in triples:
        assert whole_ids(encoder, *triple) == reference.prompt_ids(real_tokenizer, *triple), triple


def test_ids_equal_those_of_the_whole_string(real_tokenizer: Any) -> None:
    """Cutting the prompt into head, fields, document and suffix changes no id."""
    encoder = PairEncoder(real_tokenizer.backend_tokenizer, max_length=8192)
    for triple in random_triples(300, seed=1):
        whole = real_tokenizer.encode(render_prompt(*triple), add_special_tokens=False)
        assert whole_ids(encoder, *triple) == whole, triple


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=300))
def test_ids_of_any_unicode_text_equal_the_recipes(
    small_encoder: tuple[PairEncoder, Any], instruction: str, query: str, document: str
) -> None:
    encoder, tokenizer = small_encoder
    texts = instruction + query + document
    assume(not any(literal in texts for literal in CONTROL_LITERALS))
    expected = reference.prompt_ids(tokenizer, instruction, query, document)
    assert whole_ids(encoder, instruction, query, document) == expected


@pytest.fixture(scope="session")
def small_encoder(small_tokenizer: Any) -> tuple[PairEncoder, Any]:
    return PairEncoder(small_tokenizer.backend_tokenizer, max_length=8192), small_tokenizer


@pytest.mark.parametrize("max_length", [90, 100, 127, 200])
def test_a_long_document_is_cut_where_the_recipe_cuts_it(
    real_tokenizer: Any, max_length: int
) -> None:
    encoder = PairEncoder(real_tokenizer.backend_tokenizer, max_length=max_length)
    for _, _, document in random_triples(100, seed=2):
        ids = whole_ids(encoder, "Judge", "a question", document)
        assert ids == reference.prompt_ids(
            real_tokenizer, "Judge", "a question", document, max_length=max_length
        )


@pytest.mark.parametrize(
    "document",
    [
        "word " * 200_000,
        "x" * 300_000,
        "字" * 200_000,
        "a b\n" * 100_000 + " " * 100_000,
        " " * 300_000,
        "e\u0301" * 100_000,
    ],
    ids=["words", "one word", "chinese", "trailing space", "spaces", "combining"],
)
def test_the_shortcut_for_huge_documents_is_exact(real_tokenizer: Any, document: str) -> None:
    encoder = PairEncoder(real_tokenizer.backend_tokenizer, max_length=600)
    group = encoder.encode("Judge", "a question", [document])
    expected = reference.prompt_ids(real_tokenizer, "Judge", "a question", document, max_length=600)
    assert group.prefix_ids + group.documents[0].ids == expected
    whole = reference.prompt_ids(
        real_tokenizer, "Judge", "a question", document, max_length=10_000_000
    )
    assert group.documents[0].truncated == (len(whole) > 600)
    assert group.documents[0].n_tokens == min(len(whole), 600)
