"""Servers of a reranker that sees, in the formats of vLLM, SGLang and Jina.

The judge looks at the pixels that arrive: the redder an image, the higher its logit.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any, ClassVar

from PIL import Image, ImageStat
from support.remote_oracle import sigmoid
from support.rerank_server import Answer
from support.served import Refused, Route, Served, ranked, usage

PROMPT = 75  # tokens around query and document


class Seeing(Served):
    """What they share: an image's redness, and a token per word and per 32 × 32 pixels."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # it has a judge of its own
        self.pictures: list[Image.Image] = []

    def judged(self, item: Any) -> tuple[float, int]:
        """Return an item's logit and tokens; refuses what the real server does."""
        if isinstance(item, str):
            return len(item) / 100, len(item.split())
        logit, count = 0.0, 0
        for part in self.parts(item):
            if part["type"] == "text":
                count += len(part["text"].split())
                continue
            head, _, data = part["image_url"]["url"].partition(",")
            if not head.startswith("data:image/"):
                raise Refused(400, {"error": {"message": "only data: addresses here"}})
            image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
            self.pictures.append(image)
            red, green, _ = ImageStat.Stat(image).mean
            logit += (red - green) / 64
            count += image.width * image.height // 1024 + 2
        return logit, count

    def parts(self, item: Any) -> list[dict[str, Any]]:
        raise NotImplementedError


class SeeingVllm(Seeing):
    """vLLM with Qwen3-VL-Reranker; with ``sees`` false, with a text model in its place.

    Its template writes ``label`` between query and document.
    """

    def __init__(
        self,
        *,
        templated: bool = True,
        sees: bool = True,
        pooling: bool = True,
        label: str = "\n<Document>:",
    ) -> None:
        super().__init__()
        self.templated, self.sees, self.pooling, self.label = templated, sees, pooling, label

    def pages(self) -> dict[str, Any]:
        root = "Qwen/Qwen3-VL-Reranker-2B"
        card = {"id": self.model, "owned_by": "vllm", "root": root, "max_model_len": 8192}
        return {"/version": {"version": "0.32.0"}, "/v1/models": {"data": [card]}}

    def routes(self) -> dict[str, Route]:
        found: dict[str, Route] = {"/tokenize": lambda _: Answer({"tokens": [1], "count": 1})}
        if self.pooling:
            return found | {"/v1/rerank": self.rerank, "/classify": self.rerank}
        return found | {"/v1/completions": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        query, asked = self.judged(body["query"])
        found = [self._written(body["query"], document) for document in body["documents"]]
        extra = len(body.get("instruction", "").split()) + PROMPT if self.templated else 0
        count = sum(tokens + asked + extra for _, tokens in found)
        logits = [
            logit - (query if not isinstance(body["query"], str) else 0) for logit, _ in found
        ]
        rows = [{"index": index, "relevance_score": score} for index, score in ranked(logits, None)]
        return Answer({"results": rows, "usage": usage(count)})

    def _written(self, query: Any, document: Any) -> tuple[float, int]:
        """Judge a document in the prompt that the template makes of two texts."""
        logit, count = self.judged(document)
        if isinstance(query, str) and isinstance(document, str):
            logit = zlib.crc32(f"{query}{self.label}{document}".encode()) / 2**36
        return logit, count

    def parts(self, item: Any) -> list[dict[str, Any]]:
        if not self.sees:
            message = "MultiModalParam is not supported for Qwen3ForSequenceClassification"
            raise Refused(400, {"error": {"message": message, "type": "BadRequestError"}})
        found: list[dict[str, Any]] = item["content"]
        return found


class SeeingSglang(Seeing):
    """SGLang: a content is a list of parts, the reply a bare list of probabilities."""

    def routes(self) -> dict[str, Route]:
        return {"/v1/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        scores = [sigmoid(self.judged(document)[0]) for document in body["documents"]]
        return Answer([{"index": i, "score": score} for i, score in ranked(scores, None)])

    def parts(self, item: Any) -> list[dict[str, Any]]:
        assert isinstance(item, list)
        return item


class SeeingJina(Seeing):
    """Jina's m-series: a document is a text or an image."""

    fields: ClassVar[set[str]] = {"image", "text"}

    def routes(self) -> dict[str, Route]:
        return {"/v1/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        scores = [sigmoid(self.judged(document)[0]) for document in body["documents"]]
        rows = [{"index": i, "relevance_score": score} for i, score in ranked(scores, None)]
        return Answer({"results": rows, "usage": {"total_tokens": 9}})

    def parts(self, item: Any) -> list[dict[str, Any]]:
        assert len(item) == 1
        assert item.keys() <= self.fields
        return [{"type": "image_url", "image_url": {"url": item["image"]}}]
