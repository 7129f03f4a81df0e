"""Web pages that a visitor happens to look at: by DNS rebinding, from other origins, in frames."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.page_servers import KEY, PageServer, page_server

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")

FRIEND = "http://friend.example"
BODY = {"query": "tea", "documents": ["green tea", "a stone"]}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def ui(tmp_path_factory: Any) -> Iterator[PageServer]:
    with page_server(tmp_path_factory.mktemp("ui"), "ui", "--allowed-host", "*.inner") as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[PageServer]:
    """A service without keys, as it is by default."""
    with page_server(tmp_path_factory.mktemp("service"), "serve") as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: Any) -> Iterator[PageServer]:
    """A service with keys, an allowed origin and a name."""
    options = ["--cors-origin", FRIEND, "--allowed-host", "rerank.example"]
    with page_server(tmp_path_factory.mktemp("keyed"), "serve", *options, key=KEY) as running:
        yield running


def raw(server: PageServer, head: str) -> bytes:
    """Send lines as they are, and return the beginning of the reply."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        return connection.recv(4096)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("evil.example@127.0.0.1", "127.0.0.1:80@evil.example", "evilinner", "inner", "::1.evil"),
        "",
    ],
)
def test_a_name_that_is_not_the_server_s_is_refused(
    ui: PageServer, service: PageServer, keyed: PageServer, host: str
) -> None:
    for server in (ui, service, keyed):
        with server.client(Host=host) as client:
            for method, path in (
                ("GET", "/"),
                ("GET", "/config"),
                ("POST", "/gradio_api/upload"),
                ("POST", "/gradio_api/run/predict"),
            ):
                reply = client.request(method, path)
                assert reply.status_code == 421, (server.page, path)
                assert "gradio" not in reply.text
    for server in (service, keyed):
        with httpx.Client(base_url=server.url, headers=server.headers | {"Host": host}) as client:
            for path in ("/docs", "/openapi.json", "/metrics", "/v1/models", "/nothing"):
                assert client.get(path).status_code == 421
            assert client.post("/rerank", json=BODY).status_code == 421


def test_names_that_are_the_server_s_are_answered(
    ui: PageServer, service: PageServer, keyed: PageServer
) -> None:
    """Addresses cannot be rebound, so they are; the other names are those that were given."""
    known = ["localhost", "LOCALHOST:9", "127.0.0.1:9999", "[::1]:8000", "10.1.2.3:8000"]
    for server, more in (
        (ui, ["rerank.inner", "a.rerank.INNER:80"]),
        (service, ["x.localhost"]),
        (keyed, ["rerank.example", "rerank.example.:443"]),
    ):
        for host in known + more:
            with server.client(Host=host) as client:
                assert client.get("/").status_code == 200, (host, server.page)


def test_probes_reach_the_health_routes_whatever_they_call_the_server(keyed: PageServer) -> None:
    for host in ("10.244.0.7:8000", "some.node.internal", "evil.example"):
        for path in ("/health", "/health/live", "/health/ready"):
            assert httpx.get(f"{keyed.url}{path}", headers={"Host": host}).status_code in (200, 503)
    assert b" 200 " in raw(keyed, "GET /health/live HTTP/1.0\n\n")


def test_two_hosts_in_a_request_are_refused(service: PageServer) -> None:
    reply = raw(service, "GET /docs HTTP/1.1\nHost: localhost\nHost: evil.example\n\n")
    assert reply.split()[1] in (b"400", b"421")


def test_no_reply_lets_another_origin_read_it(
    ui: PageServer, service: PageServer, keyed: PageServer
) -> None:
    """Neither a page's assets nor its events, nor a preflight, for any origin but those allowed."""
    for server in (ui, service, keyed):
        for origin in ("http://evil.example", "null", "http://localhost:1", server.url + "1"):
            with server.client(Origin=origin) as client:
                preflight = {"Access-Control-Request-Method": "POST"}
                replies = [
                    client.get("/"),
                    client.get("/config"),
                    client.get("/theme.css"),
                    client.post("/gradio_api/run/predict", json={"fn_index": 0, "data": []}),
                    client.options("/gradio_api/run/predict", headers=preflight),
                    client.options("/gradio_api/queue/join", headers=preflight),
                ]
            for reply in replies:
                named = [
                    name for name in reply.headers if name.startswith("access-control-allow-origin")
                ]
                assert named == []
                assert reply.status_code != 200 or server is keyed
    with keyed.client(Origin=FRIEND) as client:
        assert client.get("/config").headers["access-control-allow-origin"] == FRIEND
        assert "access-control-allow-credentials" not in client.get("/config").headers


def test_a_request_of_another_origin_is_refused_without_a_key(
    ui: PageServer, service: PageServer, keyed: PageServer
) -> None:
    foreign = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost"},
        {**LINK, "Sec-Fetch-Dest": "iframe"},
        {**LINK, "Sec-Fetch-Mode": "cors"},
    ]
    for headers in foreign:
        for server in (ui, service):
            with server.client(**headers) as client:
                assert client.get("/").status_code == 403, headers
                files = {"files": ("a.txt", b"x")}
                assert client.post("/gradio_api/upload", files=files).status_code == 403
        reply = httpx.post(f"{service.url}/rerank", json=BODY, headers=headers)
        assert reply.status_code == 403
        assert "cors" in reply.json()["detail"]
        # A key that a program put there says that the request is meant; a saved password does not.
        for key, expected in (
            ({"Authorization": f"Bearer {KEY}"}, 200),
            ({"X-API-Key": KEY}, 200),
            ({"Authorization": httpx.BasicAuth("", KEY)._auth_header}, 403),
            ({"Authorization": "Bearer wrong"}, 401),
        ):
            reply = httpx.post(f"{keyed.url}/rerank", json=BODY, headers=headers | key, timeout=60)
            assert reply.status_code == expected, (headers, key)
    assert httpx.post(f"{service.url}/rerank", json=BODY, headers=LINK).status_code == 403


def test_links_programs_and_allowed_origins_get_through(
    ui: PageServer, service: PageServer, keyed: PageServer
) -> None:
    for server in (ui, service):
        assert httpx.get(f"{server.url}{server.page}/", headers=LINK).status_code == 200
        for headers in ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}, {}):
            assert httpx.get(f"{server.url}{server.page}/", headers=headers).status_code == 200
        own = {"Origin": server.url}
        assert httpx.get(f"{server.url}{server.page}/config", headers=own).status_code == 200
    assert httpx.get(f"{service.url}/docs", headers=LINK).status_code == 200
    friend = {"Origin": FRIEND, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}
    reply = httpx.post(f"{keyed.url}/rerank", json=BODY, headers=friend, timeout=60)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == FRIEND
    # Behind a proxy that changes `Host`, the name that was given is the page's origin.
    proxied = {"Origin": "https://rerank.example", "Authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{keyed.url}/ui/config", headers=proxied).status_code == 200


def test_a_body_without_the_right_content_type_is_refused(
    ui: PageServer, service: PageServer
) -> None:
    """Those are what a web page may send anywhere without asking; so is no type at all."""
    content = json.dumps({"fn_index": 0, "data": []} | BODY).encode()
    for kind in (
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ):
        headers = {} if kind is None else {"Content-Type": kind}
        targets = [
            f"{ui.url}/gradio_api/run/predict",
            f"{service.url}/ui/gradio_api/run/predict",
            f"{service.url}/rerank",
            f"{service.url}/v2/rerank",
            f"{service.url}/score",
        ]
        for url in targets:
            assert httpx.post(url, content=content, headers=headers).status_code == 415, (kind, url)


def test_a_websocket_of_another_page_is_not_opened(ui: PageServer, service: PageServer) -> None:
    handshake = (
        "GET {path} HTTP/1.1\nHost: {host}\nOrigin: {origin}\nUpgrade: websocket\n"
        "Connection: Upgrade\nSec-WebSocket-Version: 13\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
    )
    for server in (ui, service):
        for host, origin in (
            ("evil.example", "http://evil.example"),
            ("127.0.0.1", "http://evil.example"),
        ):
            head = handshake.format(path=f"{server.page}/", host=host, origin=origin)
            assert raw(server, head).split()[1] in (b"403", b"421")


def test_browsers_are_told_to_be_strict(ui: PageServer, service: PageServer) -> None:
    urls = [f"{ui.url}/", f"{ui.url}/theme.css", f"{ui.url}/nothing"]
    urls += [f"{service.url}{path}" for path in ("/ui/", "/docs", "/health", "/nothing", "/rerank")]
    for url in urls:
        headers = httpx.get(url).headers
        assert headers["x-content-type-options"] == "nosniff", url
        assert headers["x-frame-options"] == "DENY", url
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        for weak in ("http:", "https:", "*", "script-src 'unsafe-inline'"):
            assert weak not in policy.split(), (url, policy)
