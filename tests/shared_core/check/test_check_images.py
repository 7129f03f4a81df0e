"""`Reranker.check` of models that see: known pairs of texts, and of the two bundled images."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat
from support.rerank_server import Answer, RerankServer
from support.served import ranked
from support.served_seeing import SeeingVllm
from support.services import Running
from support.vision import write_vision_checkpoint

from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Content, Reranker
from shared_core.check.golden import FORGED, HONEST
from shared_core.known_pairs import PAIRS

ANSWERS = {good for _, good, _ in PAIRS}
Judge = Callable[[str, str], float]


def shown(image: Image.Image) -> str:
    """Return a picture in words."""
    red, _, blue = ImageStat.Stat(image).mean
    return "A red picture" if red > blue else "A blue picture"


def knowing(query: str, document: str) -> float:
    """What a good reranker says of images in words, and of the known texts."""
    for colour in ("red", "blue"):
        if f"A {colour}" in query:
            return 3.0 if f"A {colour}" in document else -3.0
    return 3.0 if document in ANSWERS else -3.0


def text_alone(query: str, document: str) -> float:
    """What one says to whom images are not given."""
    query, document = ("" if "picture" in text else text for text in (query, document))
    return knowing(query, document)


def documents_alone(query: str, document: str) -> float:
    """What one says who likes red, whatever is asked."""
    return knowing("A red", document) if document.startswith("A ") else knowing(query, document)


class Seer:
    """A user's own scorer that sees."""

    takes_images = True

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def score(
        self, query: str | Content, documents: Sequence[str | Content], *, instruction: str
    ) -> list[float]:
        asked, *texts = map(self._text, (query, *documents))
        return [self._judge(asked, text) + (len(text) + len(instruction)) / 1e4 for text in texts]

    def _text(self, item: str | Content) -> str:
        return item if isinstance(item, str) else shown(item.pictures[0].pixels)


class KnowingVllm(SeeingVllm):
    """vLLM with a trained model that sees."""

    def rerank(self, body: dict[str, Any]) -> Answer:
        asked, *texts = map(self._text, (body["query"], *body["documents"]))
        added = len(body.get("instruction", "")) / 1e4
        prompts = [f"{asked}{self.label}{text}".split(self.label, 1) for text in texts]
        logits = [knowing(*one) + len(one[1]) / 1e4 + added for one in prompts]
        rows = [{"index": index, "relevance_score": score} for index, score in ranked(logits)]
        return Answer(super().rerank(body).body | {"results": rows})

    def _text(self, item: Any) -> str:
        if isinstance(item, str):
            return item
        (part,) = item["content"]
        data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
        return shown(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_model_that_sees_is_asked_for_images_too() -> None:
    report = Reranker(scorer=Seer(knowing)).check()
    assert report.exit_code == 0
    assert {finding.status for finding in report.findings} == {"ok"}
    assert report["images"].detail == "6 of 6 known pairs in the right order"


@pytest.mark.parametrize(
    ("judge", "wrong"),
    [
        (text_alone, {"images"}),
        (documents_alone, {"images"}),
        (lambda query, document: -knowing(query, document), {"images", "order"}),
    ],
    ids=["no image arrives", "documents alone count", "the other way round"],
)
def test_what_does_not_follow_from_the_images_is_wrong(judge: Judge, wrong: set[str]) -> None:
    report = Reranker(scorer=Seer(judge)).check()
    assert report.exit_code == 1
    assert {one.name for one in report.findings if one.status == "wrong"} == wrong
    assert "qwen3_vl_reranker.jinja" in report["images"].fix


def test_advice_on_forgery_is_that_of_a_model_that_sees() -> None:
    """No server takes the token ids of its prompt, so that a tokenizer would not help."""
    known = {FORGED: 3.0, HONEST: -3.0}
    report = Reranker(
        scorer=Seer(lambda query, text: known.get(text, knowing(query, text)))
    ).check()
    assert report["forgery"].status == "wrong"
    assert "use the model in this process" in report["forgery"].fix
    assert "tokenizer=" not in report["forgery"].fix


def test_a_random_checkpoint_that_sees_is_by_chance(tmp_path: Path, real_tokenizer: Any) -> None:
    folder = write_vision_checkpoint(tmp_path, real_tokenizer)
    with Reranker(str(folder), device="cpu", dtype="float32") as reranker:
        report = reranker.check()
    assert report.exit_code == 1
    assert "close to random" in report["images"].detail
    assert "no trained Qwen3-VL-Reranker" in report["images"].fix


def test_a_server_of_a_model_that_sees_is_asked_by_its_own_prompt_alone() -> None:
    with RerankServer(KnowingVllm()) as server, Reranker("reranker", base_url=server.url) as asks:
        report = asks.check()
        assert {seen.path for seen in server.posts} == {"/v1/rerank"}
        assert report.exit_code == 0, report.to_dict()
        assert report["images"].status == report["prompt"].status == "ok"
        assert not {"plain /v1/rerank", "exactness", "comparison"} & set(report.names)
        assert "images" in report["route"].detail
    untrained = SeeingVllm()
    with RerankServer(untrained) as server, Reranker("reranker", base_url=server.url) as asks:
        report = asks.check()
    assert report.exit_code == 1
    assert report["images"].status == "wrong"


def test_our_own_service_is_checked_with_images() -> None:
    settings = ServiceSettings(port=0, log_level="warning")
    running = Running(make_server(settings, reranker=Reranker(scorer=Seer(knowing))))
    try:
        with Reranker(base_url=running.url) as client:
            report = client.check()
    finally:
        running.stop()
    assert report.exit_code == 0, report.to_dict()
    assert report["images"].status == "ok"
