"""Whatever a server sends, there is a valid ranking or a `RerankError`; nothing else, ever."""

from __future__ import annotations

import copy
import json
import math
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.remote_cases import CASES, DIALECT_CASES, Case, Connect, Lines, Serve
from support.remote_oracle import Oracle
from support.rerank_server import Answer, Mishap, Seen
from support.served_vllm import VllmPooling
from tenacity import wait_random_exponential

from shared_core import Reranker, RerankError, ScoringError
from shared_core.scorers.remote import http

DOCUMENTS = ["Mars is red.", "Venus is hot.", "Saturn"]

numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, 1, 2, -1, 0.5, 1e308, 10**400, True])
)
reply_names = (
    "results data rankings scores choices output index relevance_score score logit probs logprobs "
    "top_logprobs top_probs completion_probabilities id token logprob prob usage total_tokens meta "
    "tokens error message detail"
)
names = st.sampled_from(reply_names.split())
values = st.recursive(
    st.one_of(st.none(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(names | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)
header_names = (
    "retry-after retry-after-ms x-request-id location x-compute-tokens content-type "
    "content-encoding set-cookie transfer-encoding"
)
header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20
)
header_values |= st.sampled_from(
    ["0", "0.001", "gzip", "br", "text/html", "Mon, 01 Jan 2024 00:00"]
)
headers = st.dictionaries(st.sampled_from(header_names.split()), header_values, max_size=3)
bodies = st.one_of(
    values,
    st.binary(max_size=60),
    st.sampled_from([b"", b"[" * 5000, b'{"a":' * 3000, b"\xef\xbb\xbf[]", b"NaN", b"9" * 5000]),
)
statuses = st.sampled_from([200, 200, 200, 201, 204, 206, 301, 400, 401, 404, 413, 418, 424, 429])
statuses |= st.integers(200, 599)

EXAMPLES = int(os.environ.get("REMOTE_EXAMPLES", "8"))

any_example = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF", wait_random_exponential(multiplier=0.001, max=0.002))
    monkeypatch.setattr(http, "_wait", lambda state: 0.0)


def check(reranker: Reranker) -> None:
    """Rerank; raise if that ends in neither a ranking nor an error of ours."""
    try:
        ranked = reranker.rerank("q", DOCUMENTS)
    except ScoringError:
        raise  # which any exception is translated to that was not foreseen
    except RerankError:
        return
    assert sorted(one.index for one in ranked) == [0, 1, 2]
    logits = [one.logit for one in ranked]
    assert all(logit is not None and math.isfinite(logit) for logit in logits)
    assert logits == sorted(logits, key=lambda logit: -(logit or 0.0))
    assert all(one.score is not None and 0 <= one.score <= 1 for one in ranked)


def encoded(body: Any) -> Any:
    """Return JSON with NaN and infinity in it, as Python's own encoder writes them."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)
def test_any_answer_to_a_request(case: Case, lines: Lines) -> None:
    line = lines(case)

    @any_example
    @given(statuses, headers, bodies)
    def run(status: int, headers: dict[str, str], body: Any) -> None:
        line.server.fault = lambda seen, answer: Answer(encoded(body), status, headers)
        check(line.reranker)

    run()


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[int, Any]]:
    """Which nodes of a reply to replace, counted through all of it, and by what."""
    return draw(st.lists(st.tuples(st.integers(0, 40), values), min_size=1, max_size=3))


def mutated(body: Any, changes: list[tuple[int, Any]]) -> Any:
    """Return a reply with some of its nodes replaced."""
    body = copy.deepcopy(body)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = range(len(node)) if isinstance(node, list) else node
        for key in keys if isinstance(node, (list, dict)) else ():
            places.append((node, key))
            walk(node[key])

    walk(body)
    for number, value in changes:
        node, key = places[number % len(places)]
        node[key] = value
    return body


@pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)
def test_a_right_answer_with_anything_wrong_in_it(case: Case, lines: Lines) -> None:
    line = lines(case)

    @any_example
    @given(mutations())
    def run(changes: list[tuple[int, Any]]) -> None:
        line.server.fault = lambda seen, answer: (
            answer.but(body=mutated(answer.body, changes)) if answer.status == 200 else answer
        )
        check(line.reranker)

    run()


header_lines = [
    b"content-length: 5",
    b"content-length: -1",
    b"content-length: 99999999999999",
    b"transfer-encoding: chunked",
    b"x: \xff\xfe",
    b": no name",
    b"a" * 70_000,
    b"content-encoding: gzip\r\ncontent-length: 5",
    b"x: a\r\n b",
]
raw = st.binary(max_size=80) | st.builds(
    lambda status, lines, body: b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n\r\n" + body,
    st.sampled_from([b"200 OK", b"200", b"99 x", b"999 ?", b"101 Switching", b"-1", b"2000 a"]),
    st.sampled_from(header_lines),
    st.sampled_from([b"", b"[]", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n"]),
)


def test_bytes_that_are_no_http(lines: Lines) -> None:
    line = lines(CASES[0])

    @settings(any_example, max_examples=6 * EXAMPLES)
    @given(raw)
    def run(content: bytes) -> None:
        line.server.fault = lambda seen, answer: content
        check(line.reranker)

    run()


def test_any_answer_to_the_question_what_the_server_is(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """All pages of a server may lie, one by one; what is scored then is a ranking or an error."""
    kind = VllmPooling(oracle)
    server = serve(kind)
    answer = kind.answer

    @settings(any_example, max_examples=4 * EXAMPLES)
    @given(st.integers(0, 14), statuses, headers, bodies)
    def run(wrong: int, status: int, headers: dict[str, str], body: Any) -> None:
        asked = 0

        def lying(seen: Seen) -> Mishap:
            nonlocal asked
            asked += 1
            is_wrong = asked - 1 == wrong or wrong == 14
            return Answer(encoded(body), status, headers) if is_wrong else answer(seen)

        kind.answer = lying  # type: ignore[method-assign, assignment]
        with Reranker("reranker", base_url=server.url, max_retries=1) as remote:
            check(remote)

    run()


owners = st.sampled_from(["vllm", "sglang", "llamacpp", "infinity", "openai"])
known = st.fixed_dictionaries(
    {},
    optional={
        "data": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "id": st.just("reranker") | values,
                    "owned_by": owners | values,
                    "max_model_len": numbers,
                    "root": values,
                },
            ),
            max_size=2,
        )
        | values,
        "version": st.sampled_from(["0.32.0", "1", "..", "٣.٣.٣", "9" * 300]) | values,
        "model_path": values,
        "model_id": values,
        "model_type": values,
        "max_client_batch_size": numbers,
        "max_input_length": numbers,
        "litellm_version": values,
        "service": st.just("qwen3-rerank"),
        "max_documents": numbers,
        "tokens": st.lists(numbers, max_size=2),
    },
)


def test_any_description_of_a_server(serve: Serve, checkpoint: Any) -> None:
    class Server:
        page: Any = None

        def answer(self, seen: Seen) -> Answer:
            return Answer(encoded(self.page), 405 if seen.path == "/tokenize" else 200)

    kind = Server()
    server = serve(kind)

    @settings(any_example, max_examples=2 * EXAMPLES)
    @given(known, st.booleans())
    def run(page: Any, has_tokenizer: bool) -> None:
        kind.page = page
        options = {"tokenizer": str(checkpoint)} if has_tokenizer else {}
        with Reranker("reranker", base_url=server.url, max_retries=1, **options) as remote:
            check(remote)

    run()
