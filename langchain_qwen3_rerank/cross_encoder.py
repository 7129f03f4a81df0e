"""`Qwen3CrossEncoder`, scores for code that takes a LangChain cross encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from shared_core.adapter import RerankerHolder
from shared_core.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.cross_encoders import BaseCrossEncoder
else:
    try:
        from langchain_core.cross_encoders import BaseCrossEncoder
    except ModuleNotFoundError:
        try:  # where langchain-core before 1.3 has it
            from langchain_classic.retrievers.document_compressors.cross_encoder import (
                BaseCrossEncoder,
            )
        except ModuleNotFoundError as error:
            raise ImportError(
                "Qwen3CrossEncoder needs LangChain's BaseCrossEncoder: "
                'pip install "langchain-core>=1.3"'
            ) from error


class Qwen3CrossEncoder(RerankerHolder, BaseCrossEncoder):
    """Scores pairs of query and document with P(yes) in [0, 1].

    For ``langchain_classic``'s ``CrossEncoderReranker`` and the like, which throw the scores away
    after ordering; `Qwen3Rerank` keeps them. All options of `Reranker` are fields here, or give a
    ``reranker`` to share its model.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another.
    """

    @model_validator(mode="before")
    @classmethod
    def _refuse_passthrough(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("on_error") == "passthrough":
            raise ConfigurationError(
                'on_error="passthrough" has no meaning for bare scores, which cannot say that they '
                "are missing: use Qwen3Rerank, or leave it out"
            )
        return data

    def score(self, text_pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return P(yes) of every (query, document) pair, in input order.

        Pairs of the same query share its computation, and all pairs share forwards. With
        ``long_documents="windows"``, a long document's score is that of its best window; which one
        that is, bare scores cannot say.

        Raises:
            TypeError, ValueError: A text is not a string, or a query is blank.
            RerankError: Scoring failed, also where a shared reranker passes failures through.
        """
        judged = self.reranker.score_pairs(text_pairs, **self.call_options)
        return [one.score for one in judged]
