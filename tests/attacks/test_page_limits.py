"""One visitor of the page must not use up what is there for all: memory, files, places."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from attacks.test_page_files import fill, leave_nothing, ranking_event
from support.page_servers import PageServer, page_server

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")

MAX_BODY = 2**20
RUN, UPLOAD = "/gradio_api/run/predict", "/gradio_api/upload"
MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any) -> Iterator[PageServer]:
    folder = tmp_path_factory.mktemp("page")
    options = ["--max-body-bytes", str(MAX_BODY), "--max-documents", "5", "--body-timeout", "3"]
    with page_server(folder, "serve", *options) as running:
        with running.client() as client:
            client.get("/")  # builds it
        yield running


def ranking(server: PageServer, **values: Any) -> dict[str, Any]:
    """The body of the event that ranks, with the inputs of these names changed."""
    config = server.config()
    event, place = ranking_event(config)
    data = fill(server, config, event)
    for name, value in values.items():
        where = {"query": 1, "documents": 3, "added": place, "language": -1}[name]
        data[where] = value
    return {"fn_index": event["id"], "data": data, "session_hash": "s"}


def sent_slowly(
    server: PageServer, path: str, kind: str, size: int, *, length: bool
) -> tuple[bytes, int]:
    """Send a body until the server answers; return the reply and how much was sent."""
    host, port = server.url.removeprefix("http://").split(":")
    declared = f"Content-Length: {size}\r\n" if length else "Transfer-Encoding: chunked\r\n"
    head = (
        f"POST {server.page}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"{declared}\r\n"
    )
    block, sent = b"x" * 65536, 0
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        reply = b""
        with suppress(OSError):
            while sent < size and not reply:
                connection.sendall(block if length else b"%x\r\n%s\r\n" % (len(block), block))
                sent += len(block)
                if select.select([connection], [], [], 0.001)[0]:
                    reply = connection.recv(4096)
            reply = reply or connection.recv(4096)
    return reply, sent


@pytest.mark.parametrize("length", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [(RUN, "application/json"), (UPLOAD, "multipart/form-data; boundary=x")],
)
def test_a_body_is_cut_off_at_the_limit(
    server: PageServer, path: str, kind: str, length: bool
) -> None:
    before = server.memory()
    reply, sent = sent_slowly(server, path, kind, 64 * MIB, length=length)
    assert sent < 16 * MIB, "the rest was read, too"
    assert b" 413 " in reply[:20] or not reply
    assert server.memory() - before < 24 * MIB
    leave_nothing(server)


def test_no_other_route_reads_a_body_at_all(server: PageServer) -> None:
    for path in ("/gradio_api/queue/join", "/gradio_api/component_server", "/login"):
        before = server.memory()
        sent_slowly(server, path, "application/json", 32 * MIB, length=True)
        assert server.memory() - before < 16 * MIB, path


def test_an_upload_is_one_file(server: PageServer) -> None:
    one = ("files", ("a.txt", b"tea"))
    with server.client() as client:
        for files in ([one, one], [one] * 60, [("other", ("a.txt", b"tea"))]):
            assert client.post(UPLOAD, files=files).status_code == 400, len(files)
        assert client.post(UPLOAD, files=[one], data={"field": "x"}).status_code == 400
        for name in ("a.html", "a.svg", "a", "", "a.txt/..", "a.txt\x00.exe"):
            reply = client.post(UPLOAD, files=[("files", (name, b"tea"))])
            assert reply.status_code in (400, 415), name
        for name in ("../../a.txt", "..\\..\\a.txt", "/etc/a.txt", "C:\\a.txt"):
            (path,) = client.post(UPLOAD, files=[("files", (name, b"tea"))]).json()
            assert path.split("/")[1:] == ["a.txt"]
    leave_nothing(server)


def test_many_uploads_take_a_fixed_amount_of_memory(server: PageServer) -> None:
    """500 files of almost 1 MiB: the oldest go, and what was kept can still be ranked."""
    content = b"x" * (MAX_BODY - 4096)
    with server.client() as client:
        first = client.post(UPLOAD, files={"files": ("a.txt", b"first")}).json()[0]
        for count in range(500):
            assert client.post(UPLOAD, files={"files": ("a.txt", content)}).status_code == 200
            if count == 349:  # there is no more room, and the allocator has settled
                before = server.memory()
        # The last 150 alone are 150 MiB; the allocator holds on to some of it, more or less.
        assert server.memory() - before < 110 * MIB
        last = client.post(UPLOAD, files={"files": ("a.txt", b"last\nof them")}).json()[0]
        reply = client.post(RUN, json=ranking(server, query="tea", documents="", added=last))
        assert "last" in reply.text
        gone = ranking(server, query="tea", documents="x", added=first, language="zh")
        assert "请重新添加" in json.dumps(client.post(RUN, json=gone).json(), ensure_ascii=False)
    leave_nothing(server)


def test_events_leave_nothing_behind(server: PageServer) -> None:
    """Sessions that nobody comes back for: each shows a ranking, and is forgotten."""
    body = ranking(server, query="tea", documents="green tea\na stone")
    with server.client() as client:
        for count in range(60):
            assert client.post(RUN, json=body | {"session_hash": f"a{count}"}).status_code == 200
        before = server.memory()
        for count in range(300):
            assert client.post(RUN, json=body | {"session_hash": f"b{count}"}).status_code == 200
        assert server.memory() - before < 30 * MIB


def test_events_under_way_are_bounded(server: PageServer) -> None:
    """Over all visitors, and for each: the rest is told to come again, in both languages."""
    document = "word " * 9000
    body = ranking(server, query="tea", documents="\n".join([document] * 4))
    place = body["data"].index("truncate")
    body["data"][place : place + 2] = ["windows", 16]
    codes: list[int] = []
    texts: list[str] = []

    def ask(session: str) -> None:
        reply = httpx.post(
            f"{server.url}{server.page}{RUN}", json=body | {"session_hash": session}, timeout=120
        )
        codes.append(reply.status_code)
        texts.append(reply.text if reply.status_code != 200 else "")

    threads = [threading.Thread(target=ask, args=("one",)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(codes) == {200, 503}
    assert any("页面繁忙" in json.loads(text)["error"] for text in texts if text)


def test_limits_of_the_service_hold_and_are_said_in_chinese(server: PageServer) -> None:
    body = ranking(server, query="茶", documents="\n".join("绿茶" * 6), language="zh")
    with server.client() as client:
        said = json.dumps(client.post(RUN, json=body).json(), ensure_ascii=False)
    assert "超出本服务的限制" in said
    assert "this service takes 5 in a request" in said
    assert "qr-card" not in said


def test_a_body_that_does_not_arrive_is_given_up(server: PageServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"POST {server.page}{RUN} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(4096)[:20]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"fn_index": 0, "data": ' + "[" * 100_000,
        '{"fn_index": 0, "data": [' + "0," * 300_000 + "0]}",
        '{"fn_index": 0, "data": [1e999]}',
        '{"fn_index": 0, "data": [NaN]}',
        '{"fn_index": 0, "data": ["\\ud800"]}',
        '{"fn_index": -1, "data": []}',
        '{"fn_index": true, "data": []}',
        '{"fn_index": 0}',
        "null",
        "",
    ],
    ids=lambda content: content[:30],
)
def test_what_is_no_event_is_refused(server: PageServer, content: str) -> None:
    with server.client() as client:
        reply = client.post(RUN, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**30, 10**10])
def test_a_number_beyond_all_use_is_refused(server: PageServer, number: int) -> None:
    body = ranking(server)
    places = [place for place, value in enumerate(body["data"]) if type(value) is int]
    assert len(places) == 4  # how many to keep and to score, seconds, tokens of a part
    with server.client() as client:
        for place in places:
            data = [*body["data"][:place], number, *body["data"][place + 1 :]]
            assert client.post(RUN, json={**body, "data": data}).status_code == 422


def test_no_values_are_built_that_nobody_asked_for(server: PageServer) -> None:
    """A body within the limit of bytes, full of small values, in and beside the data."""
    before = server.memory()
    count = (MAX_BODY - 100) // 3
    with server.client() as client:
        for content in (
            '{"fn_index": 0, "data": [' + "0, " * count + "0]}",
            '{"fn_index": 0, "data": [], "x": [' + "{}," * count + "0]}",
        ):
            headers = {"Content-Type": "application/json"}
            assert client.post(RUN, content=content, headers=headers).status_code == 422
    assert server.memory() - before < 16 * MIB
