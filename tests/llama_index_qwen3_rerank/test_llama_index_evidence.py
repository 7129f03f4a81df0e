"""Evidence in the metadata of LlamaIndex nodes, and nodes reduced to it."""

from __future__ import annotations

from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker

QUERY = "What is the capital of France?"
TEXT = "A sonnet has lines. Paris is the capital. It is old. Bananas are rich. Lyon is large."


def node() -> NodeWithScore:
    text = TextNode(text=TEXT, id_="x", metadata={"title": "Towns"}, start_char_idx=100)
    return NodeWithScore(node=text, score=0.5)


async def test_it_is_in_the_metadata_and_no_model_reads_it(reranker: Reranker) -> None:
    given = node()
    postprocessor = Qwen3Rerank(reranker=reranker, evidence=True)
    (found,) = postprocessor.postprocess_nodes([given], query_str=QUERY)
    (again,) = await postprocessor.apostprocess_nodes([given], query_str=QUERY)
    assert again.model_dump() == found.model_dump()
    assert given.model_dump() == node().model_dump()
    evidence = found.node.metadata["relevance_evidence"]
    assert TEXT[evidence["start"] : evidence["end"]] == evidence["text"]
    assert found.text == TEXT
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert found.node.get_content(mode) == given.node.get_content(mode)


def test_compress_cuts_a_copy_and_moves_its_place(reranker: Reranker) -> None:
    postprocessor = Qwen3Rerank(
        reranker=reranker, compress="evidence", metadata_mode=MetadataMode.NONE
    )
    (found,) = postprocessor.postprocess_nodes([node()], query_str=QUERY)
    (ranked,) = reranker.rerank(QUERY, [TEXT], evidence=True)
    assert ranked.evidence is not None
    start, end = ranked.evidence.around
    assert found.text == TEXT[start:end]
    assert isinstance(found.node, TextNode)
    assert (found.node.start_char_idx, found.node.end_char_idx) == (100 + start, 100 + end)
