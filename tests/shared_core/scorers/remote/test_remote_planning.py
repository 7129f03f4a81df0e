"""One query's documents as requests: every document once, in order, within all limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from shared_core import ConfigurationError, TextEncodingError
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.remote.dialects import DIALECTS
from shared_core.scorers.remote.dialects.hosted import DashScope, DeepInfra
from shared_core.scorers.remote.dialects.servers import Tei
from shared_core.scorers.remote.dialects.vllm import VllmClassify, VllmGenerative
from shared_core.scorers.remote.discovery import Facts
from shared_core.scorers.remote.planning import plan_chunks
from shared_core.scorers.remote.setup import Setup
from shared_core.scorers.remote.wrapping import QWEN3_CONTROL_TOKENS, Neutraliser
from shared_core.scoring import ScoreRequest

TINY = Path(__file__).parents[4] / "shared_core" / "tiny" / "tokenizer.json"
ENCODER = PairEncoder(Tokenizer.from_file(str(TINY)), 512)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.builds(
    lambda text, times: text * times,
    st.sampled_from(["é", "字", "a ", '"\\', "🪐"]),
    st.integers(1, 400),
)


def setup_for(dialect: Any, template: Any = "server", encoder: PairEncoder | None = None) -> Setup:
    neutralise = Neutraliser(QWEN3_CONTROL_TOKENS)
    return Setup(dialect, template, "http://x/rerank", Facts(), encoder, neutralise, 512)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(texts, min_size=1, max_size=30),
    texts,
    st.sampled_from(["tei", "deepinfra", "classify", "classify-ids"]),
    st.integers(1, 20),
    st.integers(2500, 20_000),
)
def test_requests_hold_every_document_once_within_documents_and_bytes(
    documents: list[str], query: str, name: str, most: int, most_bytes: int
) -> None:
    dialect: Any = {"tei": Tei, "deepinfra": DeepInfra}.get(name, VllmClassify)()
    dialect.max_documents, dialect.max_bytes = most, most_bytes
    template = "prompt" if name.startswith("classify") else "client" if name == "tei" else "server"
    encoder = ENCODER if name.endswith("ids") else None
    request = ScoreRequest(query[:40], "find", documents)
    chunks = plan_chunks(setup_for(dialect, template, encoder), "m", request)
    assert [piece.index for chunk in chunks for piece in chunk.pieces] == list(
        range(len(documents))
    )
    for chunk in chunks:
        assert len(chunk.batch) == len(chunk.pieces) <= most
        body = json.dumps(dialect.build(chunk.batch), ensure_ascii=False).encode()
        assert len(body) <= most_bytes or len(chunk.pieces) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(texts, min_size=1, max_size=30), st.booleans())
def test_requests_stay_below_a_limit_on_tokens(documents: list[str], has_encoder: bool) -> None:
    """DashScope counts the query once per document."""
    dialect = DashScope()
    dialect.max_tokens = 700
    setup = setup_for(dialect, encoder=ENCODER if has_encoder else None)
    request = ScoreRequest("which one?", DEFAULT_INSTRUCTION, documents)
    chunks = plan_chunks(setup, "m", request)
    assert [piece.index for chunk in chunks for piece in chunk.pieces] == list(
        range(len(documents))
    )
    if has_encoder:
        query = len(ENCODER.text_ids("which one?"))
        for chunk in chunks:
            texts = chunk.batch.documents
            cost = sum(query + len(ENCODER.text_ids(text)) for text in texts)
            assert cost <= 700 or len(texts) == 1


def test_requests_are_not_smaller_than_they_have_to_be() -> None:
    request = ScoreRequest("q", DEFAULT_INSTRUCTION, [str(number) for number in range(65)])
    chunks = plan_chunks(setup_for(Tei(), "server-fixed"), "m", request)
    assert [len(chunk.pieces) for chunk in chunks] == [32, 32, 1]


def test_chinese_is_not_taken_for_fewer_tokens_than_it_has() -> None:
    """Half of its characters would be; half of its bytes are not."""
    dialect = DashScope()
    dialect.max_tokens = 4000
    documents = ["火星是红色的行星" * 100] * 6  # 800 characters, some 500 to 600 tokens, each
    request = ScoreRequest("q", DEFAULT_INSTRUCTION, documents)
    chunks = plan_chunks(setup_for(dialect), "m", request)
    assert max(len(chunk.pieces) for chunk in chunks) * 600 <= 4000


def test_halves_are_all_of_a_request() -> None:
    request = ScoreRequest("q", DEFAULT_INSTRUCTION, list("abcde"))
    for setup in (setup_for(Tei(), "server-fixed"), setup_for(VllmClassify(), "prompt", ENCODER)):
        (chunk,) = plan_chunks(setup, "m", request)
        first, second = chunk.halves()
        assert [piece.index for piece in (*first.pieces, *second.pieces)] == [0, 1, 2, 3, 4]
        both = [*first.batch.documents, *second.batch.documents]
        assert both == list(chunk.batch.documents)
        assert [*first.batch.rests, *second.batch.rests] == list(chunk.batch.rests)


@pytest.mark.parametrize("field", ["query", "instruction", "document"])
def test_a_text_that_is_no_unicode_is_refused_here(field: str) -> None:
    texts = {"query": "q", "instruction": "i", "document": "d"} | {field: "a\ud800"}
    request = ScoreRequest(texts["query"], texts["instruction"], [texts["document"]])
    with pytest.raises(TextEncodingError):
        plan_chunks(setup_for(Tei(), "client"), "m", request)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_states_what_it_is(name: str) -> None:
    dialect: Any = DIALECTS[name]()
    assert dialect.name == name
    assert dialect.path.startswith("/")
    assert dialect.documented in (None, *dialect.templates)
    assert dialect.max_documents >= 1
    assert dialect.base_url is None or dialect.key_variables


def test_a_prompt_that_the_server_may_cut_unseen_is_refused_without_a_tokenizer() -> None:
    """`/generative_scoring` drops the suffix of what is too long, and answers 200."""
    short, long = "Mars is red.", "Mars is red. " * 100

    def planned(document: str, encoder: PairEncoder | None) -> int:
        setup = setup_for(VllmGenerative(), "prompt", encoder)
        return len(plan_chunks(setup, "m", ScoreRequest("q", "find", [document])))

    assert planned(short, None) == planned(short, ENCODER) == planned(long, ENCODER) == 1
    with pytest.raises(ConfigurationError, match=r"document 0 .* tokenizer="):
        planned(long, None)
