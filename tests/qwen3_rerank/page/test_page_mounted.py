"""The page inside the service: built when asked for, behind its keys, beside its routes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fastapi
import httpx
import pytest
import uvicorn
from support.browser import CHROMIUM, DRIVER, browser
from support.seeing import Redness, swatch

from qwen3_rerank.page import mount_page
from qwen3_rerank.service.app import create_app
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Reranker

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")
KEY = "k-page"


@contextlib.contextmanager
def serving(app: fastapi.FastAPI) -> Iterator[str]:
    """Yield the address of a real server in a thread."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def service(tiny: Reranker) -> fastapi.FastAPI:
    """The service with a key; it has the page."""
    return create_app(ServiceSettings(model="tiny", serve_keys=(KEY,)), reranker=tiny)


def test_mounting_imports_no_gradio() -> None:
    program = (
        "import sys, fastapi\nfrom shared_core import Reranker\n"
        "from qwen3_rerank.page import mount_page\n"
        "mount_page(fastapi.FastAPI(), Reranker('tiny'))\n"
        "assert 'gradio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_the_page_is_behind_the_keys_of_the_service_and_beside_its_routes(tiny: Reranker) -> None:
    with serving(service(tiny)) as url, httpx.Client(base_url=url, timeout=120) as client:
        assert client.get("/ui/").status_code == 401
        asked = client.get("/ui/", headers={"Accept": "text/html"}).headers["www-authenticate"]
        assert asked.startswith("Basic")
        client.auth = ("", KEY)
        there = client.get("/ui?lang=zh")
        assert there.status_code == 307
        assert there.headers["location"] == "ui/?lang=zh"
        assert there.next_request is not None
        assert there.next_request.url.path == "/ui/"
        page = client.get("/ui/")
        assert page.status_code == 200
        assert "Qwen3-Reranker" in page.text
        config = client.get("/ui/config").json()
        shown = [one["id"] for one in config["dependencies"] if one["api_visibility"] == "public"]
        assert shown == [], "the API is that of the service"
        body = {"query": "tea", "documents": ["green tea", "a stone"]}
        assert len(client.post("/v1/rerank", json=body).json()["results"]) == 2
        assert client.get("/ui/../../../../etc/passwd").status_code in (400, 403, 404)
        assert client.get("/ui/gradio_api/file=/etc/passwd").status_code in (403, 404)


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser here: apt-get install chromium chromium-driver",
)
@pytest.mark.timeout(600)
def test_it_ranks_there_and_the_server_stops_while_it_is_open(tiny: Reranker) -> None:
    with browser() as window, serving(service(tiny)) as url:
        window.devtools("Network.enable")
        window.devtools("Network.setExtraHTTPHeaders", headers={"Authorization": f"Bearer {KEY}"})
        window.open(f"{url}/ui")
        window.click("#qr-example-support")
        window.find("#qr-results .qr-card")
        assert len(window.texts("#qr-results .qr-card")) == 7


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser here: apt-get install chromium chromium-driver",
)
@pytest.mark.timeout(600)
def test_one_of_several_models_is_chosen(tiny: Reranker, reranker: Reranker) -> None:
    """The first one ranks until another is chosen; the ranking says which it was."""
    app = fastapi.FastAPI()
    mount_page(app, {"the tiny one": tiny.arerank, "a random one": reranker.arerank})
    with browser() as window, serving(app) as url:
        window.open(f"{url}/ui/")
        window.click("#qr-example-support")
        window.find("#qr-results .qr-card")
        assert "the tiny one" in window.text("#qr-results")
        before = window.texts("#qr-results .qr-text")
        window.click("#qr-model input")
        window.click("#qr-model [role=option]:nth-child(2)")
        window.click("#qr-rank")
        window.wait(lambda: "a random one" in window.text("#qr-results"), "the other model")
        assert sorted(window.texts("#qr-results .qr-text")) == sorted(before)
        assert window.texts("#qr-results .qr-text") != before


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser here: apt-get install chromium chromium-driver",
)
@pytest.mark.timeout(600)
def test_images_are_dropped_where_the_model_sees(tiny: Reranker, tmp_path: Path) -> None:
    """They are shown in the ranking, and names of files stay text; a text model has no place."""
    tiny.score("loaded", ["it says that it reads texts alone"])
    app = fastapi.FastAPI()
    mount_page(app, {"sees": Reranker(scorer=Redness()), "reads": tiny})
    files = [tmp_path / "blue.png", tmp_path / "<img src=x onerror=window.hacked=1>${hacked=2}.png"]
    for path, color in zip(files, ("blue", "red"), strict=True):
        swatch(color).save(path)
    with browser() as window, serving(app) as url:
        window.open(f"{url}/ui/")
        element = window.find("#qr-images input[type=file]")
        window.complaints()
        window.call("POST", f"/element/{element}/value", {"text": "\n".join(map(str, files))})
        window.wait(lambda: "blue" in window.text("#qr-images"), "the images")
        asked = window.find("#qr-query-images input[type=file]")
        window.call("POST", f"/element/{asked}/value", {"text": str(files[0])})
        window.find("#qr-query-images table a")  # it has arrived
        window.write("#qr-query textarea, #qr-query input", "red")
        window.write("#qr-documents textarea", "a text")
        window.click("#qr-rank")
        window.find("#qr-results .qr-card")
        assert window.text("#qr-results .qr-query") == "red"
        assert window.texts("#qr-results .qr-text") == [files[1].name, "a text", "blue.png"]
        loaded = "return [...document.querySelectorAll('#qr-results img')].map(i => i.naturalWidth)"
        window.wait(lambda: window.run(loaded) == [32, 32, 32], "the thumbnails")
        assert window.run("return window.hacked === undefined")
        assert window.complaints() == [], "the policy lets thumbnails in"
        window.click("#qr-model input")
        window.click("#qr-model [role=option]:nth-child(2)")
        window.wait(lambda: not window.run("return !!document.querySelector('#qr-images')"), "gone")
        window.click("#qr-rank")
        window.wait(lambda: window.texts("#qr-results .qr-text") == ["a text"], "texts alone")


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser here: apt-get install chromium chromium-driver",
)
@pytest.mark.timeout(600)
def test_the_services_limits_hold_for_the_page(tiny: Reranker) -> None:
    settings = ServiceSettings(model="tiny", max_documents=3)
    with browser() as window, serving(create_app(settings, reranker=tiny)) as url:
        window.open(f"{url}/ui/")
        window.click("#qr-example-support")
        window.wait(
            lambda: "this service takes 3 in a request" in window.text("#qr-results"), "the refusal"
        )
