"""The routes that score."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from qwen3_rerank.service import replies
from qwen3_rerank.service.budget import BUDGET_HEADER, budget_of
from qwen3_rerank.service.endpoint import endpoint
from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.failures import RefusedError, in_words
from qwen3_rerank.service.limits import check_limits
from qwen3_rerank.service.logs import audit_logger, log_fields
from qwen3_rerank.service.ranking import Ranked, calibration_of, ranked
from qwen3_rerank.service.requests import (
    BatchRequest,
    PredictRequest,
    RerankRequest,
    ScorePairsRequest,
    ScoringRequest,
)
from shared_core.images.content import Content, text_of
from shared_core.inputs import rank_requests
from shared_core.options import RankingOptions
from shared_core.options.windows import Windows
from shared_core.scoring import Scored, ScoreRequest

Asked = TypeVar("Asked", bound=BaseModel)
Answer = Callable[[Asked, "Call"], Awaitable[Any]]

QueryTexts = tuple[str | Content, Sequence[str | Content]]
"""A query with its documents."""


class Call:
    """The scoring of one HTTP request, with its entry in the audit log."""

    def __init__(self, service: Service, request: Request) -> None:
        self.service = service
        self.path = request.url.path
        self.request_id = str(request.state.request_id)
        self._key: str | None = getattr(request.state, "key", None)
        self._budget = request.headers.get(BUDGET_HEADER)

    def requests(self, texts: Sequence[QueryTexts], body: ScoringRequest) -> list[ScoreRequest]:
        """Return the texts with the instruction in force. Raises `RefusedError`."""
        return [self.service.request(query, documents, body.task) for query, documents in texts]

    async def score(
        self, requests: Sequence[ScoreRequest], body: ScoringRequest
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each query.

        Raises:
            RefusedError: The request cannot be, or not now.
        """
        started = time.perf_counter()
        windows = self._windows(body)
        check_limits(requests, self.service.settings)
        answers = await self.service.score(requests, windows, key=self._key)
        self._audit(requests, answers, time.perf_counter() - started)
        return answers

    async def rank(
        self, texts: Sequence[QueryTexts], body: RerankRequest | BatchRequest | PredictRequest
    ) -> Ranked:
        """Return the ranking of each query. Raises `RefusedError`, as `score` does."""
        budget = budget_of(body.time_budget, self._budget)
        ranking = body.ranking.model_copy(update={"time_budget": budget})
        whole = await self.service.seen(self.requests(texts, body))
        try:
            requests = rank_requests(whole, ranking, body.all_scores, None)
        except (ValueError, TypeError) as error:
            raise RefusedError(422, str(error)) from None
        started = time.perf_counter()
        found = await ranked(self.service, requests, ranking, self._windows(body), key=self._key)
        self._audit(found.requests, found.answers, time.perf_counter() - started)
        return found

    def _windows(self, body: ScoringRequest) -> Windows | None:
        try:
            return body.windows(self.service.settings)
        except ValidationError as error:
            raise RefusedError(422, in_words(error)) from None

    def _audit(
        self,
        requests: Sequence[ScoreRequest],
        answers: Sequence[Sequence[Scored]],
        seconds: float,
    ) -> None:
        scored = [document for answer in answers for document in answer]
        shown = [
            {
                "query": text_of(request.query),
                "instruction": request.instruction,
                "documents": [*map(text_of, request.documents)],
            }
            for request in requests
        ]
        log_fields(
            audit_logger,
            "scored",
            request_id=self.request_id,
            key=self._key,
            path=self.path,
            queries=len(requests),
            documents=len(scored),
            prompt_tokens=replies.n_tokens(scored),
            truncated=sum(bool(document.truncated) for document in scored),
            duration_ms=round(seconds * 1000, 1),
            texts=shown if self.service.settings.log_documents else None,
        )


async def rerank_plain(body: RerankRequest, call: Call) -> Any:
    """`/rerank`: the plain reply, TEI's, or to requests with Jina's or vLLM's fields theirs."""
    if body.is_compatible and not body.is_tei:
        return await rerank_v1(body, call)
    found = await call.rank([(body.query, body.contents)], body)
    (results,) = found.rankings
    if body.is_tei:
        if body.truncate is False and any(document.truncated for document in found.scored):
            length = call.service.settings.max_length
            raise RefusedError(
                422, f"a text has more than {length} tokens with the prompt around it"
            )
        echo = body.return_text or bool(body.return_documents)
        return replies.tei(results, echo=echo, is_raw=body.is_raw)
    rows = replies.plain_rows(results, is_raw=body.is_raw)
    return replies.plain(rows, replies.n_tokens(found.scored)) | replies.no_answer(results)


async def rerank_v1(body: RerankRequest, call: Call) -> Any:
    """`/v1/rerank`: what Jina and vLLM return; the texts too, unless asked not to."""
    return await _compatible(body, call, echo=body.return_documents is not False)


async def rerank_v2(body: RerankRequest, call: Call) -> Any:
    """`/v2/rerank`: what Cohere returns; the texts only if asked."""
    return await _compatible(body, call, echo=bool(body.return_documents))


async def _compatible(body: RerankRequest, call: Call, *, echo: bool) -> Any:
    found = await call.rank([(body.query, body.contents)], body)
    reply = replies.compatible(
        found.rankings[0],
        replies.n_tokens(found.scored),
        request_id=call.request_id,
        model=call.service.model,
        echo=echo,
        is_raw=body.is_raw,
    )
    return reply | replies.no_answer(found.rankings[0])


async def rerank_batch(body: BatchRequest, call: Call) -> Any:
    """`/rerank/batch`: several queries; a list of rows for each."""
    texts: list[QueryTexts] = list(zip(body.queries, body.documents_batch, strict=True))
    found = await call.rank(texts, body)
    echo = body.return_documents is not False
    rows = [replies.plain_rows(ranking, echo=echo) for ranking in found.rankings]
    reply = replies.plain(rows, replies.n_tokens(found.scored))
    return reply | replies.no_answers(found.rankings)


async def score_pairs(body: ScorePairsRequest, call: Call) -> Any:
    """`/score`: a score per pair, in input order."""
    by_query: dict[str, list[tuple[int, str]]] = {}
    for index, (query, document) in enumerate(body.pairs):
        by_query.setdefault(query, []).append((index, document))
    texts: list[QueryTexts] = [
        (query, [text for _, text in listed]) for query, listed in by_query.items()
    ]
    requests = call.requests(texts, body)
    calibrations = [calibration_of(call.service, asked, RankingOptions()) for asked in requests]
    answers = await call.score(requests, body)
    calibrated = {
        index: calibration
        for listed, calibration in zip(by_query.values(), calibrations, strict=True)
        for index, _ in listed
    }
    found = {
        index: document
        for listed, scored in zip(by_query.values(), answers, strict=True)
        for (index, _), document in zip(listed, scored, strict=True)
    }
    in_order = [found[index] for index in range(len(found))]
    return replies.scores(
        in_order,
        [calibrated[index] for index in range(len(found))],
        request_id=call.request_id,
        model=call.service.model,
        is_raw=body.use_activation is False,
    )


async def predict(body: PredictRequest, call: Call) -> Any:
    """`/api/predict`: ``{result: [{document, score}]}``."""
    found = await call.rank([(body.query, body.documents)], body)
    return replies.predicted(found.rankings[0]) | replies.no_answer(found.rankings[0])


_ROUTES: list[tuple[str, type[BaseModel], Answer[Any]]] = [
    ("/rerank", RerankRequest, rerank_plain),
    ("/v1/rerank", RerankRequest, rerank_v1),
    ("/v2/rerank", RerankRequest, rerank_v2),
    ("/rerank/batch", BatchRequest, rerank_batch),
    ("/score", ScorePairsRequest, score_pairs),
    ("/v1/score", ScorePairsRequest, score_pairs),
    ("/api/predict", PredictRequest, predict),
]


def scoring_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["scoring"])
    for path, model, answer in _ROUTES:
        router.add_api_route(
            path,
            endpoint(service, model, _answering(service, answer)),
            methods=["POST"],
            summary=(answer.__doc__ or "").partition(": ")[2],
            operation_id=path.strip("/").replace("/", "_"),
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": model.model_json_schema()}},
                }
            },
        )
    return router


def _answering(
    service: Service, answer: Answer[Any]
) -> Callable[[Any, Request], Coroutine[Any, Any, Any]]:
    async def answering(body: Any, request: Request) -> Any:
        return await answer(body, Call(service, request))

    return answering
