"""Both adapters over backend="vllm", inside the real framework classes."""

from __future__ import annotations

from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import langchain_qwen3_rerank
import llama_index_qwen3_rerank
from shared_core import Reranker

QUERY = "tea or coffee"
TEXTS = ["tea", "coffee", "neither of them", "both " * 50]


async def test_langchain_ranks_with_it(engine: Reranker) -> None:
    wanted = [one.document for one in engine.rerank(QUERY, TEXTS, top_k=2)]
    compressor = langchain_qwen3_rerank.Qwen3Rerank(reranker=engine, top_k=2)
    documents = [Document(text) for text in TEXTS]
    assert compressor.backend == "vllm"
    kept = compressor.compress_documents(documents, QUERY)
    assert [one.page_content for one in kept] == wanted
    kept = await compressor.acompress_documents(documents, QUERY)
    assert [one.page_content for one in kept] == wanted


async def test_llama_index_ranks_with_it(engine: Reranker) -> None:
    wanted = [one.document for one in engine.rerank(QUERY, TEXTS, top_k=2)]
    postprocessor = llama_index_qwen3_rerank.Qwen3Rerank(reranker=engine, top_k=2)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    assert postprocessor.backend == "vllm"
    kept = postprocessor.postprocess_nodes(nodes, QueryBundle(QUERY))
    assert [one.node.get_content() for one in kept] == wanted
    kept = await postprocessor.apostprocess_nodes(nodes, QueryBundle(QUERY))
    assert [one.node.get_content() for one in kept] == wanted
