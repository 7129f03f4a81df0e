"""The hosted APIs, as section 11 of the wire formats has them; all of them want a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from support.remote_oracle import Oracle, sigmoid
from support.rerank_server import Answer
from support.served import Refused, Route, Served, ranked, take, texts_problem, usage

Rows = list[dict[str, Any]]
MODEL = "Qwen/Qwen3-Reranker-8B"


class Hosted(Served):
    """A vendor's API over the oracle.

    Args:
        oracle: Scores.
        templating: Who writes the prompt there.
    """

    model: ClassVar[str] = MODEL
    path: ClassVar[str] = "/v1/rerank"
    optional: ClassVar[dict[str, Any]] = {"top_n": int, "return_documents": bool}
    instruction: ClassVar[str | None] = None
    most: ClassVar[int] = 1000
    refusal: ClassVar[Callable[[int, str], Any]] = staticmethod(
        lambda status, words: {"error": {"message": words, "code": status}}
    )
    shape: ClassVar[Callable[[Rows, int], Any]] = staticmethod(
        lambda rows, count: {"id": "x", "results": rows, "usage": usage(count)}
    )

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        templating: Literal["server", "none"] = "server",
    ) -> None:
        super().__init__(oracle, key=key)
        self.templating = templating
        self.unauthorized = self.refusal(401, "Invalid token")  # type: ignore[misc]

    def routes(self) -> dict[str, Route]:
        return {self.path: self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        optional = self.optional | ({self.instruction: str} if self.instruction else {})
        self.check(take(body, {"model": str, "query": str, "documents": list}, optional))
        self.check(None if body["model"] == self.model else "Model does not exist")
        asked = body.get(self.instruction) if self.instruction else None
        return self.ranking(body["query"], body["documents"], body.get("top_n"), asked)

    def ranking(
        self, query: str, documents: list[str], top_n: int | None, asked: str | None
    ) -> Answer:
        self.check(texts_problem(query, documents, top_n=top_n))
        self.check(f"at most {self.most} documents" if len(documents) > self.most else None)
        prompts = self.prompts(query, documents, asked)
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        rows = [
            {"index": index, "relevance_score": score} for index, score in ranked(scores, top_n)
        ]
        return Answer(self.shape(rows, sum(map(len, prompts))))

    def prompts(self, query: str, documents: list[str], asked: str | None) -> list[list[int]]:
        if self.templating == "none":
            return [self.oracle.ids(query + document) for document in documents]
        return [self.oracle.prompt(asked, query, document) for document in documents]

    def check(self, problem: str | None, status: int = 400) -> None:
        if problem:
            raise Refused(status, self.refusal(status, problem))


class SiliconFlow(Hosted):
    instruction = "instruction"
    refusal = staticmethod(
        lambda status, words: (
            words if status in (401, 404, 504) else {"code": 20012, "message": words, "data": None}
        )
    )
    shape = staticmethod(
        lambda rows, count: {
            "id": "x",
            "results": rows,
            "meta": {"tokens": {"input_tokens": count, "output_tokens": 0}},
        }
    )


class DashScope(Hosted):
    model = "qwen3-rerank"
    path = "/api/v1/services/rerank/text-rerank/text-rerank"
    instruction = "instruct"
    most = 500
    refusal = staticmethod(
        lambda status, words: {"code": "InvalidParameter", "message": words, "request_id": "r-1"}
    )
    shape = staticmethod(
        lambda rows, count: {
            "request_id": "r-1",
            "code": "",
            "message": "",
            "output": {"results": rows},
            "usage": {"total_tokens": count},
        }
    )

    def rerank(self, body: dict[str, Any]) -> Answer:
        self.check(take(body, {"model": str, "input": dict, "parameters": dict}))
        self.check(take(body["input"], {"query": str, "documents": list}))
        parameters = body["parameters"]
        known = {"top_n": int, "return_documents": bool, "instruct": str}
        self.check(take(parameters, {}, known))
        self.check(None if body["model"] == self.model else "Model not exist.")
        query, documents = body["input"]["query"], body["input"]["documents"]
        lengths = [len(self.oracle.ids(text)) for text in (query, *documents)]
        cost = lengths[0] * len(documents) + sum(lengths[1:])
        self.check(f"{cost} tokens are more than 120000" if cost > 120_000 else None)
        return self.ranking(query, documents, parameters.get("top_n"), parameters.get("instruct"))


class DashScopeCompatible(Hosted):
    model = "qwen3-rerank"
    path = "/compatible-api/v1/reranks"
    instruction = "instruct"
    most = 500
    refusal = staticmethod(DashScope.refusal)
    shape = staticmethod(
        lambda rows, count: {"id": "x", "results": rows, "usage": {"total_tokens": count}}
    )


class DeepInfra(Hosted):
    path = f"/v1/inference/{MODEL}"
    refusal = staticmethod(lambda status, words: {"detail": {"error": words}})

    def rerank(self, body: dict[str, Any]) -> Answer:
        self.check(take(body, {"queries": list, "documents": list}, {"instruction": str}))
        queries, documents = body["queries"], body["documents"]
        self.check(None if len(queries) == len(documents) else "lengths differ")
        prompts = [
            self.prompts(query, [document], body.get("instruction"))[0]
            for query, document in zip(queries, documents, strict=True)
        ]
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        return Answer({"scores": scores, "input_tokens": sum(map(len, prompts))})


class Fireworks(Hosted):
    path = "/inference/v1/rerank"
    shape = staticmethod(
        lambda rows, count: {"object": "list", "data": rows, "usage": usage(count)}
    )


class Novita(Hosted):
    path = "/openai/v1/rerank"
    refusal = staticmethod(lambda status, words: {"code": status, "reason": "X", "message": words})


class Together(Hosted):
    pass


class Nebius(Hosted):
    optional: ClassVar[dict[str, Any]] = {}
    refusal = staticmethod(lambda status, words: {"detail": words})


class PrimeIntellect(Hosted):
    path = "/api/v1/rerank"
    instruction = "instruction"
    refusal = staticmethod(
        lambda status, words: (
            {"detail": words} if status in (401, 404, 503) else {"error": {"message": words}}
        )
    )


class Jina(Hosted):
    refusal = staticmethod(lambda status, words: {"detail": words})


class Cohere(Hosted):
    path = "/v2/rerank"
    optional: ClassVar[dict[str, Any]] = {"top_n": int}
    refusal = staticmethod(lambda status, words: {"message": words})
    shape = staticmethod(
        lambda rows, count: {"id": "x", "results": rows, "meta": {"billed_units": {}}}
    )


class Voyage(Hosted):
    optional: ClassVar[dict[str, Any]] = {
        "top_k": int,
        "return_documents": bool,
        "truncation": bool,
    }
    refusal = staticmethod(lambda status, words: {"detail": words})
    shape = staticmethod(
        lambda rows, count: {"object": "list", "data": rows, "usage": {"total_tokens": count}}
    )


class Nim(Hosted):
    """NVIDIA's container: extra fields are refused, the scores are logits."""

    path = "/v1/ranking"
    most = 512

    def rerank(self, body: dict[str, Any]) -> Answer:
        required = {"model": str, "query": dict, "passages": list}
        self.check(take(body, required, {"truncate": str}))
        self.check(None if body.get("truncate") in (None, "NONE", "END") else "truncate")
        texts = [body["query"], *body["passages"]]
        self.check(next(filter(None, (take(text, {"text": str}) for text in texts)), None))
        query, *documents = (text["text"] for text in texts)
        self.check(f"at most {self.most}" if len(documents) > self.most else None)
        margins = [self.oracle.margin(ids) for ids in self.prompts(query, documents, None)]
        return Answer({"rankings": [{"index": i, "logit": m} for i, m in ranked(margins)]})


class Nvidia(Nim):
    path = f"/v1/retrieval/{MODEL}/reranking"
