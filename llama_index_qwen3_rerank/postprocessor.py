"""`Qwen3Rerank`, the LlamaIndex postprocessor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_qwen3_rerank.component import RerankerComponent
from llama_index_qwen3_rerank.images import node_contents, query_content
from llama_index_qwen3_rerank.nodes import check_nodes, node_texts, ranked_nodes
from llama_index_qwen3_rerank.tracing import dispatcher, reranking
from llama_index_qwen3_rerank.vectors import embedded, own_vectors
from shared_core import Content
from shared_core.adapter import AdapterOptions
from shared_core.no_answer import instead
from shared_core.options.documenting import documented
from shared_core.steps import Steps, arun, run, wait


@documented(AdapterOptions)
class Qwen3Rerank(RerankerComponent):
    """Keeps the most relevant nodes, best first, with P(yes) as their score.

    Nothing is loaded, and no server asked, before the first use. Sync calls may come from any
    thread; async calls await a server natively, and a local model on the reranker's own worker,
    never on the event loop or its default executor.

    All options of `Reranker` and of a ranking are fields: ``help(Qwen3Rerank)`` describes them.
    What a ranking says of a node is in the metadata of its copy, where neither embedding models nor
    LLMs read it: ``relevance_window`` (``[start, end]``, the characters of the best window),
    ``relevance_evidence``, ``probability``, ``no_answer``, ``fused_score``, and ``rerank_scored``,
    ``False``, for a node without a score of ours, which keeps the one it came with.

    Args:
        instruction: The task sentence, or a function of the query that returns it, or a
            `PromptTemplate` that contains ``{query_str}``.
        dialect: The server's wire format. An object of your own is kept by ``to_dict`` and by
            pickles; JSON cannot hold it.
        api_key, headers: The server's credentials. They are in no dump: give them again to
            ``from_dict``, or set ``QWEN3_RERANK_API_KEY``. A pickle has them, for the worker that
            it is sent to.
        reranker: A `Reranker` to share, instead of the model's options; its own then show here, and
            other values are an error. An instruction may still be given: ``None`` is the default
            one, left out it is the reranker's. Dumps carry its options, not a scorer of your own.
        top_k: The most nodes to keep, 5 by default; ``None`` keeps all. LlamaIndex's
            ``top_n`` is accepted as its other name.
        metadata_mode: Which metadata the model reads in front of a node's text.
        images: Whether the images of nodes (``ImageNode``, ``ImageDocument``, an image resource)
            and of queries (``QueryBundle(image_path=…)``) are judged beside the text, which takes a
            model that sees: a text model refuses them. ``False`` judges the text alone.
        keep_retrieval_score: Write the score that a node came with into its metadata, under
            ``retrieval_score``, which neither embedding models nor LLMs get to read; so by default.
        embed_model: A LlamaIndex embedding model, or a function from texts to vectors, for ``mmr``
            where not all nodes have an embedding of their own. It is not part of dumps.
        on_error: With ``"passthrough"``, a failure gives back the first ``top_k`` nodes in their
            input order. They keep the score they came with, since there is no other, and carry
            ``rerank_error`` in their metadata; neither embedding models nor LLMs read it.
        callback_manager: LlamaIndex's; not part of dumps, copies share it.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another one.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the class name that serialised dictionaries contain."""
        return "Qwen3Rerank"

    @dispatcher.span
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return run(self._reranked(nodes, query_bundle))

    # The base class has LlamaIndex trace the method above by itself, but not this one.
    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await arun(self._reranked(nodes, query_bundle))

    def _reranked(
        self, nodes: list[NodeWithScore], query: QueryBundle | None
    ) -> Steps[list[NodeWithScore]]:
        if query is None:
            raise ValueError("reranking needs a query: give query_bundle or query_str")
        if not nodes and not callable(self.on_no_answer):
            return []
        check_nodes(nodes)
        top_n = len(nodes) if self.top_k is None else self.top_k
        with reranking(
            self.callback_manager, query=query, nodes=nodes, top_n=top_n, model_name=self.model
        ) as found:
            texts = node_texts(nodes, self.metadata_mode)
            asked, contents = self._contents(query, nodes, texts)
            vectors = None
            if self.mmr is not None:
                vectors = own_vectors(nodes) or (yield from embedded(self.embed_model, texts))
            scores = None if self.fusion is None else [node.score for node in nodes]
            options = self.ranking_options | self.call_options
            options |= {"retriever_scores": scores, "embeddings": vectors}
            ranking = yield from wait(
                partial(self.reranker.rerank, asked, contents, **options),
                partial(self.reranker.arerank, asked, contents, **options),
            )
            keep = self.keep_retrieval_score
            ranked = ranked_nodes(nodes, texts, ranking, keep_retrieval_score=keep, cut=self.cut)
            found += yield from instead(self.on_no_answer, ranking, query, ranked, NodeWithScore)
        return found

    def _contents(
        self, query: QueryBundle, nodes: list[NodeWithScore], texts: list[str]
    ) -> tuple[str | Content, Sequence[str | Content]]:
        """Return query and nodes as they are judged, with their images unless told otherwise."""
        if not self.images:
            return query.query_str, texts
        return query_content(query), node_contents(nodes, texts)
