"""Images by URL: no server-side request forgery, no endless or enormous answer."""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.seeing import Redness, swatch

from shared_core import Content, ImageError, ImageUnreachableError, Reranker
from shared_core.images.fetching import is_public
from shared_core.images.limits import ImageLimits
from shared_core.images.reading import read_image

PUBLIC = ImageLimits(addresses="public")


def png() -> bytes:
    buffer = io.BytesIO()
    swatch("red").save(buffer, "PNG")
    return buffer.getvalue()


class Images(BaseHTTPRequestHandler):
    """A server of images, and of what is none."""

    def do_GET(self) -> None:
        answer: dict[str, Callable[[], None]] = {
            "/red.png": lambda: self._send(png()),
            "/endless": self._endless,
            "/slow": self._slow,
            "/page": lambda: self._send(b"<html>A page</html>"),
            "/secret": lambda: self._send(png()),
            "/loop": lambda: self._redirect("/loop"),
            "/moved": lambda: self._redirect("/red.png"),
            "/file": lambda: self._redirect("file:///etc/passwd"),
            "/large": lambda: self._send(b"", length=2**40),
            "/busy": lambda: self.send_error(503),
        }
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        path, _, target = self.path.partition("?")
        answer["/to"] = lambda: self._redirect(target)
        answer.get(path, lambda: self.send_error(404))()

    def _send(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(2**16))
        except OSError:
            self.server.ended.set()  # type: ignore[attr-defined]

    def _slow(self) -> None:
        try:
            while True:
                self.wfile.write(b"H")
                self.server.ended.wait(0.05)  # type: ignore[attr-defined]
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as server:
        server.seen, server.ended = [], threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def url(server: ThreadingHTTPServer, path: str, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}{path}"


async def test_the_callers_own_urls_are_fetched(server: ThreadingHTTPServer) -> None:
    assert read_image(url(server, "/red.png")) == read_image(swatch("red"))
    assert read_image(url(server, "/moved")) == read_image(swatch("red"))
    reranker, address = Reranker(scorer=Redness()), url(server, "/red.png")
    server.seen.clear()  # type: ignore[attr-defined]
    documents = [Content("a", [address]), Content("b", [address, url(server, "/moved")])]
    assert [one.index for one in await reranker.arerank("q", documents)] == [0, 1]
    assert sorted(server.seen) == ["/moved", "/red.png", "/red.png"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/nothing", ImageError, "status 404"),
        ("/page", ImageError, "a web page"),
        ("/busy", ImageUnreachableError, "status 503"),
        ("/loop", ImageError, "redirected more than 5 times"),
        ("/file", ImageError, "it leads to file address"),
        ("/large", ImageError, "more than 33554432 bytes"),
        ("/endless", ImageError, "more than 33554432 bytes"),
    ],
)
def test_what_is_no_image_is_an_error(
    path: str, error: type[Exception], message: str, server: ThreadingHTTPServer
) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_image(url(server, path))
    assert type(caught.value) is error
    if path == "/endless":
        assert server.ended.wait(30)  # type: ignore[attr-defined]


def test_an_answer_by_drops_ends(server: ThreadingHTTPServer) -> None:
    with pytest.raises(ImageUnreachableError, match=r"no image within 0.4 s"):
        read_image(url(server, "/slow"), ImageLimits(seconds=0.4))


def test_errors_name_the_place_and_no_secret(server: ThreadingHTTPServer) -> None:
    address = url(server, "/nothing?token=secret")
    with pytest.raises(ImageError) as caught:
        Reranker(scorer=Redness()).rerank("q", ["a", Content("b", [address])])
    assert "document 1" in str(caught.value)
    assert "/nothing" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ImageError, match="user or password") as caught:
        read_image(f"http://me:secret@127.0.0.1:{server.server_port}/red.png")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1"),
        "0.0.0.0",  # noqa: S104  # an address to attack
    ],
)
def test_no_spelling_of_this_machine_is_public(host: str, server: ThreadingHTTPServer) -> None:
    with pytest.raises(ImageError, match=r"no public address|cannot be fetched"):
        read_image(url(server, "/secret", host), PUBLIC)
    assert server.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1"),
        *("127.8.8.8", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1"),
        *("ff02::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fec0::1"),
        *("64:ff9b:1::1", "192.0.0.8", "192.88.99.1", "3fff::1"),
    ],
)
def test_addresses_nearby_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_addresses_of_the_internet_are_public() -> None:
    for address in ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(ipaddress.ip_address(address)), address


class Resolver:
    """Name lookups that answer as a hostile name server would, one after another."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def test_the_address_that_was_checked_is_the_one_connected_to(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is checked, and this machine a moment later (rebinding)."""
    resolver = Resolver(["192.0.2.1"], ["127.0.0.1"])  # the former is of no network
    connected: list[str] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(
        "shared_core.images.fetching.is_public", lambda one: str(one) != "127.0.0.1"
    )
    with pytest.raises(ImageUnreachableError):
        read_image(url(server, "/secret", "rebinding.test"), PUBLIC)
    assert (connected, resolver.asked) == (["192.0.2.1"], 1)


def test_one_private_address_among_others_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(ImageError, match="no public address"):
        read_image("http://two.test/a.png", PUBLIC)


def test_nobody_is_led_inside_from_outside(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public server redirects to this machine: refused even where the caller gave the URL."""
    outside = {"outside.test"}
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        host = "127.0.0.2" if host in outside else host  # stands for a public address
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(
        "shared_core.images.fetching.is_public", lambda one: str(one) == "127.0.0.2"
    )
    with ThreadingHTTPServer(("127.0.0.2", 0), Images) as public:
        public.seen, public.ended = [], threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=public.serve_forever, args=(0.02,), daemon=True).start()
        target = url(server, "/secret")
        with pytest.raises(ImageError, match="no public address"):
            read_image(url(public, "/to?" + target, "outside.test"))
        public.shutdown()
    assert public.seen == ["/to?" + target]  # type: ignore[attr-defined]
    assert server.seen == []  # type: ignore[attr-defined]


def test_without_leave_no_url_is_fetched(server: ThreadingHTTPServer) -> None:
    closed = ImageLimits(addresses="none", paths=False)
    with pytest.raises(ImageError, match="URLs are not fetched here"):
        read_image(url(server, "/red.png"), closed)
    for path in ("/etc/passwd", "file:///etc/passwd", "red.png"):
        with pytest.raises(ImageError, match="files are not read here"):
            read_image(path, closed)
    assert server.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/a.png",
        "http://[abc]/a.png",
        "http://host:port/a.png",
        "http://host:99999/a.png",
        "http:///a.png",
        "http://\ud800/a.png",
        "file://[::1/a.png",
    ],
)
def test_half_an_address_is_an_error_that_names_the_document(address: str) -> None:
    with pytest.raises(ImageError, match=r"the image of document 1.*(expected|give a path)"):
        Reranker(scorer=Redness()).rerank("q", ["a", Content("b", [address])])


def test_addresses_are_written_as_browsers_do(server: ThreadingHTTPServer) -> None:
    server.seen.clear()  # type: ignore[attr-defined]
    with pytest.raises(ImageError, match="status 404"):
        read_image(url(server, "/Straße 7%20.png?größe=1#oben", host="１２７.0.0.1"))
    assert server.seen == ["/Stra%C3%9Fe%207%20.png?gr%C3%B6%C3%9Fe=1"]  # type: ignore[attr-defined]
    with pytest.raises(ImageError, match="no public address"):
        read_image(url(server, "/red.png", host="１２７.0.0.1"), PUBLIC)


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@host/a.png",
        "http://me:secret@[::1/a.png",
        "HTTP://host.invalid/a.png?token=secret#secret",
        " http://me:secret@host/a.png",
        "http:/me:secret@host/a.png",
        "http://me:secret/more@host/a.png",
        "http://me:secret#more@host/a.png",
        "s3://key:secret@bucket/a.png",
        "data:secret",
        "data:image/png;base64,secret",
    ],
)
def test_no_secret_of_an_address_is_shown(address: str) -> None:
    content = Content("b", [address])
    assert "secret" not in repr(content)
    with pytest.raises(ImageError) as caught:
        Reranker(scorer=Redness()).rerank("q", [content])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("on_loop", [False, True])
async def test_an_image_out_of_reach_is_passed_through_alone(
    server: ThreadingHTTPServer, on_loop: bool
) -> None:
    reranker = Reranker(scorer=Redness(), on_error="passthrough")
    busy, red = Content("a", [url(server, "/busy")]), Content("b", [url(server, "/red.png")])
    given: Any = (["q", "r"], [["plain", busy], [red]])
    first, second = await reranker.arerank_many(*given) if on_loop else reranker.rerank_many(*given)
    assert [(one.document, one.scored) for one in first] == [("plain", False), (busy, False)]
    assert "status 503" in str(first[0].error)
    assert [(one.document, one.scored) for one in second] == [(red, True)]
    with pytest.raises(ImageError, match="status 404"):
        reranker.rerank("q", [Content("a", [url(server, "/nothing")])])
