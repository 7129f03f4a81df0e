"""`Qwen3RerankRetriever`, a retriever that reranks; it needs langchain-core alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # here before 2.10, too

from langchain_qwen3_rerank.compressor import CallOptions, Qwen3Rerank
from shared_core.options.neighbours import did_you_mean
from shared_core.options.remote import without_inputs

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from typing_extensions import Self

_MISSPELT = 0.8
"""How like an option a name is that is taken for a misspelt one: "topk", but not "fetch_k"."""


class Qwen3RerankRetriever(BaseRetriever):
    """Returns the documents of another retriever, reranked.

    A call can have options of its own: ``retriever.invoke(query, top_k=3, instruction=...)`` takes
    those of `Qwen3Rerank.with_options`, and hands all others on to the base retriever.

    Args:
        base_retriever: A retriever, or any runnable from a query to documents. Let it return more
            documents than are wanted in the end.
        reranker: Orders them.
    """

    # As in the options: a refused value may be a mistyped key.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    base_retriever: RetrieverLike
    reranker: Qwen3Rerank

    @model_validator(mode="wrap")
    @classmethod
    def _name_neighbours(cls, data: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return check(data)
        except ValidationError as error:
            raise without_inputs(error, cls.model_fields) from None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        reranker, rest = self._for_call(kwargs)
        callbacks = run_manager.get_child()
        documents = self.base_retriever.invoke(query, {"callbacks": callbacks}, **rest)
        return reranker.compress_documents(documents, query, callbacks)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        reranker, rest = self._for_call(kwargs)
        callbacks = run_manager.get_child()
        documents = await self.base_retriever.ainvoke(query, {"callbacks": callbacks}, **rest)
        return await reranker.acompress_documents(documents, query, callbacks)

    def _for_call(self, kwargs: dict[str, Any]) -> tuple[Qwen3Rerank, dict[str, Any]]:
        """Return the reranker for this call, and the arguments of the inner retriever.

        Raises:
            TypeError: An argument is nearly one of the reranker's: most retrievers would ignore it.
        """
        names = CallOptions.__annotations__.keys() & kwargs.keys()
        rest = {name: value for name, value in kwargs.items() if name not in names}
        for name in rest:
            near = did_you_mean(name, CallOptions.__annotations__, _MISSPELT)
            if near:
                raise TypeError(
                    f"{name!r} is not an option of a call.{near} If it belongs to the base "
                    "retriever, set it when you make that retriever"
                )
        if not names:
            return self.reranker, rest
        return self.reranker.with_options(**{name: kwargs[name] for name in names}), rest
