"""Attempts to make the page hand out a file of the server's, or fetch an address.

Gradio takes a JSON object with a path and a mark for an uploaded file, in any input.
"""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from support.page_servers import KEY, PageServer, page_server

gradio = pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")

MARK = {"_type": "gradio.FileData"}
SYSTEM_FILES = {"/proc/self/environ": "OTHER_SECRET", "/etc/passwd": "root:x:0"}
# A page that answers, and reads what it should not, says so within this time.
STREAM_SECONDS = 10


@pytest.fixture(scope="module", params=["ui", "service", "service with keys"])
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[PageServer]:
    folder = tmp_path_factory.mktemp("page")
    command, key = ("ui", "") if request.param == "ui" else ("serve", "")
    key = KEY if request.param == "service with keys" else ""
    with page_server(folder, command, key=key) as running:
        yield running


@pytest.fixture(scope="module")
def visited() -> Iterator[tuple[str, list[str]]]:
    """An address of this machine's own network, and who asked for it."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096).decode("latin-1").split("\r\n")[0])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen")

    threading.Thread(target=answer, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/metadata", asked
    listener.close()


def hostile_values(server: PageServer, address: str) -> list[Any]:
    """Values that Gradio has taken for files, or for instructions of its own."""
    path = str(server.secret_file)
    mark = {"path": path, "meta": MARK}
    return [
        mark,
        [mark],
        {"a": [{"b": mark}]},
        {**mark, "orig_name": "a.txt", "size": 3, "is_stream": False, "mime_type": "text/plain"},
        {"path": "/proc/self/cmdline", "meta": MARK, "orig_name": "a.txt"},
        {"path": "/proc/self/environ", "meta": MARK},
        {"path": address, "url": address, "meta": MARK},
        {"path": "a.txt", "url": address, "meta": MARK},
        {"path": f"file://{path}", "url": f"file://{path}", "meta": MARK},
        {"path": "data:text/plain;base64,YQ==", "url": "data:text/plain;base64,YQ==", "meta": MARK},
        {"path": f"/gradio_api/file={path}", "meta": MARK},
        {"__type__": "update", "value": mark},
        {"value": mark},
    ]


def fill(server: PageServer, config: dict[str, Any], event: dict[str, Any]) -> list[Any]:
    """Values that every input of an event takes."""
    props = {one["id"]: one["props"] for one in config["components"]}
    types = {one["id"]: one["type"] for one in config["components"]}
    special = {"qr-query": "tea", "qr-documents": "green tea\na stone"}
    values = []
    for number in event["inputs"]:
        value = special.get(props[number].get("elem_id"), props[number].get("value"))
        values.append(None if types[number] in ("state", "file") else value)
    return values


def told(client: httpx.Client, session: str) -> str:
    """Everything that the queue says to a session, where there is a queue."""
    url, seen = "/gradio_api/queue/data", ""
    with client.stream(
        "GET", url, params={"session_hash": session}, timeout=STREAM_SECONDS
    ) as reply:
        if reply.status_code != 200:
            return ""
        for line in reply.iter_lines():
            seen += line
            if "process_completed" in line or "close_stream" in line or "unexpected" in line:
                break
    return seen


def served(client: httpx.Client, said: str) -> str:
    """What is had from every path and address in a reply."""
    found = ""
    for path in set(re.findall(r'"(?:path|url)"\s*:\s*"([^"]+)"', said)):
        for route in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}", path):
            with suppress(httpx.HTTPError, httpx.InvalidURL):
                found += client.get(route).text
    return found


def attempts(server: PageServer, address: str) -> Iterator[tuple[int, list[Any]]]:
    """Every input of every event, with hostile values, the other inputs being right."""
    config = server.config()
    # All of them for one server; behind the page the three are the same.
    values = hostile_values(server, address)[:: 1 if server.page == "" else 4]
    for event in config["dependencies"]:
        right = fill(server, config, event)
        for place in range(len(right)):
            for value in values:
                yield event["id"], [*right[:place], value, *right[place + 1 :]]
        if not right:
            yield event["id"], values


def test_no_input_of_any_event_is_taken_for_a_file(
    server: PageServer, visited: tuple[str, list[str]]
) -> None:
    address, asked = visited
    count = 0
    with server.client() as client:
        for number, data in attempts(server, address):
            count += 1
            body = {"fn_index": number, "data": data, "event_data": data, "trigger_id": number}
            session = f"s{count}"
            said = ""
            for route in ("run/predict", "api/predict", "call/predict", "queue/join"):
                reply = client.post(f"/gradio_api/{route}", json=body | {"session_hash": session})
                said += reply.text
                if route == "queue/join" and reply.status_code == 200:
                    said += told(client, session)
            for name in (server.secret, *SYSTEM_FILES.values()):
                assert name not in said + served(client, said), (number, data, said[:500])
            if count % 10 == 0:
                leave_nothing(server)
    assert count > 100
    leave_nothing(server)
    assert asked == [], "an address was fetched"


def test_no_right_event_with_something_hostile_beside_it_reads_a_file(
    server: PageServer, visited: tuple[str, list[str]]
) -> None:
    """The data of an event, its session and other fields of its body."""
    address, asked = visited
    config = server.config()
    with server.client() as client:
        for event in config["dependencies"]:
            data = fill(server, config, event)
            for value in hostile_values(server, address)[::4]:
                body = {
                    "fn_index": event["id"],
                    "data": data,
                    "event_data": value,
                    "trigger_id": None,
                    "session_hash": "s",
                    "batched": True,
                    "simple_format": True,
                    "event_id": "../../etc/passwd",
                }
                said = client.post("/gradio_api/run/predict", json=body).text
                assert server.secret not in said + served(client, said)
    leave_nothing(server)
    assert asked == []


def test_an_upload_field_takes_nothing_but_what_was_uploaded(server: PageServer) -> None:
    """A path of one's own where the page sends what it was given for an upload."""
    paths = [
        str(server.secret_file),
        "/proc/self/cmdline",
        "../../../../etc/passwd",
        f"x/../../{server.secret_file}",
        f"x/{server.secret_file}",
        f"{server.temporary}/link.txt",
    ]
    (server.temporary / "link.txt").symlink_to(server.secret_file)
    config = server.config()
    event, place = ranking_event(config)
    try:
        with server.client() as client:
            for value in [*paths, *({"path": path, "meta": MARK} for path in paths)]:
                data = fill(server, config, event)
                data[place] = value
                body = {"fn_index": event["id"], "data": data, "session_hash": "s"}
                reply = client.post("/gradio_api/run/predict", json=body)
                assert server.secret not in reply.text
                assert "root:x:0" not in reply.text
    finally:
        (server.temporary / "link.txt").unlink()


def ranking_event(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The event of the button that ranks, and the place of the added file among its inputs."""
    props = {one["id"]: one["props"] for one in config["components"]}
    button = next(number for number, one in props.items() if one.get("elem_id") == "qr-rank")
    event = next(one for one in config["dependencies"] if [button, "click"] in one["targets"])
    names = [props[number].get("elem_id") for number in event["inputs"]]
    return event, names.index("qr-split") + 1


def test_a_real_upload_is_ranked_and_neither_written_nor_served(server: PageServer) -> None:
    files = {"files": ("passages.jsonl", b'"black tea"\n"a stone wall"\n')}
    config = server.config()
    event, place = ranking_event(config)
    with server.client() as client:
        reply = client.post("/gradio_api/upload", files=files)
        assert reply.status_code == 200
        (path,) = reply.json()
        data = fill(server, config, event)
        data[place] = path
        body = {"fn_index": event["id"], "data": data, "session_hash": "s"}
        ranked = client.post("/gradio_api/run/predict", json=body)
        assert ranked.status_code == 200
        assert "a stone wall" in ranked.text
        assert ranked.text.count("qr-card") >= 4
        for route in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/", "/"):
            assert client.get(f"{route}{path}").status_code == 404
    leave_nothing(server)


def test_a_workbook_that_names_a_file_does_not_read_it(server: PageServer) -> None:
    """An entity in the XML of its sheet has the server's file for its text."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kinds}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": "<Relationships xmlns="
        '"http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{kinds}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
    }
    sheet = (
        f'<worksheet xmlns="{main}"><sheetData><row><c t="inlineStr"><is><t>%s</t></is></c></row>'
    )
    sheet += "</sheetData></worksheet>"
    entity = f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{server.secret_file}">]>'
    config = server.config()
    event, place = ranking_event(config)
    with server.client() as client:
        for content, said in ((sheet % "fine", "qr-card"), (entity + sheet % "&e;", "qr-problem")):
            with zipfile.ZipFile(file := io.BytesIO(), "w") as book:
                for name, part in {**parts, "xl/worksheets/sheet1.xml": content}.items():
                    book.writestr(name, part)
            files = {"files": ("a.xlsx", file.getvalue())}
            data = fill(server, config, event)
            (data[place],) = client.post("/gradio_api/upload", files=files).json()
            body = {"fn_index": event["id"], "data": data, "session_hash": "s"}
            reply = client.post("/gradio_api/run/predict", json=body)
            assert said in reply.text
            assert server.secret not in reply.text
    leave_nothing(server)


def test_of_gradio_s_routes_only_those_of_the_page_answer(
    server: PageServer, visited: tuple[str, list[str]]
) -> None:
    """All routes of the installed Gradio, from its own list, with paths for their parameters."""
    address, asked = visited
    with gradio.Blocks() as blocks:
        gradio.Textbox()
    routes = gradio.routes.App.create_app(blocks).openapi()["paths"]
    open_routes = {"/", "/favicon.ico", "/theme.css", "/gradio_api/theme.css", "/config"}
    open_routes |= {"/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/app_id"}
    values = [str(server.secret_file), "/proc/self/cmdline", "..%2f..%2fetc/passwd", address]
    count = 0
    with server.client() as client:
        for route, methods in routes.items():
            if route in open_routes or route.startswith("/gradio_api/run/"):
                continue
            for method in methods:
                for value in values:
                    path = re.sub(r"\{[^}]*\}", quote(value, safe="/:%"), route)
                    content = json.dumps({"data": [], "path": value}) if method == "post" else None
                    reply = client.request(
                        method,
                        path,
                        params={"url": value, "deep_link": value, "session_hash": "s"},
                        content=content,
                        headers={"Content-Type": "application/json"},
                    )
                    count += 1
                    assert reply.status_code in (403, 404, 405), (method, path)
                    assert server.secret not in reply.text
    assert count > 200
    assert asked == []


def leave_nothing(server: PageServer) -> None:
    """Check that no file was made, by an upload or a copy."""
    left = [path for path in server.temporary.rglob("*") if path.is_file()]
    assert left == []
