"""`Qwen3Rerank`, the LangChain document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.documents import BaseDocumentCompressor, Document

from langchain_qwen3_rerank.documents import (
    ERROR_KEY,
    DocumentText,
    document_texts,
    ranked_copies,
)
from shared_core.adapter import AdapterOptions
from shared_core.options import Instruction, resolve_instruction
from shared_core.options.windows import LongDocuments
from shared_core.results import RankedDocument

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables import Runnable, RunnableConfig
    from typing_extensions import Self, Unpack


class CallOptions(TypedDict, total=False):
    """The options that a single call may change, since they do not affect the model."""

    instruction: Instruction | None
    top_k: int | None
    top_n: int | None
    score_threshold: float | None
    min_docs: int
    return_window: bool
    long_documents: LongDocuments
    window_tokens: int
    window_overlap: int | None
    document_text: DocumentText | None


class Qwen3Rerank(AdapterOptions, BaseDocumentCompressor):
    """Orders LangChain documents by the probability that Qwen3-Reranker answers "yes".

    Nothing is loaded, and no server asked, before the first call that has documents. Async calls
    await a server natively. All options of `Reranker` are fields here, and what follows:

    Args:
        reranker: A `Reranker` to share, instead of the options that belong to the model.
        instruction: The task sentence, or a function of the query that returns it. ``None`` is the
            default one; left out beside a ``reranker``, it is that reranker's.
        top_k: The most documents to return; ``None`` returns all. ``top_n`` is an alias.
        score_threshold: Drop documents with a score below this, in [0, 1].
        min_docs: Keep this many of the best, whatever the threshold says.
        long_documents, window_tokens, window_overlap: As for `Reranker`, and like the instruction
            they belong to this object, not to the model.
        return_window: Return a long document with its best window for a text.
        document_text: The text that is judged: a function of the document, or metadata
            keys to put before its ``page_content``, as ``key: value`` lines.

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

    document_text: DocumentText | None = None

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy with other options, which uses the same loaded model.

        Args:
            **options: ``instruction``, ``top_k``, ``score_threshold``, ``min_docs``,
                ``long_documents``, ``window_tokens``, ``window_overlap``, ``return_window`` and
                ``document_text``; what is left out stays as it is.

        Raises:
            ConfigurationError: An option belongs to the model: that takes a new `Qwen3Rerank`.
            ValueError: An option is unknown or out of range, or contradicts another.
        """
        return self._changed(options)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the relevant documents, best first.

        Each has ``metadata["relevance_score"]``, P(yes) in [0, 1]. A score that the retriever left
        there is kept as ``metadata["retrieval_score"]``. With ``on_error="passthrough"``, documents
        that could not be scored have ``metadata["rerank_error"]`` instead of a score. A document
        that was judged by windows has the best one's characters as
        ``metadata["relevance_window"]``, ``[start, end]``.

        Args:
            documents: The documents to order. They are not changed.
            query: The search query.
            callbacks: Receive this call as a run of its own, below the caller's.

        Raises:
            TypeError, ValueError: An argument is wrong; nothing was scored.
            RerankError: Scoring failed, unless ``on_error="passthrough"``.
        """
        if not documents:
            return []
        run, inputs, config = self._run(documents, query, callbacks)
        outputs: list[Document] = run.invoke(inputs, config)["documents"]
        return outputs

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """`compress_documents` without blocking the event loop or its shared threads."""
        if not documents:
            return []
        run, inputs, config = self._run(documents, query, callbacks)
        outputs: list[Document] = (await run.ainvoke(inputs, config))["documents"]
        return outputs

    def _run(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None
    ) -> tuple[Runnable[dict[str, Any], dict[str, Any]], dict[str, Any], RunnableConfig]:
        """Return the runnable, its inputs and its config, so that tracers see a run.

        A compressor reports nothing by itself; a runnable does, and takes the callbacks of the
        caller in their sync and their async form alike.
        """
        # Twice the import time of all the rest; whoever has a retriever has it already.
        from langchain_core.runnables import RunnableLambda

        instruction = resolve_instruction(self.instruction, None, query)
        options: dict[str, Any] = {
            "instruction": instruction,
            "top_k": self.top_k,
            "score_threshold": self.score_threshold,
            "min_docs": self.min_docs,
            **self.window_options,
        }

        def rank(inputs: dict[str, Any]) -> dict[str, Any]:
            texts = document_texts(inputs["documents"], self.document_text)
            ranked = self.reranker.rerank(inputs["query"], texts, **options)
            return self._outputs(inputs["documents"], texts, ranked)

        async def arank(inputs: dict[str, Any]) -> dict[str, Any]:
            texts = document_texts(inputs["documents"], self.document_text)
            ranked = await self.reranker.arerank(inputs["query"], texts, **options)
            return self._outputs(inputs["documents"], texts, ranked)

        inputs = {"query": query, "documents": list(documents)}
        metadata = {"model": self.model, "n_documents": len(documents), **options}
        return (
            RunnableLambda(rank, afunc=arank, name=type(self).__name__),
            inputs,
            {"callbacks": callbacks, "metadata": metadata},
        )

    def _outputs(
        self, documents: Sequence[Document], texts: Sequence[str], ranked: Sequence[RankedDocument]
    ) -> dict[str, Any]:
        """Return the documents, and the details that tracers show."""
        return {
            "documents": ranked_copies(documents, texts, ranked, return_window=self.return_window),
            "scores": [document.score for document in ranked],
            "n_documents": len(ranked),
            "n_truncated": sum(bool(document.truncated) for document in ranked),
            ERROR_KEY: next((d.error for d in ranked if d.error is not None), None),
        }
