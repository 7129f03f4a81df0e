"""The service behind a real nginx that publishes it under a path prefix, in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.browser import CHROMIUM, DRIVER, Browser, browser
from support.page_servers import PageServer, page_server

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no browser here: apt-get install chromium chromium-driver",
    ),
    pytest.mark.skipif(NGINX is None, reason="no nginx here: apt-get install nginx-light"),
    pytest.mark.timeout(300),
]
PREFIX = "/rerank-app"
CONFIG = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{ {passing} }}
  }}
}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[PageServer]:
    options = ["--forwarded-allow-ips", "127.0.0.1", "--root-path", "/kept"]
    with page_server(tmp_path_factory.mktemp("service"), "serve", *options) as running:
        yield running


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        opened.size(1280, 900)
        yield opened


@contextmanager
def nginx(folder: Path, prefix: str, passing: str) -> Iterator[str]:
    """Yield the address of a proxy, without the prefix."""
    assert NGINX is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "conf").write_text(
        CONFIG.format(folder=folder, port=port, prefix=prefix, passing=passing)
    )
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "conf")])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            assert process.poll() is None, (folder / "error.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    ("prefix", "passing"),
    [
        (PREFIX, "proxy_pass {url}/;"),
        ("/a/b", "proxy_pass {url}/; proxy_set_header Host $http_host;"),
        ("/ui", "proxy_pass {url}/; proxy_set_header X-Forwarded-Prefix /ui;"),
        ("/kept", "proxy_pass {url};"),
    ],
    ids=["nothing is said", "the host is said", "the prefix is said", "the prefix stays"],
)
def test_the_page_works_under_a_prefix(
    service: PageServer, window: Browser, tmp_path: Path, prefix: str, passing: str
) -> None:
    file = tmp_path / "passages.jsonl"
    file.write_text('"black tea"\n"a stone wall"\n')
    with nginx(tmp_path, prefix, passing.format(url=service.url)) as url:
        window.requested()
        window.complaints()
        window.open(f"{url}{prefix}/ui?lang=zh")
        window.wait(lambda: window.text("#qr-rank") == "排序", "Chinese, from the query string")
        assert window.run("return location.pathname") == f"{prefix}/ui/"
        window.click("#qr-example-support")
        window.find("#qr-results .qr-card")
        assert len(window.texts("#qr-results .qr-card")) == 7
        element = window.find("#qr-file input[type=file]")
        window.call("POST", f"/element/{element}/value", {"text": str(file)})
        window.wait(lambda: "passages" in window.text("#qr-file"), "the file")
        window.write("#qr-documents textarea", "green tea")
        window.click("#qr-rank")
        window.wait(lambda: len(window.texts("#qr-results .qr-card")) == 3, "the ranking")
        assert "a stone wall" in window.texts("#qr-results .qr-text")
        window.open(f"{url}{prefix}/docs")
        assert "POST /v1/rerank" in window.text("body")
        assert window.complaints() == []
        asked = [one for one in window.requested() if one.startswith("http")]
        assert len(asked) > 20
        assert [one for one in asked if not one.startswith(f"{url}{prefix}/")] == []
        window.click('a[href="openapi.json"]')
        window.wait(lambda: '"openapi"' in window.text("body"), "the description")


def test_the_prefix_that_a_trusted_proxy_says_is_in_the_description(
    service: PageServer, tmp_path: Path
) -> None:
    passing = f"proxy_pass {service.url}/; proxy_set_header X-Forwarded-Prefix {PREFIX};"
    with nginx(tmp_path, PREFIX, passing) as url:
        found = httpx.get(f"{url}{PREFIX}/openapi.json").json()
        assert found["servers"] == [{"url": PREFIX}]
        body = {"query": "tea", "documents": ["green tea"]}
        base = f"{url}{found['servers'][0]['url']}"
        assert httpx.post(f"{base}/v1/rerank", json=body, timeout=60).status_code == 200
    assert httpx.get(f"{service.url}/openapi.json").json()["servers"] == [{"url": "/kept"}]
    hostile = httpx.get(
        f"{service.url}/openapi.json", headers={"X-Forwarded-Prefix": "//evil.example/x"}
    )
    assert hostile.json()["servers"] == [{"url": "/kept"}]


def test_a_prefix_is_not_believed_from_anybody(tmp_path: Path) -> None:
    with page_server(tmp_path, "serve") as alone, httpx.Client(timeout=60) as client:
        said = client.get(f"{alone.url}/openapi.json", headers={"X-Forwarded-Prefix": "/mine"})
        assert "servers" not in said.json()
        reply = client.get(f"{alone.url}/ui", headers={"X-Forwarded-Host": "evil.example"})
        assert reply.headers["location"] == "ui/"
        page = client.get(f"{alone.url}/ui/", headers={"X-Forwarded-Host": "evil.example"}).text
        assert "evil.example" not in page
