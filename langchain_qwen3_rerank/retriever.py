"""`Qwen3RerankRetriever`, a retriever that reranks; it needs langchain-core alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import ConfigurableField, RunnableSerializable
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.runnables.utils import AnyConfigurableField
from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # here before 2.10, too

from langchain_qwen3_rerank.compressor import CallOptions, Qwen3Rerank
from shared_core.options.neighbours import did_you_mean
from shared_core.options.remote import without_inputs
from shared_core.reranker import Reranker

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

    ``configurable_fields`` takes those options, too, by their names.

    Args:
        base_retriever: A retriever, or any runnable from a query to documents. Let it return more
            documents than are wanted in the end.
        reranker: Orders them: a `Qwen3Rerank`, or a `Reranker` whose model is to be shared.
        **options: Those of `Qwen3Rerank`, such as ``model`` and ``top_k``, in the place of a
            ``reranker``; or beside one, in the place of its own.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another.
    """

    # As in the options: a refused value may be a mistyped key.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    base_retriever: RetrieverLike
    reranker: Qwen3Rerank

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            base_retriever: RetrieverLike,
            reranker: Qwen3Rerank | Reranker | None = None,
            **options: Any,
        ) -> None: ...

    @model_validator(mode="wrap")
    @classmethod
    def _name_neighbours(cls, data: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return check(_with_reranker(cls, data) if isinstance(data, Mapping) else data)
        except ValidationError as error:
            names = [*cls.model_fields, *Qwen3Rerank.model_fields]
            raise without_inputs(error, names) from None

    if not TYPE_CHECKING:  # A type checker would take this as leave to read any name.

        def __getattr__(self, name: str) -> Any:
            """Return the reranker's value of an option that a call may change."""
            if name in CallOptions.__annotations__:
                return getattr(self.reranker, name)
            return super().__getattr__(name)

    def configurable_fields(
        self, **fields: AnyConfigurableField
    ) -> RunnableSerializable[str, list[Document]]:
        """Return a retriever of which the config of a call can change options.

        Args:
            **fields: By name, fields of this class and options that `Qwen3Rerank.with_options`
                takes.

        Raises:
            ValueError: There is no such option.
        """
        options = CallOptions.__annotations__.keys() & fields.keys()
        super().configurable_fields(
            **{name: field for name, field in fields.items() if name not in options}
        )
        return RunnableConfigurableFields(
            default=self,
            fields={
                name: _described(name, field) if name in options else field
                for name, field in fields.items()
            },
        )

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


def _with_reranker(owner: type[BaseRetriever], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the options of `Qwen3Rerank` among them made into a reranker."""
    known = Qwen3Rerank.model_fields.keys() | {"top_n"}
    options = {
        name: value
        for name, value in given.items()
        if name in known and name not in owner.model_fields
    }
    rest = {name: value for name, value in given.items() if name not in options}
    reranker = rest.get("reranker")
    if isinstance(reranker, Qwen3Rerank):
        rest["reranker"] = reranker.with_options(**options) if options else reranker
    elif reranker is None or isinstance(reranker, Reranker):
        rest["reranker"] = Qwen3Rerank(**options, reranker=reranker)
    return rest


def _described(name: str, field: AnyConfigurableField) -> AnyConfigurableField:
    """Return a field with what LangChain would look up in the retriever's own fields."""
    if not isinstance(field, ConfigurableField):
        raise ValueError(f"{name} can be a ConfigurableField alone, got {type(field).__name__}")
    about = Qwen3Rerank.model_fields["top_k" if name == "top_n" else name]
    return field._replace(
        description=field.description or about.description or name,
        annotation=field.annotation or about.annotation,
    )
