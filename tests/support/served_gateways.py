"""Infinity, Xinference, LocalAI, LiteLLM and this project's own service (sections 6 to 9)."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from support.remote_oracle import Oracle, sigmoid
from support.rerank_server import Answer
from support.served import Refused, Route, Served, ranked, take, texts_problem, usage


class Infinity(Served):
    """Infinity strips every text and writes no prompt; ``templated`` stands for a wrapper.

    What it counts are characters.
    """

    public: ClassVar[tuple[str, ...]] = ("/health",)
    unauthorized: ClassVar[Any] = {"detail": "Unauthorized"}

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        templated: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__(oracle, key=key)
        self.templated = templated
        self.prefix = prefix

    def pages(self) -> dict[str, Any]:
        card = {"id": self.model, "owned_by": "infinity", "capabilities": ["rerank"]}
        return {"/health": {"unix": 1.5}, f"{self.prefix}/models": {"data": [card]}}

    def routes(self) -> dict[str, Route]:
        return {f"{self.prefix}/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"return_documents": bool, "raw_scores": bool, "model": str, "top_n": int}
        if problem := take(body, {"query": str, "documents": list}, fields):
            raise Refused(422, {"detail": [{"loc": ["body"], "msg": problem, "type": "x"}]})
        if body.get("model", self.model) != self.model:
            error = {"message": "model not deployed", "type": None, "param": None, "code": 400}
            raise Refused(400, {"error": error})
        query, documents = body["query"].strip(), [text.strip() for text in body["documents"]]
        if self.templated:
            prompts = [self.oracle.prompt(None, query, document) for document in documents]
        else:
            prompts = [self.oracle.ids(query + document) for document in documents]
        scores = [self.oracle.margin(ids) for ids in prompts]
        if not body.get("raw_scores"):
            scores = [sigmoid(score) for score in scores]
        rows = [
            {"relevance_score": score, "index": index, "document": None}
            for index, score in ranked(scores, body.get("top_n"))
        ]
        characters = sum(len(query) + len(document) for document in documents)
        return Answer({"object": "rerank", "results": rows, "usage": usage(characters)})


class Xinference(Served):
    """Xinference templates; only its transformers engine takes an instruction."""

    unauthorized: ClassVar[Any] = {"detail": "Not authenticated"}

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        engine: Literal["transformers", "vllm"] = "transformers",
        templated: bool = True,
    ) -> None:
        super().__init__(oracle, key=key)
        self.engine = engine
        self.templated = templated  # not if the registered name does not contain qwen3

    def pages(self) -> dict[str, Any]:
        card = {"id": self.model, "model_type": "rerank", "model_name": "Qwen3-Reranker-0.6B"}
        return {
            "/v1/models": {"object": "list", "data": [card]},
            "/v1/cluster/version": {"version": "4.1.0", "full-revisionid": "x"},
            "/v1/cluster/auth": {"auth": self.key is not None},
        }

    def routes(self) -> dict[str, Route]:
        return {"/v1/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"top_n": int, "return_documents": bool, "return_len": bool, "kwargs": str}
        problem = take(body, {"model": str, "query": str, "documents": list}, fields)
        problem = problem or texts_problem(
            body["query"], body["documents"], top_n=body.get("top_n")
        )
        if problem:
            raise Refused(500, {"detail": problem})
        if body["model"] != self.model:
            raise Refused(400, {"detail": f"[address] Model not found, uid: {body['model']}"})
        extra = json.loads(body.get("kwargs", "{}"))
        if set(extra) - ({"instruction"} if self.engine == "transformers" else set()):
            raise Refused(500, {"detail": f"Unexpected keyword arguments: {list(extra)}"})
        prompts = [
            self.oracle.prompt(extra.get("instruction"), body["query"], document)
            if self.templated
            else self.oracle.ids(body["query"] + document)
            for document in body["documents"]
        ]
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        rows = [
            {"index": index, "relevance_score": score, "document": None}
            for index, score in ranked(scores, body.get("top_n"))
        ]
        tokens = dict.fromkeys(("input_tokens", "output_tokens"), sum(map(len, prompts)))
        meta = {"tokens": tokens if body.get("return_len") else None, "warnings": None}
        return Answer({"id": "x", "results": rows, "meta": meta})


class LocalAI(Served):
    """LocalAI over its llama.cpp backend."""

    def routes(self) -> dict[str, Route]:
        return {"/v1/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        required = {"model": str, "query": str, "documents": list}
        problem = take(body, required, {"top_n": int})
        problem = problem or texts_problem(
            body["query"], body["documents"], top_n=body.get("top_n")
        )
        if problem:
            raise Refused(422, problem)
        prompts = [
            self.oracle.prompt(None, body["query"], document) for document in body["documents"]
        ]
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        rows = [
            {"index": i, "document": {"text": body["documents"][i]}, "relevance_score": score}
            for i, score in ranked(scores, body.get("top_n"))
        ]
        count = usage(sum(map(len, prompts)))
        return Answer({"model": body["model"], "usage": count, "results": rows})


class LiteLLM(Served):
    """LiteLLM's proxy; what stands behind it templates with an instruction, without, or not.

    Asking ``/health`` would make it call every model that it knows.
    """

    public: ClassVar[tuple[str, ...]] = ("/health/readiness", "/health/liveliness")

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        behind: Literal["server", "server-fixed", "client"] = "server",
    ) -> None:
        super().__init__(oracle, key=key)
        self.behind = behind
        self.models_called = 0

    def answer(self, seen: Any) -> Answer:
        self.models_called += seen.path == "/health"
        return super().answer(seen)

    def pages(self) -> dict[str, Any]:
        return {
            "/health/readiness": {"status": "healthy", "db": "Not connected"},
            "/health/readiness/details": {"status": "healthy", "litellm_version": "1.108.7"},
            "/health": {"healthy_endpoints": [], "unhealthy_endpoints": []},
            "/v1/models": {"data": [{"id": self.model, "object": "model", "owned_by": "openai"}]},
        }

    def routes(self) -> dict[str, Route]:
        return dict.fromkeys(("/rerank", "/v1/rerank", "/v2/rerank"), self.rerank)

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"top_n": int, "return_documents": bool, "instruction": str}
        if problem := take(body, {"model": str, "query": str, "documents": list}, fields):
            error = {"message": problem, "type": "None", "param": "None", "code": "400"}
            raise Refused(400, {"error": error})
        query, asked = body["query"], body.get("instruction")
        if self.behind == "client":
            prompts = [self.oracle.ids(query + document) for document in body["documents"]]
        else:
            asked = asked if self.behind == "server" else None
            prompts = [self.oracle.prompt(asked, query, text) for text in body["documents"]]
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        rows = [{"index": i, "relevance_score": s} for i, s in ranked(scores, body.get("top_n"))]
        tokens = {"input_tokens": sum(map(len, prompts)), "output_tokens": 0}
        return Answer({"id": "x", "results": rows, "meta": {"tokens": tokens}})


class OwnService(Served):
    """The service of this project, and the least that speaks like it (without logits)."""

    public: ClassVar[tuple[str, ...]] = ("/health",)

    def __init__(
        self, oracle: Oracle, *, key: str | None = None, reports_logits: bool = True
    ) -> None:
        super().__init__(oracle, key=key)
        self.reports_logits = reports_logits

    def pages(self) -> dict[str, Any]:
        return {"/health": {"service": "qwen3-rerank", "version": "0.1.0", "max_documents": 10}}

    def routes(self) -> dict[str, Route]:
        return {"/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        if problem := take(body, {"query": str, "documents": list}, {"instruction": str}):
            raise Refused(422, {"detail": [{"loc": ["body"], "msg": problem, "type": "x"}]})
        documents = body["documents"]
        if len(documents) > 10:
            raise Refused(413, {"detail": "at most 10 documents"})
        asked = body.get("instruction")
        prompts = [self.oracle.literal_prompt(asked, body["query"], text) for text in documents]
        rows = [
            {"index": i, "document": documents[i], "score": sigmoid(margin), "logit": margin}
            for i, margin in ranked([self.oracle.margin(ids) for ids in prompts])
        ]
        if not self.reports_logits:
            rows = [{name: row[name] for name in ("index", "score")} for row in rows]
        return Answer({"results": rows, "usage": usage(sum(map(len, prompts)))})
