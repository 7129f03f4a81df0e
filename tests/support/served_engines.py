"""SGLang, TEI, llama.cpp and Ollama, as sections 3, 4, 5 and 10 of the wire formats have them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from parity import reference
from support.remote_oracle import Oracle, sigmoid
from support.rerank_server import Answer
from support.served import Refused, Route, Served, ranked, take, texts_problem, usage


class Sglang(Served):
    """Launched without ``--is-embedding``; ``templated`` with a chat template for rerankers."""

    def __init__(self, oracle: Oracle, *, key: str | None = None, templated: bool = True) -> None:
        super().__init__(oracle, key=key)
        self.templated = templated

    def is_guarded(self, path: str) -> bool:
        return not path.startswith(("/health", "/ready", "/metrics"))

    def pages(self) -> dict[str, Any]:
        card = {"id": self.model, "owned_by": "sglang", "root": "/m", "max_model_len": 1024}
        return {
            "/health": Answer(b""),
            "/model_info": {"model_path": "/m", "is_generation": True},
            "/server_info": {"version": "0.5.23"},
            "/v1/models": {"object": "list", "data": [card]},
        }

    def routes(self) -> dict[str, Route]:
        return {"/v1/rerank": self.rerank, "/v1/score": self.score}

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"instruct": str, "top_n": int, "return_documents": bool}
        self._check(take(body, {"query": str, "documents": list}, fields))
        query, documents = body["query"], body["documents"]
        self._check(texts_problem(query, documents, top_n=body.get("top_n")))
        if any(not document.strip() for document in documents):
            self._check("a document is blank")
        scores = [
            sigmoid(self.oracle.margin(self.oracle.prompt(body.get("instruct"), query, document)))
            for document in documents
        ]
        rows: list[dict[str, Any]] = []
        for index, score in ranked(scores, body.get("top_n")):
            rows.append({"score": score, "index": index, "meta_info": None})
            if body.get("return_documents", True):
                rows[-1]["document"] = documents[index]
        return Answer(rows)

    def score(self, body: dict[str, Any]) -> Answer:
        fields = {"model": str, "apply_softmax": bool, "item_first": bool}
        required: dict[str, Any] = {"query": (str, list), "items": list, "label_token_ids": list}
        self._check(take(body, required, fields))
        scores, count = [], 0
        for item in body["items"]:
            parts = (body["query"], item)
            ids = [i for p in parts for i in (self.oracle.ids(p) if isinstance(p, str) else p)]
            found = self.oracle.log_probabilities(ids)
            if not all(0 <= i < len(found) for i in body["label_token_ids"]):
                self._check("a label token is out of the vocabulary")
            first, second = (found[i] for i in body["label_token_ids"])
            yes = sigmoid(first - second) if body["apply_softmax"] else math.exp(first)
            scores.append([yes, 1 - yes if body["apply_softmax"] else math.exp(second)])
            count += len(ids)
        return Answer({"scores": scores, "model": self.model, "usage": usage(count)})

    def _check(self, problem: str | None) -> None:
        if problem:
            fields = {"object": "error", "type": "BadRequest", "param": None, "code": 400}
            raise Refused(400, fields | {"message": problem})


class Tei(Served):
    """Text Embeddings Inference: bare pairs unless it stands for one that templates by itself."""

    public: ClassVar[tuple[str, ...]] = ("/health", "/", "/ping", "/metrics")
    unauthorized: ClassVar[Any] = b""
    unknown: ClassVar[Any] = b""
    most: ClassVar[int] = 32

    def __init__(self, oracle: Oracle, *, key: str | None = None, templated: bool = False) -> None:
        super().__init__(oracle, key=key)
        self.templated = templated

    def pages(self) -> dict[str, Any]:
        return {
            "/health": Answer(b""),
            "/info": {
                "model_id": self.model,
                "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}}},
                "max_input_length": 512,
                "max_client_batch_size": self.most,
                "auto_truncate": True,
                "version": "1.9.3",
            },
        }

    def routes(self) -> dict[str, Route]:
        return {"/rerank": self.rerank}

    def rerank(self, body: dict[str, Any]) -> Answer:
        fields = {"truncate": bool, "raw_scores": bool, "return_text": bool}
        if problem := take(body, {"query": str, "texts": list}, fields):
            text = f"Failed to deserialize the JSON body into the target type: {problem}"
            raise Refused(422, text.encode(), {"content-type": "text/plain; charset=utf-8"})
        texts = body["texts"]
        if not texts:
            raise self._refused(400, "`texts` cannot be empty", "Empty")
        if len(texts) > self.most:
            message = f"batch size {len(texts)} > maximum allowed batch size {self.most}"
            raise self._refused(422, message, "Validation")
        if self.templated:
            prompts = [self.oracle.prompt(None, body["query"], text) for text in texts]
        else:
            prompts = [self.oracle.ids(body["query"] + text) for text in texts]
        scores = [self.oracle.margin(ids) for ids in prompts]
        if not body.get("raw_scores"):
            scores = [sigmoid(score) for score in scores]
        rows = [{"index": index, "score": score} for index, score in ranked(scores)]
        return Answer(rows, headers={"x-compute-tokens": str(sum(map(len, prompts)))})

    def _refused(self, status: int, message: str, kind: str) -> Refused:
        return Refused(status, {"error": message, "error_type": kind})


class LlamaCpp(Served):
    """llama.cpp: ``--reranking`` with the template in the GGUF, or a generating server.

    It fills the template in by replacing ``{query}``, then ``{document}``.
    """

    public: ClassVar[tuple[str, ...]] = ("/health", "/v1/health")
    unauthorized: ClassVar[Any] = {
        "error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}
    }
    unknown: ClassVar[Any] = {
        "error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}
    }

    def __init__(
        self,
        oracle: Oracle,
        *,
        key: str | None = None,
        reranking: bool = True,
        templated: bool = True,
    ) -> None:
        super().__init__(oracle, key=key)
        self.reranking = reranking
        self.templated = templated  # else the GGUF file lacks the template, and texts are joined

    def pages(self) -> dict[str, Any]:
        return {
            "/health": {"status": "ok"},
            "/props": {"model_path": "/m.gguf", "default_generation_settings": {"n_ctx": 1024}},
            "/v1/models": {"data": [{"id": self.model, "owned_by": "llamacpp", "meta": {}}]},
        }

    def routes(self) -> dict[str, Route]:
        paths = ("/rerank", "/reranking", "/v1/rerank", "/v1/reranking")
        return dict.fromkeys(paths, self.rerank) | {"/completion": self.completion}

    def rerank(self, body: dict[str, Any]) -> Answer:
        if not self.reranking:
            message = "This server does not support reranking. Start it with `--reranking`"
            raise self._refused(501, message, "not_supported_error")
        fields = {"model": str, "top_n": int}
        if problem := take(body, {"query": str, "documents": list}, fields):
            raise self._refused(400, problem, "invalid_request_error")
        content = reference.format_instruction(None, "{query}", "{document}")
        template = reference.PREFIX + content + reference.SUFFIX
        template = template if self.templated else "{query}{document}"
        prompts = [
            self.oracle.ids(
                template.replace("{query}", body["query"]).replace("{document}", document)
            )
            for document in body["documents"]
        ]
        scores = [sigmoid(self.oracle.margin(ids)) for ids in prompts]
        rows = [{"index": i, "relevance_score": s} for i, s in ranked(scores, body.get("top_n"))]
        count = sum(map(len, prompts))
        return Answer({"model": body.get("model"), "usage": usage(count), "results": rows})

    def completion(self, body: dict[str, Any]) -> Answer:
        fields = {
            "n_predict": int,
            "n_probs": int,
            "temperature": float,
            "cache_prompt": bool,
            "logit_bias": list,
            "samplers": list,
            "post_sampling_probs": bool,
        }
        if problem := take(body, {"prompt": (str, list)}, fields):
            raise self._refused(400, problem, "invalid_request_error")
        prompt = body["prompt"]
        ids = self.oracle.ids(prompt) if isinstance(prompt, str) else prompt
        if not body["post_sampling_probs"] or body["samplers"] or body["temperature"] != 1.0:
            raise self._refused(400, "the samplers change the probabilities", "test")
        top = self.oracle.likeliest(ids, body["n_probs"], body["logit_bias"])
        listed = [{"id": i, "token": self.oracle.token(i), "prob": math.exp(p)} for i, p in top]
        step = {**listed[0], "top_probs": listed}
        return Answer(
            {"content": step["token"], "completion_probabilities": [step]}
            | {"tokens_evaluated": len(ids)}
        )

    def _refused(self, status: int, message: str, kind: str) -> Refused:
        return Refused(status, {"error": {"code": status, "message": message, "type": kind}})


class Ollama(Served):
    """No rerank route at all."""

    unknown: ClassVar[Any] = b"404 page not found"

    def __init__(self, oracle: Oracle, *, key: str | None = None, boost: float = 30) -> None:
        super().__init__(oracle, key=key)
        self.boost = boost  # a trained model puts nearly all on the two answers, a random one not

    def pages(self) -> dict[str, Any]:
        return {
            "/": Answer(b"Ollama is running", headers={"content-type": "text/plain"}),
            "/api/version": {"version": "0.15.1"},
            "/v1/models": {"data": [{"id": self.model, "owned_by": "library"}]},
        }

    def routes(self) -> dict[str, Route]:
        return {"/api/generate": self.generate}

    def generate(self, body: dict[str, Any]) -> Answer:
        required = {"model": str, "prompt": str, "raw": bool, "stream": bool}
        fields = {"logprobs": bool, "top_logprobs": int, "options": dict}
        if problem := take(body, required, fields):
            raise Refused(400, {"error": problem})
        if body["model"] != self.model:
            raise Refused(404, {"error": f"model '{body['model']}' not found"})
        if not body["raw"] or body["stream"] or body["options"]["num_predict"] != 1:
            raise Refused(400, {"error": "this is not how to ask for one raw token"})
        ids = self.oracle.ids(body["prompt"])
        answers = ((self.oracle.yes_id, self.boost), (self.oracle.no_id, self.boost))
        top = self.oracle.likeliest(ids, body["top_logprobs"], answers)
        listed = [{"token": self.oracle.token(i), "logprob": p} for i, p in top]
        step = {**listed[0], "top_logprobs": listed}
        return Answer(
            {"model": self.model, "response": step["token"], "done": True}
            | {"prompt_eval_count": len(ids), "logprobs": [step]}
        )
