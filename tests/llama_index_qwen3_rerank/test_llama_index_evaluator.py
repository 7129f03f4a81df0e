"""`Qwen3RelevancyEvaluator` and `Qwen3DropDuplicates` inside LlamaIndex."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.response.schema import Response
from llama_index.core.evaluation import BatchEvalRunner
from llama_index.core.schema import NodeWithScore, TextNode
from support.calibrations import HALF, calibrated

from llama_index_qwen3_rerank import Qwen3DropDuplicates, Qwen3RelevancyEvaluator
from shared_core import Reranker, RerankError


class Failing:
    """A backend that is out of order."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise RerankError("out of order")


CONTEXTS = ["Bread needs yeast. It rises.", "Green tea steeps at 80 degrees. Cups vary.", "Ice."]
QUERY = "How hot should green tea be?"


async def test_the_best_context_decides(reranker: Reranker) -> None:
    scores = reranker.score(QUERY, CONTEXTS)
    best = scores.index(max(scores))
    evaluator = Qwen3RelevancyEvaluator(reranker=reranker, threshold=max(scores) - 1e-4)
    found = evaluator.evaluate(QUERY, "80 degrees", CONTEXTS)
    assert found.score == pytest.approx(max(scores), abs=1e-6)
    assert found.passing
    assert (found.feedback or "").startswith(f"context {best + 1} of 3 has {max(scores):.3f}: ")
    assert (found.query, found.response, found.contexts) == (QUERY, "80 degrees", CONTEXTS)
    assert (await evaluator.aevaluate(QUERY, contexts=CONTEXTS)).score == found.score
    strict = Qwen3RelevancyEvaluator(reranker=reranker, threshold=1.0)
    assert strict.evaluate(QUERY, contexts=CONTEXTS).passing is False


async def test_responses_and_runners_of_llama_index(reranker: Reranker) -> None:
    evaluator = Qwen3RelevancyEvaluator(reranker=reranker, evidence=False)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in CONTEXTS]
    of_nodes = evaluator.evaluate_response(QUERY, Response("80", source_nodes=nodes))
    assert of_nodes == evaluator.evaluate(QUERY, "80", CONTEXTS)
    alone = evaluator.evaluate(QUERY, "80 degrees")
    assert alone.score == pytest.approx(reranker.score(QUERY, ["80 degrees"])[0], abs=1e-6)
    runner = BatchEvalRunner({"relevancy": evaluator})
    results = await runner.aevaluate_response_strs(
        queries=[QUERY], response_strs=["80"], contexts_list=[CONTEXTS]
    )
    assert results["relevancy"] == [of_nodes]


def test_calibrated_and_failing_rerankers(tmp_path: Path) -> None:
    evaluator = Qwen3RelevancyEvaluator(reranker=calibrated(tmp_path), evidence=False)
    assert evaluator.evaluate("q", contexts=["1", "3"]).score == HALF.of(3.0)
    passing = Reranker(scorer=Failing(), on_error="passthrough")
    found = Qwen3RelevancyEvaluator(reranker=passing).evaluate("q", contexts=["1"])
    assert (found.invalid_result, found.score, found.passing) == (True, None, None)
    assert "out of order" in (found.invalid_reason or "")
    with pytest.raises(RerankError, match="out of order"):
        Qwen3RelevancyEvaluator(reranker=Reranker(scorer=Failing())).evaluate("q", "a")


@pytest.mark.parametrize("given", [{}, {"query": "q"}, {"contexts": ["x"]}])
def test_what_is_missing_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs a query|nothing to evaluate"):
        Qwen3RelevancyEvaluator(model="tiny").evaluate(**given)


def test_its_prompt_and_its_copies(reranker: Reranker) -> None:
    evaluator = Qwen3RelevancyEvaluator(reranker=reranker)
    evaluator.update_prompts({"instruction": PromptTemplate("Find it")})
    assert evaluator.instruction == "Find it"
    assert copy.deepcopy(evaluator).reranker is reranker
    assert pickle.loads(pickle.dumps(evaluator)).instruction == "Find it"  # noqa: S301 - our own


def nodes_of(texts: Sequence[str], vectors: Sequence[list[float]] = ()) -> list[NodeWithScore]:
    nodes = [TextNode(text=text) for text in texts]
    for node, vector in zip(nodes, vectors, strict=False):
        node.embedding = vector
    return [NodeWithScore(node=node) for node in nodes]


async def kept(dropping: Qwen3DropDuplicates, nodes: list[NodeWithScore]) -> list[int]:
    """Return the places of what is kept, the same by both ways."""
    found = dropping.postprocess_nodes(nodes)
    assert await dropping.apostprocess_nodes(nodes) == found
    return [next(at for at, node in enumerate(nodes) if node is one) for one in found]


async def test_near_duplicates_are_dropped_by_words_and_by_embeddings() -> None:
    texts = ["Green tea is hot.", "Bread.", "green tea is HOT", "Green tea is not hot.", "绿茶很热"]
    dropping = Qwen3DropDuplicates()
    assert await kept(dropping, nodes_of(texts)) == [0, 1, 3, 4]
    assert await kept(Qwen3DropDuplicates(similarity=0.8), nodes_of(texts)) == [0, 1, 4]
    assert await kept(dropping, []) == []
    vectors = [[1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [0.0, 1.0], [1.0, 1.0]]
    assert await kept(dropping, nodes_of(texts, vectors)) == [0, 2, 4]
    by_words = Qwen3DropDuplicates(by_embeddings=False)
    assert await kept(by_words, nodes_of(texts, vectors)) == [0, 1, 3, 4]
    by_model = Qwen3DropDuplicates(embed_model=lambda texts: vectors[: len(texts)])
    assert await kept(by_model, nodes_of(texts)) == [0, 2, 4]
    assert by_model.to_dict().keys() >= {"similarity", "class_name"}
    with pytest.raises(ValueError, match="similarity"):
        Qwen3DropDuplicates(similarity=0)
