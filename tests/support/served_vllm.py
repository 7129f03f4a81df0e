"""vLLM as section 2 of the wire formats describes it, the pooling and the generating server."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from support.remote_oracle import Oracle, sigmoid
from support.rerank_server import Answer
from support.served import Refused, Route, Served, ranked, take, usage

Templating = Literal["instruction", "fixed", "none"]


class Vllm(Served):
    """What both have: discovery, /tokenize, errors, a guard on ``/v1`` alone."""

    max_model_len: ClassVar[int] = 1024

    def __init__(self, oracle: Oracle, *, key: str | None = None, version: str = "0.32.0") -> None:
        super().__init__(oracle, key=key)
        self.version = version

    def is_guarded(self, path: str) -> bool:
        return path.startswith(("/v1", "/v2"))

    def pages(self) -> dict[str, Any]:
        card = {
            "id": self.model,
            "object": "model",
            "owned_by": "vllm",
            "root": "/models/reranker",
            "max_model_len": self.max_model_len,
        }
        return {
            "/health": Answer(b""),
            "/version": {"version": self.version},
            "/v1/models": {"object": "list", "data": [card]},
        }

    def routes(self) -> dict[str, Route]:
        return {"/tokenize": self.tokenize}

    def tokenize(self, body: dict[str, Any]) -> Answer:
        self.check(body, {"prompt": str}, {"model": str, "add_special_tokens": bool})
        ids = self.oracle.ids(body["prompt"])
        return Answer({"count": len(ids), "max_model_len": self.max_model_len, "tokens": ids})

    def check(
        self, body: dict[str, Any], required: dict[str, Any], optional: dict[str, Any]
    ) -> None:
        if problem := take(body, required, optional):
            raise self.refused(400, problem)
        if body.get("model", self.model) != self.model:
            raise self.refused(404, f"The model `{body['model']}` does not exist.")

    def refused(self, status: int, message: str, param: str | None = None) -> Refused:
        kind = "NotFoundError" if status == 404 else "BadRequestError"
        error = {"message": message, "type": kind, "param": param, "code": status}
        return Refused(status, {"error": error})

    def fitting(self, prompt: str | list[int], room: int = 0) -> list[int]:
        """Return a prompt's ids; one that is too long is refused, never cut."""
        ids = self.oracle.ids(prompt) if isinstance(prompt, str) else prompt
        if len(ids) > self.max_model_len - room:
            raise self.refused(
                400,
                f"This model's maximum context length is {self.max_model_len} tokens. However, "
                f"your request has {len(ids)} input tokens.",
                "input_tokens",
            )
        return ids


class VllmPooling(Vllm):
    """``--runner pooling``.

    Args:
        templating: Whether it was started with a template, and if that reads an instruction.
        knows_activation: False for versions that ignore ``use_activation``.
    """

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        version: str = "0.32.0",
        templating: Templating = "instruction",
        knows_activation: bool = True,
        has_classify: bool = True,
    ) -> None:
        super().__init__(oracle, key=key, version=version)
        self.templating = templating
        self.knows_activation = knows_activation
        self.has_classify = has_classify

    def routes(self) -> dict[str, Route]:
        paths: dict[str, Route] = dict.fromkeys(
            ("/rerank", "/v1/rerank", "/v2/rerank"), self.rerank
        )
        paths |= {"/score": self.score, "/v1/score": self.score}
        if self.has_classify:
            paths["/classify"] = self.classify
        return super().routes() | paths

    def classify(self, body: dict[str, Any]) -> Answer:
        self.check(body, {"input": list}, {"model": str, "use_activation": bool})
        prompts = [self.fitting(prompt) for prompt in body["input"]]
        data = [
            {
                "index": index,
                "label": "LABEL_0",
                "probs": [self._activated(self.oracle.margin(ids), body)],
                "num_classes": 1,
            }
            for index, ids in enumerate(prompts)
        ]
        count = sum(map(len, prompts))
        return Answer({"id": "classify-1", "object": "list", "data": data, "usage": usage(count)})

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"model": str, "top_n": int, "use_activation": bool, "instruction": str}
        fields |= {"max_tokens_per_doc": int}
        self.check(body, {"query": str, "documents": list}, fields)
        scores, count = self._pairs(body["query"], body["documents"], body)
        results = [
            {"index": index, "document": {"text": body["documents"][index]}, "relevance_score": s}
            for index, s in ranked(scores, body.get("top_n") or None)
        ]
        reply = {"id": "score-1", "model": self.model, "usage": usage(count), "results": results}
        return Answer(reply)

    def score(self, body: dict[str, Any]) -> Answer:
        fields = {"model": str, "use_activation": bool, "instruction": str}
        fields |= {"max_tokens_per_doc": int}
        self.check(body, {"text_1": str, "text_2": list}, fields)
        scores, count = self._pairs(body["text_1"], body["text_2"], body)
        data = [{"index": i, "object": "score", "score": s} for i, s in enumerate(scores)]
        return Answer({"id": "score-1", "object": "list", "data": data, "usage": usage(count)})

    def _pairs(
        self, query: str, documents: list[str], body: dict[str, Any]
    ) -> tuple[list[float], int]:
        most = body.get("max_tokens_per_doc") or None
        prompts = []
        for document in documents:
            if most is not None:
                ids = self.oracle.ids(document)[:most]
                document = "".join(self.oracle.token(i) for i in ids)
            if self.templating == "none":
                ids = self.oracle.ids(query + document)
            else:
                asked = body.get("instruction") if self.templating == "instruction" else None
                ids = self.oracle.prompt(asked, query, document)
            prompts.append(self.fitting(ids))
        scores = [self._activated(self.oracle.margin(ids), body) for ids in prompts]
        return scores, sum(map(len, prompts))

    def _activated(self, margin: float, body: dict[str, Any]) -> float:
        is_raw = self.knows_activation and body.get("use_activation") is False
        return margin if is_raw else sigmoid(margin)


class VllmGenerate(Vllm):
    """Not started as a reranker: 404 on /rerank and /classify."""

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        version: str = "0.32.0",
    ) -> None:
        super().__init__(oracle, key=key, version=version)
        self.names_tokens = tuple(map(int, version.split("."))) >= (0, 26)

    def routes(self) -> dict[str, Route]:
        found = super().routes() | {"/v1/completions": self.completions}
        if tuple(map(int, self.version.split("."))) >= (0, 20):
            found["/generative_scoring"] = self.generative
        return found

    def completions(self, body: dict[str, Any]) -> Answer:
        fields = {"temperature": int, "logprobs": int, "logprob_token_ids": list}
        fields |= {"return_tokens_as_token_ids": bool}
        self.check(body, {"model": str, "prompt": list, "max_tokens": int}, fields)
        choices, count = [], 0
        for index, prompt in enumerate(body["prompt"]):
            ids = self.fitting(prompt, room=1)
            found = self.oracle.log_probabilities(ids)
            best = self.oracle.likeliest(ids, 1, [])[0][0]
            named = body["logprob_token_ids"] if self.names_tokens else []
            listed = {f"token_id:{i}": found[i] for i in [best, *named]}
            logprobs = {"tokens": [f"token_id:{best}"], "top_logprobs": [listed]}
            choices.append({"index": index, "text": "", "logprobs": logprobs})
            count += len(ids)
        return Answer({"id": "cmpl-1", "choices": choices, "usage": usage(count)})

    def generative(self, body: dict[str, Any]) -> Answer:
        fields = {"model": str, "apply_softmax": bool, "item_first": bool}
        required = {"query": (str, list), "items": list, "label_token_ids": list}
        self.check(body, required, fields | {"add_special_tokens": bool})
        data, count = [], 0
        for index, item in enumerate(body["items"]):
            parts = (body["query"], item)
            ids = [i for p in parts for i in (self.oracle.ids(p) if isinstance(p, str) else p)]
            ids = ids[: self.max_model_len - 1]  # the real one cuts, silently
            found = self.oracle.log_probabilities(ids)
            first, second = (found[i] for i in body["label_token_ids"])
            data.append({"index": index, "object": "score", "score": sigmoid(first - second)})
            count += len(ids)
        return Answer({"object": "list", "data": data, "usage": usage(count)})
