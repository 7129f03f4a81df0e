"""A server's own words in every shape of an error body, and how long to wait."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core.scorers.remote import http
from shared_core.scorers.remote.failures import (
    advice,
    request_id,
    retry_after,
    server_words,
    status_error,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=timezone.utc)

WORDS: list[tuple[Any, str]] = [
    # vLLM, llama.cpp, LiteLLM; vLLM 0.9 and SGLang; and their refusal of a key.
    ({"error": {"message": "too long", "type": "BadRequestError", "code": 400}}, "too long"),
    ({"object": "error", "message": "too long", "type": "x", "code": 400}, "too long"),
    ({"error": "Unauthorized"}, "Unauthorized"),
    # TEI.
    ({"error": "batch size 33 > 32", "error_type": "Validation"}, "batch size 33 > 32"),
    # FastAPI: Infinity, Xinference; Voyage and Jina; pydantic; DeepInfra.
    ({"detail": "Not Found"}, "Not Found"),
    (
        {"detail": [{"loc": ["body", "query"], "msg": "Field required"}]},
        "body.query: Field required",
    ),
    ({"detail": {"error": "no such model"}}, "no such model"),
    # SiliconFlow, its plain strings, DashScope, Cohere, LocalAI.
    ({"code": 20012, "message": "Model does not exist", "data": None}, "Model does not exist"),
    ("Invalid token", "Invalid token"),
    (
        {"code": "InvalidParameter", "message": "Range is [1, 500]", "request_id": "r"},
        "InvalidParameter: Range is [1, 500]",
    ),
    ({"message": "invalid api token"}, "invalid api token"),
    # None that we know.
    ({"reason": 1}, '{"reason": 1}'),
    ([{"x": 1}], '[{"x": 1}]'),
    ([], "[]"),
    ({}, "{}"),
    (None, "null"),
]


@pytest.mark.parametrize(("body", "words"), WORDS, ids=[words for _, words in WORDS])
def test_the_servers_words_are_found_in_every_shape(body: Any, words: str) -> None:
    assert server_words(json.dumps(body).encode()) == words


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"upstream timed out\n\n  again", "text/plain", "upstream timed out again"),
        (
            b"<html><head><title>502 Bad\nGateway</title>",
            "",
            'an HTML page titled "502 Bad Gateway"',
        ),
        (b"  <!DOCTYPE html><p>x", "", "an HTML page"),
        (b"anything", "TEXT/HTML; charset=utf-8", "an HTML page"),
        (b'{"error": {"mess', "application/json", '{"error": {"mess'),
        (b"\xff\xfe", "", "��"),
        (b"", "", ""),
    ],
)
def test_words_that_are_no_json(body: bytes, kind: str, words: str) -> None:
    assert server_words(body, kind) == words


def test_long_words_are_shortened() -> None:
    assert len(server_words(b"x" * 100_000)) == 500
    assert server_words(json.dumps({"error": "y" * 501}).encode()).endswith("y…")


nested = st.builds(
    lambda n, ends: ends[0] * n + b"1" + ends[1] * n,
    st.integers(0, 3000),
    st.sampled_from([(b'{"error":', b"}"), (b"[", b"]"), (b'[{"detail":', b"}]")]),
)


@given(st.binary(max_size=200) | nested)
def test_any_body_has_words(body: bytes) -> None:
    assert len(server_words(body)) <= 530


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": "Sun, 01 Nov 2026 12:01:30 -0000"}, 90.0),
        ({"retry-after": "Sunday, 01-Nov-26 12:01:30 GMT"}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_any_wait_is_a_number_of_seconds_or_none(text: str) -> None:
    found = retry_after({"retry-after": text}, NOW)
    assert found is None or found >= 0


def test_the_name_of_a_request_is_in_a_header_or_the_body() -> None:
    assert request_id({"x-request-id": "r-1"}, b'{"request_id": "r-2"}') == "r-1"
    assert request_id({}, b'{"code": "x", "request_id": "r-2"}') == "r-2"
    assert request_id({}, b"{}") is None


def test_a_length_is_blamed_only_where_the_server_does() -> None:
    """The first text is llama.cpp's; LiteLLM's for a model that it has not, and a dead server."""
    long = b'{"error": {"message": "request (2048 tokens) exceeds the available context size"}}'
    other = b'{"error": {"message": "Invalid model name passed in model=x"}}'
    dead = b'{"error": {"message": "Cannot connect to host ssl:<ssl.SSLContext object at 0x7f>"}}'
    found = [str(status_error("http://x", 400, {}, body, str)) for body in (long, other, dead)]
    assert ["Lower max_length" in text for text in found] == [True, False, False]
    assert "qwen3-rerank check" in found[1]


def test_what_to_try_is_said_where_it_is_known() -> None:
    assert "Give api_key=" in advice(401)
    assert "refuses this key" in advice(401, has_key=True)
    assert "requests_per_second" in advice(429)
    assert advice(418) == ""


@pytest.mark.parametrize("attempt", range(1, 12))
def test_waits_grow_at_random_and_are_bounded(attempt: int) -> None:
    outcome = SimpleNamespace(exception=lambda: ValueError("no wait asked for"))
    state: Any = SimpleNamespace(outcome=outcome, attempt_number=attempt)
    waits = [http._wait(state) for _ in range(50)]
    assert 0 <= min(waits) < max(waits) <= min(20, 0.5 * 2 ** (attempt - 1))
