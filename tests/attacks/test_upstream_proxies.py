"""Proxies on loopback: what the environment may say of them, and who is at fault when one fails."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from support.forward_proxy import ForwardProxy
from support.upstreams import Upstream, ranking, reply

from shared_core import ConfigurationError, RerankError, ServerStatusError, ServerUnreachableError

DOCUMENTS, SCORES = ["a 0.25", "b 0.75"], [0.25, 0.75]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP", "HTTPS", "ALL", "NO"):
        monkeypatch.delenv(f"{name}_PROXY", raising=False)
        monkeypatch.delenv(f"{name}_proxy".lower(), raising=False)


def right() -> Upstream:
    return Upstream(lambda request: request.send(reply(ranking(request.body))))


def test_requests_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with ForwardProxy() as proxy, right() as upstream:
        for value in (proxy.url, proxy.place, f" {proxy.url}\n"):
            monkeypatch.setenv("HTTP_PROXY", value)
            with upstream.client(max_retries=0) as reranker:
                assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
    assert proxy.seen == [f"POST {upstream.url}/v1/rerank"] * 3


@pytest.mark.parametrize(
    "exceptions",
    [
        "127.0.0.1",
        "127.0.0.0/8",
        " [::1] , fd00::/8 127.0.0.1 ",
        "[fe80::]/10,127.0.0.0/255.0.0.0",
        "::1,127.0.0.1:{port}",
        "http://127.0.0.1",
        "example.com, 127.*",
        "*",
        "example.com,*",
    ],
)
def test_what_no_proxy_names_is_reached_without_it(
    exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy() as proxy, right() as upstream:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exceptions.format(port=upstream.port))
        with upstream.client(max_retries=0) as reranker:
            assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
    assert proxy.seen == []


@pytest.mark.parametrize(
    "exceptions",
    ["", "[::1]", "10.0.0.0/8, 192.168.0.0/16", "127.0.0.1:1", "https://127.0.0.1", ".0.0.1", ",,"],
)
def test_what_no_proxy_does_not_name_is_reached_through_it(
    exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy() as proxy, right() as upstream:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", exceptions)
        with upstream.client(max_retries=0) as reranker:
            assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
    assert len(proxy.seen) == 1


def test_credentials_reach_the_proxy_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with ForwardProxy(authorization="Basic dXNlcjpzZWNyZXRwYXNz") as proxy, right() as upstream:
        monkeypatch.setenv("ALL_PROXY", f"http://user:secretpass@{proxy.place}")
        with upstream.client(max_retries=0) as reranker:
            assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
        monkeypatch.setenv("ALL_PROXY", f"http://user:wrongsecret@{proxy.place}")
        with upstream.client(max_retries=0) as reranker, pytest.raises(ServerStatusError) as caught:
            reranker.score("q", DOCUMENTS)
    assert f"the proxy {proxy.url} (from ALL_PROXY) answered 407" in str(caught.value)
    assert caught.value.status == 407
    assert "secret" not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "status", ["407 Proxy Authentication Required", "503 Unavailable", "403 No"]
)
def test_a_proxy_that_refuses_is_named(
    scheme: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of https it is the proxy's answer alone; of http it may be the server's: both are named."""
    with ForwardProxy(status) as proxy, right() as upstream:
        upstream.url = f"{scheme}://127.0.0.1:{upstream.port}"
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://u:secretpass@{proxy.place}")
        with upstream.client(max_retries=0) as reranker, pytest.raises(ServerStatusError) as caught:
            reranker.score("q", DOCUMENTS)
    assert f"the proxy {proxy.url} (from {scheme.upper()}_PROXY)" in str(caught.value)
    assert f"answered {status[:3]}" in str(caught.value)
    assert "secretpass" not in str(caught.value)
    assert upstream.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("ALL_PROXY", place)
    with right() as upstream:
        upstream.url = f"{scheme}://127.0.0.1:{upstream.port}"
        with (
            upstream.client(max_retries=0) as reranker,
            pytest.raises(ServerUnreachableError) as caught,
        ):
            reranker.score("q", DOCUMENTS)
    assert f"no answer from the proxy http://{place} (from ALL_PROXY)" in str(caught.value)
    assert "NO_PROXY" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5://u:secretpass@127.0.0.1:1080", "pip install socksio"),
        ("socks4://u:secretpass@127.0.0.1:1080", "expected http://, https:// or socks5://"),
        ("ftp://u:secretpass@127.0.0.1", "holds no address of a proxy"),
        ("http://u:secretpass@:3128:1", "holds no address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told(
    value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with (
        right() as upstream,
        upstream.client(max_retries=0) as reranker,
        pytest.raises(ConfigurationError) as caught,
    ):
        reranker.score("q", DOCUMENTS)
    assert said in str(caught.value)
    assert "ALL_PROXY" in str(caught.value)
    assert "secretpass" not in str(caught.value)


def test_blanks_around_addresses_and_keys_are_removed() -> None:
    """As a file or a shell leaves them there."""
    with right() as upstream:
        upstream.url += "/\n"
        headers = {"X-Tenant": "t\n"}
        with upstream.client(api_key=" k-12345\r\n", headers=headers) as reranker:
            assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
    found = upstream.seen[-1].headers
    assert (found["authorization"], found["x-tenant"]) == ("Bearer k-12345", "t")


def test_a_page_of_the_proxy_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    page = b"<html><title>Sign in</title></html>"
    with Upstream(lambda request: request.send(reply(page))) as upstream, ForwardProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with upstream.client() as reranker, pytest.raises(RerankError) as caught:
            reranker.score("q", DOCUMENTS)
    assert f"through the proxy {proxy.url}" in str(caught.value)


def test_a_tunnel_leads_to_the_server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ForwardProxy() as proxy, right() as upstream:
        upstream.tls, upstream.url = context, upstream.url.replace("http:", "https:")
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with upstream.client(max_retries=0) as reranker:
            for _ in range(3):
                assert reranker.score("q", DOCUMENTS) == pytest.approx(SCORES)
    assert proxy.seen == [f"CONNECT 127.0.0.1:{upstream.port}"]
