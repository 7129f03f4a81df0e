"""`Qwen3Rerank`, the LangChain document compressor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda, RunnableSerializable
from langchain_core.runnables.config import merge_configs
from pydantic import ConfigDict, Field

from langchain_qwen3_rerank.documents import (
    ERROR_KEY,
    NO_ANSWER_KEY,
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
from langchain_qwen3_rerank.vectors import Embedder, aembedded, embedded
from shared_core.adapter import AdapterOptions
from shared_core.fusion import Fusion
from shared_core.images.content import Content, text_of
from shared_core.no_answer import OnNoAnswer, ainstead, instead, is_unanswered
from shared_core.options import Instruction, resolve_instruction
from shared_core.options.ranking import Compress
from shared_core.options.windows import LongDocuments
from shared_core.results import Ranking

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables import RunnableConfig
    from typing_extensions import Self, Unpack


class CallOptions(TypedDict, total=False):
    """The options that a single call may change, since they do not affect the model."""

    instruction: Instruction | None
    top_k: int | None
    top_n: int | None
    score_threshold: float | None
    min_probability: float | None
    on_no_answer: OnNoAnswer
    min_docs: int
    fusion: Fusion | None
    retriever_score_key: str | None
    mmr: float | None
    embeddings: Embedder | None
    max_candidates: int | None
    time_budget: float | None
    return_window: bool
    evidence: bool
    compress: Compress | None
    long_documents: LongDocuments
    window_tokens: int
    window_overlap: int | None
    document_text: DocumentText | None
    document_images: DocumentImages | None


class Qwen3Rerank(
    AdapterOptions, BaseDocumentCompressor, RunnableSerializable[dict[str, Any], list[Document]]
):
    """Orders LangChain documents by the probability that Qwen3-Reranker answers "yes".

    Nothing is loaded, and no server asked, before the first call that has documents. Async calls
    await a server natively. It is a runnable, too, from ``{"query": …, "documents": …}`` to
    documents, with ``configurable_fields`` for the options that `with_options` takes. All options
    of `Reranker` are fields here, and what follows:

    Args:
        reranker: A `Reranker` to share, instead of the options that belong to the model.
        instruction: The task sentence, or a function of the query that returns it. ``None`` is the
            default one; left out beside a ``reranker``, it is that reranker's.
        top_k: The most documents to return; ``None`` returns all. ``top_n`` is an alias.
        score_threshold: Drop documents with a score below this, in [0, 1].
        min_probability: Drop documents with a calibrated probability below this, in [0, 1].
        on_no_answer: With a ``calibration``, what is returned where it says that nothing answers:
            ``"keep"`` the documents, ``"empty"`` none, or those that a function of the query and
            the ranked documents returns, which may be async. See docs/calibration.md.
        min_docs: Keep this many of the best, whatever the threshold says.
        fusion: Also let the retriever decide the order: ``"rrf"`` adds reciprocal ranks, a number
            from 0 to 1 is the weight of the retriever. ``metadata["fused_score"]`` has the result;
            ``relevance_score`` and threshold stay those of the reranker. See docs/fusion.md.
        retriever_score_key: Where the metadata has the retriever's score, larger is better. Most
            retrievers leave none: ``None`` takes their order instead.
        mmr: Order by maximal marginal relevance: the weight, from 0 to 1, of relevance against
            dissimilarity to the documents before.
        embeddings: A LangChain embedding model, or a function from texts to vectors, by which
            ``mmr`` compares; ``None`` compares words. It is not part of dumps.
        max_candidates: Score the first so many documents alone. The others follow behind, in the
            retriever's order, with ``metadata["rerank_scored"]`` false, as far as ``top_k`` has
            room; a ``score_threshold`` drops them.
        time_budget: Seconds for scoring, loading apart: documents are scored in the retriever's
            order, and what there was no time for is returned as behind ``max_candidates``.
        long_documents, window_tokens, window_overlap: As for `Reranker`, and like the instruction
            they belong to this object, not to the model.
        return_window: Return a long document with its best window for a text.
        evidence: Also find the sentences of each document returned that answer the query, by
            scoring its parts in one further request: ``metadata["relevance_evidence"]``.
            See
            docs/evidence.md.
        compress: ``"evidence"`` returns each document with its evidence and the sentences next to
            it for a text.
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

    document_text: DocumentText | None = None
    document_images: DocumentImages | None = None
    retriever_score_key: str | None = None
    embeddings: Embedder | None = Field(default=None, exclude=True, repr=False)

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy with other options, which uses the same loaded model.

        Args:
            **options: ``instruction``, ``top_k``, ``score_threshold``, ``min_probability``,
                ``on_no_answer``, ``min_docs``, ``fusion``, ``retriever_score_key``, ``mmr``,
                ``embeddings``, ``max_candidates``, ``time_budget``, ``long_documents``,
                ``window_tokens``, ``window_overlap``, ``return_window``, ``evidence``,
                ``compress``, ``document_text`` and ``document_images``; what is left out stays as
                it is.

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
        ``metadata["probability"]`` and ``metadata["no_answer"]``. A score that the retriever left
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

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the options; the model and the embedding model are shared."""
        memo = {} if memo is None else memo
        memo[id(self.embeddings)] = self.embeddings
        return super().__deepcopy__(memo)

    def _for_call(self, options: dict[str, Any]) -> Self:
        return self.with_options(**options) if options else self

    def _compressed(
        self, documents: Sequence[Document], query: Query, config: RunnableConfig | None
    ) -> list[Document]:
        if not documents and not callable(self.on_no_answer):
            return []
        run, inputs, own = self._run(documents, query)
        outputs: list[Document] = run.invoke(inputs, merge_configs(own, config))["documents"]
        return outputs

    async def _acompressed(
        self, documents: Sequence[Document], query: Query, config: RunnableConfig | None
    ) -> list[Document]:
        if not documents and not callable(self.on_no_answer):
            return []
        run, inputs, own = self._run(documents, query)
        outputs = await run.ainvoke(inputs, merge_configs(own, config))
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
        instruction = resolve_instruction(self.instruction, None, text_of(content))
        options: dict[str, Any] = {
            "instruction": instruction,
            **self.ranking_options,
            **self.window_options,
        }
        embeddings = None if self.mmr is None else self.embeddings

        def rank(inputs: dict[str, Any]) -> dict[str, Any]:
            documents, texts, contents, scores = self._judged(inputs)
            vectors = embedded(embeddings, texts)
            ranked = self.reranker.rerank(
                content, contents, retriever_scores=scores, embeddings=vectors, **options
            )
            outputs = self._outputs(documents, texts, ranked)
            if is_unanswered(ranked, self.on_no_answer):
                query, found = inputs["query"], outputs["documents"]
                outputs["documents"] = instead(self.on_no_answer, query, found, Document)
            return outputs

        async def arank(inputs: dict[str, Any]) -> dict[str, Any]:
            documents, texts, contents, scores = self._judged(inputs)
            vectors = await aembedded(embeddings, texts)
            ranked = await self.reranker.arerank(
                content, contents, retriever_scores=scores, embeddings=vectors, **options
            )
            outputs = self._outputs(documents, texts, ranked)
            if is_unanswered(ranked, self.on_no_answer):
                query, found = inputs["query"], outputs["documents"]
                outputs["documents"] = await ainstead(self.on_no_answer, query, found, Document)
            return outputs

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

    def _outputs(
        self, documents: Sequence[Document], texts: Sequence[str], ranked: Ranking
    ) -> dict[str, Any]:
        """Return the documents, and the details that tracers show."""
        return {
            "documents": ranked_copies(documents, texts, ranked, cut=self.cut),
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
