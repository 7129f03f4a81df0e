"""Images in requests to the service, with a model of a user's own that sees."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.seeing import Redness, swatch
from support.services import Run, Running

from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Content, Reranker


def address(color: str) -> str:
    buffer = io.BytesIO()
    swatch(color).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def part(color: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address(color)}}


@pytest.fixture(scope="module")
def seeing() -> Iterator[Running]:
    settings = ServiceSettings(port=0, log_level="warning", max_images=3, max_image_pixels=10_000)
    running = Running(make_server(settings, reranker=Reranker(scorer=Redness())))
    yield running
    running.stop()


def post(service: Running, **body: Any) -> httpx.Response:
    body = {"query": "q", "documents": ["a text"]} | body
    return httpx.post(f"{service.url}/v1/rerank", json=body, timeout=30)


SHAPES: dict[str, Any] = {
    "vLLM": {"content": [{"type": "text", "text": "a caption"}, part("red")]},
    "SGLang": [{"type": "text", "text": "a caption"}, part("red")],
    "Jina": {"image": address("red")},
    "Jina with a text": {"image": address("red"), "text": "a caption"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_taken_in_the_shapes_of_other_servers(shape: str, seeing: Running) -> None:
    reply = post(seeing, documents=["a text", SHAPES[shape], {"text": "b"}], model="x")
    assert reply.status_code == 200, reply.text
    rows = reply.json()["results"]
    assert [row["index"] for row in rows] == [1, 0, 2]
    assert rows[0]["document"] == {"text": "" if shape == "Jina" else "a caption"}
    assert post(seeing, query=SHAPES[shape]).status_code == 200


def test_a_text_without_an_image_may_say_so(seeing: Running) -> None:
    reply = post(seeing, documents=[{"text": "a text", "image": None}])
    assert reply.json()["results"][0]["document"] == {"text": "a text"}


def test_our_own_client_sends_contents_through_the_service(seeing: Running) -> None:
    documents = ["a text", Content("green", [swatch("green")]), Content(images=[swatch("red")])]
    with Reranker(base_url=seeing.url) as reranker:
        ranked = reranker.rerank(Content("q", [swatch("black")]), documents)
    assert [result.index for result in ranked] == [2, 0, 1]
    direct = Reranker(scorer=Redness()).rerank(Content("q", [swatch("black")]), documents)
    assert [one.score for one in ranked] == pytest.approx([one.score for one in direct])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"image": "http://127.0.0.1:9/a.png"}, "document 0 .*URLs are not fetched here"),
        ({"image": "/etc/passwd"}, "files are not read here"),
        ({"image": "file:///etc/passwd"}, "files are not read here"),
        ({"image": "data:image/png;base64,aGVsbG8="}, "no image that can be read"),
        ([part("red")] * 4, "4 images: this service takes 3 in a request"),
        ({"content": [{"type": "video_url", "video_url": {"url": "a"}}]}, "of type 'video_url'"),
        ({"picture": "a"}, "item 0 is neither a string nor"),
        ({"image": 3}, "must be a path, a URL"),
    ],
)
def test_what_is_not_taken_is_refused(document: Any, message: str, seeing: Running) -> None:
    import re

    reply = post(seeing, documents=[document])
    assert reply.status_code == 422, reply.text
    assert re.search(message, reply.text), reply.text


def test_images_are_bounded_in_pixels(seeing: Running) -> None:
    buffer = io.BytesIO()
    swatch("red", (200, 200)).save(buffer, "PNG")
    large = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    reply = post(seeing, documents=[{"image": large}])
    assert (reply.status_code, "200 × 200 pixels, more than 10000" in reply.text) == (422, True)


def test_urls_are_of_public_addresses_even_where_they_are_allowed(run: Run) -> None:
    service = run(Reranker(scorer=Redness()), image_urls=True)
    reply = post(service, documents=[{"image": f"{service.url}/metrics"}])
    assert reply.status_code == 422
    assert "no public address" in reply.text


def test_a_server_of_images_that_is_gone_is_no_fault_of_the_request(run: Run) -> None:
    """So that clients repeat it; names below ``.invalid`` never exist."""
    service = run(Reranker(scorer=Redness()), image_urls=True)
    reply = post(service, documents=[{"image": "http://images.invalid/a.png"}])
    assert reply.status_code == 502
    assert "document 0 (http://images.invalid/a.png): it cannot be fetched" in reply.text


def test_a_text_model_refuses_images_and_says_so(run: Run, reranker: Reranker) -> None:
    service = run(reranker)
    assert httpx.get(f"{service.url}/health", timeout=30).json()["takes_images"] is False
    reply = post(service, documents=[{"image": address("red")}])
    assert reply.status_code == 422
    assert "reads text alone" in reply.text


def test_ranking_options_go_with_images(seeing: Running) -> None:
    documents = [{"image": address(color)} for color in ("red", "maroon", "red")]
    reply = post(seeing, documents=documents, mmr=0.3, evidence=True, long_documents="windows")
    assert [row["index"] for row in reply.json()["results"]] == [0, 1, 2]
