"""The bench's texts are always the same, of the lengths asked for, and all different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench import workloads
from benchmarks.bench.workloads import RECIPES, make_workload, recipe_of
from shared_core.prompt.encoding import PairEncoder

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def encoder(small_tokenizer: Any) -> PairEncoder:
    return PairEncoder(small_tokenizer.backend_tokenizer, 8192)


@pytest.mark.parametrize("name", ["reference", "rag-50", "chinese", "long-query", "4x8@60-150"])
def test_documents_have_the_lengths_asked_for_and_differ(name: str, encoder: PairEncoder) -> None:
    recipe = recipe_of(name)
    workload = make_workload(name, encoder)
    documents = [one for request in workload.requests for one in request.documents]
    as_given = [len(encoder.text_ids(f" {one}")) for one in documents]
    lengths = sorted(as_given)
    assert as_given != lengths  # long ones stand between short ones, as retrievers return them
    assert len(set(documents)) == len(documents) == recipe.queries * recipe.documents
    assert len({request.query for request in workload.requests}) == recipe.queries
    assert recipe.longest - 8 <= lengths[-1] <= recipe.longest
    assert recipe.shortest - 8 <= lengths[0] <= recipe.shortest
    assert lengths[len(lengths) // 2] == pytest.approx(
        (recipe.shortest + recipe.longest) / 2, abs=30
    )


def test_equal_calls_give_equal_texts(encoder: PairEncoder) -> None:
    assert make_workload("chinese", encoder) == make_workload("chinese", encoder)


def test_sizes_are_those_of_the_prompts(encoder: PairEncoder) -> None:
    workload = make_workload("2x3@30-60", encoder)
    prompts = unique = pairs = 0
    for request in workload.requests:
        group = encoder.encode(workloads.DEFAULT_INSTRUCTION, request.query, request.documents)
        prefix = len(group.prefix_ids)
        seen = {tuple(group.prefix_ids[:n]) for n in range(1, prefix + 1)}
        pairs += sum(map(len, seen))
        unique += prefix
        for document in group.documents:
            whole = group.prefix_ids + document.ids
            prompts += len(whole)
            unique += len(whole) - prefix
            pairs += sum(range(prefix + 1, len(whole) + 1))
    assert (workload.prompt_tokens, workload.unique_tokens) == (prompts, unique)
    assert workload.unique_pairs == pairs


def test_a_long_query_is_as_long_as_asked_for(encoder: PairEncoder) -> None:
    (request,) = make_workload("long-query", encoder).requests
    assert 990 <= len(encoder.text_ids(f" {request.query}")) <= 1030


def test_many_queries_and_one_query_have_the_same_documents(encoder: PairEncoder) -> None:
    many = make_workload("many-queries", encoder)
    one = make_workload("one-query", encoder)
    assert len(many.requests) == 64
    assert [d for request in many.requests for d in request.documents] == list(
        one.requests[0].documents
    )


@pytest.mark.parametrize("name", ["rag", "0x8@60-150", "1x8@60", "1x8@150-60"])
def test_what_is_no_workload_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="workload"):
        recipe_of(name)


def test_its_sentences_are_those_of_the_demo_corpus() -> None:
    texts = json.loads((Path(workloads.__file__).parent / "texts.json").read_text("utf-8"))
    rows = [
        json.loads(line) for line in (EXAMPLES / "passages.jsonl").read_text("utf-8").splitlines()
    ]
    for language in ("en", "zh"):
        assert texts[language]["passages"] == [r["text"] for r in rows if r["lang"] == language]
    assert {recipe.language for recipe in RECIPES.values()} == set(texts)
