"""`Qwen3RelevancyEvaluator`, LlamaIndex's evaluation of contexts by the reranker's score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.evaluation import BaseEvaluator, EvaluationResult

from llama_index_qwen3_rerank.instruction_prompt import InstructionPrompts
from shared_core import Ranking
from shared_core.adapter import RerankerHolder


class Qwen3RelevancyEvaluator(InstructionPrompts, RerankerHolder, BaseEvaluator):
    """Evaluates whether one of the contexts of a query, or else the response, answers it.

    No language model is asked: the score is that of the best context, P(yes) in [0, 1], or its
    calibrated probability where the reranker has a ``calibration``. ``feedback`` names the context
    and quotes its evidence. All options of `Reranker` are fields here, or give a ``reranker`` to
    share its model, and what follows:

    Args:
        threshold: The least score, or probability, of a result that passes.
        evidence: Find the sentences of the best context that answer, for the feedback.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another one.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    threshold: float = Field(default=0.5, ge=0.0, le=1.0, strict=True)
    evidence: bool = True

    def evaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Return whether the best of the contexts, or without any the response, answers the query.

        Args:
            query: The query.
            response: The response; it is not judged where there are contexts.
            contexts: The texts that were retrieved.

        Raises:
            ValueError: There is no query, or nothing to judge.
            RerankError: Scoring failed. With ``on_error="passthrough"`` the result is invalid.
        """
        question, texts = _required(query, response, contexts)
        ranking = self.reranker.rerank(question, texts, **self._options)
        return self._result(question, response, contexts, ranking)

    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """`evaluate` without blocking the event loop."""
        question, texts = _required(query, response, contexts)
        ranking = await self.reranker.arerank(question, texts, **self._options)
        return self._result(question, response, contexts, ranking)

    @property
    def _options(self) -> dict[str, Any]:
        return self.call_options | {"evidence": self.evidence, "top_k": 1}

    def _result(
        self,
        query: str,
        response: str | None,
        contexts: Sequence[str] | None,
        ranking: Ranking,
    ) -> EvaluationResult:
        (best,) = ranking
        result = EvaluationResult(query=query, response=response, contexts=contexts)
        score = best.score if best.probability is None else best.probability
        if score is None:
            return result.model_copy(
                update={"invalid_result": True, "invalid_reason": best.error or "not scored"}
            )
        where = f"context {best.index + 1} of {len(contexts)}" if contexts else "the response"
        quoted = "" if best.evidence is None else f": {best.evidence.text}"
        feedback = f"{where} has {score:.3f}{quoted}"
        passing = score >= self.threshold
        return result.model_copy(update={"score": score, "passing": passing, "feedback": feedback})


def _required(
    query: str | None, response: str | None, contexts: Sequence[str] | None
) -> tuple[str, list[str]]:
    if query is None:
        raise ValueError("an evaluation needs a query: give query")
    if contexts:
        return query, list(contexts)
    if response is None:
        raise ValueError("there is nothing to evaluate: give contexts, or a response")
    return query, [response]
