"""`Qwen3Rerank`, the LangChain document compressor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda, RunnableSerializable
from langchain_core.runnables.config import merge_configs
from pydantic import ConfigDict, Field

from langchain_qwen3_rerank.documents import (
    DocumentText,
    document_texts,
    ranked_copies,
    retriever_scores,
)
from langchain_qwen3_rerank.images import (
    DocumentImages,
    Query,
    document_contents,
    query_content,
)
from langchain_qwen3_rerank.vectors import Embedder, embedded
from shared_core.adapter import AdapterCallOptions, AdapterOptions
from shared_core.images.content import Content, text_of
from shared_core.no_answer import instead
from shared_core.options import Instruction, resolve_instruction
from shared_core.options.documenting import documented
from shared_core.results import Ranking
from shared_core.shown import ERROR_KEY, NO_ANSWER_KEY
from shared_core.steps import arun, run

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables import RunnableConfig
    from typing_extensions import Self, Unpack


class CallOptions(AdapterCallOptions, total=False):
    """The options that a single call may change, since they do not affect the model."""

    instruction: Instruction | None
    retriever_score_key: str | None
    embeddings: Embedder | None
    document_text: DocumentText | None
    document_images: DocumentImages | None


@documented(AdapterOptions)
class Qwen3Rerank(
    AdapterOptions, BaseDocumentCompressor, RunnableSerializable[dict[str, Any], list[Document]]
):
    """Orders LangChain documents by the probability that Qwen3-Reranker answers "yes".

    Nothing is loaded, and no server asked, before the first call that has documents. Async calls
    await a server natively. It is a runnable, too, from ``{"query": …, "documents": …}`` to
    documents, with ``configurable_fields`` for the options that `with_options` takes.

    All options of `Reranker` and of a ranking are fields: ``help(Qwen3Rerank)`` describes them.

    Args:
        reranker: A `Reranker` to share, instead of the options that belong to the model.
        instruction: The task sentence, or a function of the query that returns it. ``None`` is the
            default one; left out beside a ``reranker``, it is that reranker's.
        top_k: The most documents to return, 5 by default; ``None`` returns all.
        top_n: An alias of ``top_k``.
        retriever_score_key: Where the metadata has the retriever's score, larger is better. Most
            retrievers leave none: ``None`` takes their order instead.
        embeddings: A LangChain embedding model, or a function from texts to vectors, by which
            ``mmr`` compares; ``None`` compares words. It is not part of dumps.
        document_text: The text that is judged: a function of the document, or metadata
            keys to put before its ``page_content``, as ``key: value`` lines.
        document_images: Where a document's images are, for a model that sees: the metadata key of a
            path, a URL, a ``data:`` address, bytes, a Pillow image or a block of LangChain's
            messages, or of a list of these; or a function of the document that returns such, or
            message parts, or a `Content`. See docs/images.md.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another.

    Examples:
        ```python
        reranker = Qwen3Rerank(top_k=3)
        retriever = ContextualCompressionRetriever(
            base_compressor=reranker, base_retriever=store.as_retriever(search_kwargs={"k": 20})
        )
        by_a_server = Qwen3Rerank(base_url="http://localhost:8000", top_k=3)  # docs/servers.md
        ```
    """

    # The bases' settings again: of LangChain's, extra="ignore" would come last.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    shared_with_copies = (*AdapterOptions.shared_with_copies, "embeddings")

    document_text: DocumentText | None = None
    document_images: DocumentImages | None = None
    retriever_score_key: str | None = None
    embeddings: Embedder | None = Field(default=None, exclude=True, repr=False)

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy with other options, which uses the same loaded model.

        Args:
            **options: Those of `CallOptions`; what is left out stays as it is.

        Raises:
            ConfigurationError: An option belongs to the model: that takes a new `Qwen3Rerank`.
            ValueError: An option is unknown or out of range, or contradicts another.
        """
        return self._changed(options)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the relevant documents, best first.

        Each has ``metadata["relevance_score"]``, P(yes) in [0, 1]; with a ``calibration`` also
        ``metadata["probability"]`` and ``metadata["no_answer"]``, with ``fusion``
        ``metadata["fused_score"]``, which the order follows. A score that the retriever left
        there is kept as ``metadata["retrieval_score"]``. With ``on_error="passthrough"``, documents
        that could not be scored have ``metadata["rerank_error"]`` instead of a score. All without a
        score have ``metadata["rerank_scored"]``, ``False``. A document
        that was judged by windows has the best one's characters as
        ``metadata["relevance_window"]``, ``[start, end]``. With ``evidence``,
        ``metadata["relevance_evidence"]`` has ``start``, ``end``, ``text`` and ``score``.

        Args:
            documents: The documents to order. They are not changed.
            query: The search query. At run time, the parts of a message or a `Content` will do.
            callbacks: Receive this call as a run of its own, below the caller's.

        Raises:
            TypeError, ValueError: An argument is wrong; nothing was scored.
            RerankError: Scoring failed, unless ``on_error="passthrough"``.
        """
        return self._compressed(documents, query, {"callbacks": callbacks})

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """`compress_documents` without blocking the event loop or its shared threads."""
        return await self._acompressed(documents, query, {"callbacks": callbacks})

    def invoke(
        self,
        input: dict[str, Any],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> list[Document]:
        """Return `compress_documents` of ``{"query": …, "documents": …}``.

        Args:
            input: The query, a text or parts with images, and the documents, as ``{"query":
                RunnablePassthrough(), "documents": retriever} | rerank`` passes them on.
            config: LangChain's.
            **options: Those of `with_options`, for this call.

        Raises:
            TypeError: The input has no query or no documents.
        """
        query, documents = _query_and_documents(input)
        return self._for_call(options)._compressed(documents, query, config)

    async def ainvoke(
        self,
        input: dict[str, Any],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> list[Document]:
        """`invoke` without blocking the event loop or its shared threads."""
        query, documents = _query_and_documents(input)
        return await self._for_call(options)._acompressed(documents, query, config)

    def _for_call(self, options: dict[str, Any]) -> Self:
        return self.with_options(**options) if options else self

    def _compressed(
        self, documents: Sequence[Document], query: Query, config: RunnableConfig | None
    ) -> list[Document]:
        if not documents and not callable(self.on_no_answer):
            return []
        tracked, inputs, own = self._run(documents, query)
        outputs: list[Document] = tracked.invoke(inputs, merge_configs(own, config))["documents"]
        return outputs

    async def _acompressed(
        self, documents: Sequence[Document], query: Query, config: RunnableConfig | None
    ) -> list[Document]:
        if not documents and not callable(self.on_no_answer):
            return []
        tracked, inputs, own = self._run(documents, query)
        outputs = await tracked.ainvoke(inputs, merge_configs(own, config))
        found: list[Document] = outputs["documents"]
        return found

    def _run(
        self, documents: Sequence[Document], query: Query
    ) -> tuple[RunnableLambda[dict[str, Any], dict[str, Any]], dict[str, Any], RunnableConfig]:
        """Return the runnable, its inputs and its config, so that tracers see a run.

        A compressor reports nothing by itself; a runnable does, and takes the callbacks of the
        caller in their sync and their async form alike.
        """
        content = query_content(query)
        options = self.call_options | self.ranking_options
        options["instruction"] = resolve_instruction(self.instruction, None, text_of(content))
        embeddings = None if self.mmr is None else self.embeddings

        def rank(inputs: dict[str, Any]) -> dict[str, Any]:
            documents, texts, contents, scores = self._judged(inputs)
            vectors = run(embedded(embeddings, texts))
            ranked = self.reranker.rerank(
                content, contents, retriever_scores=scores, embeddings=vectors, **options
            )
            found = ranked_copies(documents, texts, ranked, cut=self.cut)
            answer = instead(self.on_no_answer, ranked, inputs["query"], found, Document)
            return _outputs(ranked, run(answer))

        async def arank(inputs: dict[str, Any]) -> dict[str, Any]:
            documents, texts, contents, scores = self._judged(inputs)
            vectors = await arun(embedded(embeddings, texts))
            ranked = await self.reranker.arerank(
                content, contents, retriever_scores=scores, embeddings=vectors, **options
            )
            found = ranked_copies(documents, texts, ranked, cut=self.cut)
            answer = instead(self.on_no_answer, ranked, inputs["query"], found, Document)
            return _outputs(ranked, await arun(answer))

        inputs = {"query": text_of(content), "documents": list(documents)}
        metadata = {"model": self.model, "n_documents": len(documents), **options}
        name = self.name or type(self).__name__
        return RunnableLambda(rank, afunc=arank, name=name), inputs, {"metadata": metadata}

    def _judged(
        self, inputs: dict[str, Any]
    ) -> tuple[list[Document], list[str], Sequence[str | Content], list[Any] | None]:
        """Return the documents, their texts, these with images, and scores if they are wanted."""
        documents = inputs["documents"]
        texts = document_texts(documents, self.document_text)
        wanted = None if self.fusion is None else self.retriever_score_key
        contents = document_contents(documents, texts, self.document_images)
        return documents, texts, contents, retriever_scores(documents, wanted)


def _outputs(ranked: Ranking, documents: list[Document]) -> dict[str, Any]:
    """Return the documents, and the details that tracers show."""
    return {
        "documents": documents,
        "scores": [document.score for document in ranked],
        "n_documents": len(ranked),
        NO_ANSWER_KEY: ranked.no_answer,
        "n_truncated": sum(bool(document.truncated) for document in ranked),
        ERROR_KEY: next((d.error for d in ranked if d.error is not None), None),
    }


def _query_and_documents(given: object) -> tuple[Query, Sequence[Document]]:
    """Return both.

    Raises:
        TypeError: They are not there; a retriever passes its documents on, but not the query.
    """
    if isinstance(given, Mapping) and {"query", "documents"} <= given.keys():
        return given["query"], given["documents"]
    raise TypeError(
        "reranking needs the query as well as the documents, got "
        f"{sorted(given) if isinstance(given, Mapping) else type(given).__name__}: in the place of "
        "`retriever | rerank` write Qwen3RerankRetriever(base_retriever=retriever, "
        'reranker=rerank), or {"query": RunnablePassthrough(), "documents": retriever} | rerank'
    )
