"""Whose key goes where, decided without asking anybody; and what reaching a server is made of."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from shared_core.options import RerankerOptions
from shared_core.scorers.remote.choosing import named_dialect
from shared_core.scorers.remote.dialects import DIALECTS, vendor_at
from shared_core.scorers.remote.keys import Redactor
from shared_core.scorers.remote.setup import make_session
from shared_core.scorers.remote.urls import join, route, server_root

VENDORS = [dialect for dialect in DIALECTS.values() if dialect.base_url is not None]


@pytest.fixture(autouse=True)
def _all_vendors_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each vendor's variable holds the vendor's own name."""
    monkeypatch.delenv("QWEN3_RERANK_API_KEY", raising=False)
    for dialect in VENDORS:
        for variable in dialect.key_variables:
            monkeypatch.setenv(variable, f"key-of-{dialect.key_variables[0]}")


def sent(**options: Any) -> str | None:
    """Return the Authorization header that a session with these options would send."""
    return make_session(RerankerOptions(**options))._headers.get("authorization")


@pytest.mark.parametrize("dialect", VENDORS, ids=lambda dialect: dialect.name)
def test_a_vendors_own_key_is_taken_from_its_variable(dialect: Any) -> None:
    expected = f"Bearer key-of-{dialect.key_variables[0]}"
    assert sent(dialect=dialect.name) == expected
    assert sent(dialect=dialect.name, base_url=dialect.base_url) == expected
    assert sent(dialect=dialect.name, api_key="mine") == "Bearer mine"


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8000",
        "https://example.com",
        "https://api.jina.ai.example.com",
        "https://evil-api.jina.ai",
        "http://api.jina.ai",  # not encrypted
        "https://api.jina.ai@example.com".replace("@", "."),
    ],
)
@pytest.mark.parametrize("dialect", ["auto", "jina", "compatible"])
def test_no_vendors_key_goes_to_another_host(base_url: str, dialect: str) -> None:
    assert sent(base_url=base_url, dialect=dialect) is None


def test_no_vendors_key_goes_to_another_vendor() -> None:
    for dialect in VENDORS:
        for other in VENDORS:
            found = sent(dialect=dialect.name, base_url=other.base_url)
            assert found == f"Bearer key-of-{other.key_variables[0]}"


def test_the_host_of_a_vendor_is_enough_to_know_its_dialect() -> None:
    assert (
        named_dialect(RerankerOptions(base_url="https://API.Cohere.com/v2")) is DIALECTS["cohere"]
    )
    assert sent(base_url="https://ws-9.ap-southeast-1.maas.aliyuncs.com") is not None
    assert vendor_at("bucket.oss-cn-hangzhou.aliyuncs.com") is None
    assert vendor_at(None) is None


def test_our_own_variable_comes_first_and_goes_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", "ours")
    assert sent(dialect="jina") == sent(base_url="http://localhost:1") == "Bearer ours"
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", "not\na header")
    assert sent(base_url="http://localhost:1") is None


def test_certificates_are_checked() -> None:
    """And read once: every event loop has connections of its own."""
    session = make_session(RerankerOptions(base_url="https://example.com"))

    async def context() -> ssl.SSLContext:
        connections: Any = session._pool()._connections
        found: ssl.SSLContext = connections._ssl_context
        return found

    first, second = asyncio.run(context()), asyncio.run(context())
    assert first is second
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname


@pytest.mark.parametrize(
    ("secret", "said", "left"),
    [
        ("Bearer sk-123456", "key sk-123456 is unknown", "key *** is unknown"),
        ("sk-123456", "Bearer sk-123456sk-123456", "Bearer ******"),
        ('a"b\\c', r"{'key': 'a\"b\\c'}", "{'key': '***'}"),
        ("a/b+c=", "/login?key=a%2Fb%2Bc%3D", "/login?key=***"),
        ("sk-123456", "it is sk-12…", "it is ***"),
        ("sk-123456", "it is sk-12 something", "it is sk-12 something"),
        ("abc", "abc is in every word", "abc is in every word"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_secret_is_removed_from_words(secret: str, said: str, left: str) -> None:
    assert Redactor([secret])(said) == left


@pytest.mark.parametrize(
    ("base_url", "path", "expected"),
    [
        ("http://h:1", "/v1/rerank", "http://h:1/v1/rerank"),
        ("http://h:1/", "/rerank", "http://h:1/rerank"),
        ("http://h:1/v1", "/classify", "http://h:1/classify"),
        ("http://h:1/v1", "/v1/rerank", "http://h:1/v1/rerank"),
        ("http://h/gate/v1/rerank", "/v1/rerank", "http://h/gate/v1/rerank"),
        ("http://h/gate/v1/rerank", "/classify", "http://h/gate/classify"),
        ("http://h/rerank", "/v1/rerank", "http://h/rerank"),
        ("http://rerank", "/v1/rerank", "http://rerank/v1/rerank"),
        ("https://h/inference/v1", "/inference/v1/rerank", "https://h/inference/v1/rerank"),
        ("https://h/openai/v1/rerank", "/openai/v1/rerank", "https://h/openai/v1/rerank"),
        ("https://h/compatible-api/v1", "/compatible-api/v1/reranks",
         "https://h/compatible-api/v1/reranks"),
        ("https://h/api/v1/services/rerank/text-rerank/text-rerank",
         "/api/v1/services/rerank/text-rerank/text-rerank",
         "https://h/api/v1/services/rerank/text-rerank/text-rerank"),
    ],
)  # fmt: skip
def test_where_requests_go(base_url: str, path: str, expected: str) -> None:
    assert route(base_url, path) == expected


def test_a_model_in_the_path_is_quoted() -> None:
    found = join("https://h", "/v1/inference/{model}", "Qwen/a b?c#d")
    assert found == "https://h/v1/inference/Qwen/a%20b%3Fc%23d"
    assert server_root("https://h/v1/inference/Qwen/x") == "https://h/v1/inference/Qwen/x"
