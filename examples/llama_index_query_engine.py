"""`Qwen3Rerank` as a postprocessor of a LlamaIndex query engine.

Generation is LlamaIndex's own `MockLLM`, which answers with its prompt. The nodes and their scores
are real.
"""

from __future__ import annotations

import os

from llama_index.core.llms import MockLLM
from llama_index_store import make_index

from llama_index_qwen3_rerank import Qwen3Rerank

MODEL = os.environ.get("QWEN3_RERANK_MODEL", "tiny")
QUESTION = "At what temperature does mercury freeze?"


def main() -> None:
    engine = make_index().as_query_engine(
        llm=MockLLM(),
        similarity_top_k=20,
        node_postprocessors=[Qwen3Rerank(model=MODEL, top_k=3)],
    )
    response = engine.query(QUESTION)
    print(QUESTION)
    for node in response.source_nodes:
        print(f"  {node.score:.4f} {node.node.metadata['title']}: {node.text[:60]}…")


if __name__ == "__main__":
    main()
