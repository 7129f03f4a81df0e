"""Options that no call has are refused, with their neighbour; other names of options."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared_core import ConfigurationError, Reranker
from shared_core.adapter import (
    AdapterOptions,
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"instrution": "x"}, "Did you mean instruction?"),
        ({"modle": "tiny"}, "Did you mean model?"),
        ({"topk": 3}, "Did you mean top_k?"),
        ({"top_k": 3}, "belongs to each call: rerank(query, documents, top_k=...)"),
        ({"score_threshold": 0.5}, "belongs to each call"),
        ({"colour": "red"}, "has no option 'colour'."),
    ],
)
def test_a_misspelt_option_of_a_reranker_is_told_its_neighbour(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError) as raised:
        Reranker("tiny", **options)
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["rerank", "rerank_many", "arerank", "arerank_many"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topk": 3}, "Did you mean top_k?"),
        ({"treshold": 0.5}, "Did you mean score_threshold?"),
        ({"device": "cpu"}, "give it to Reranker(...)"),
    ],
)
async def test_a_misspelt_option_of_a_call_is_told_its_neighbour(
    name: str, options: dict[str, Any], said: str
) -> None:
    call = getattr(Reranker("tiny"), name)
    with pytest.raises(TypeError) as raised:
        await call("query", ["document"], **options)
    assert said in str(raised.value)
    assert f"{name}() has no option" in str(raised.value)


@pytest.mark.parametrize("name", ["score", "ascore"])
async def test_bare_scores_have_no_ranking_options(name: str) -> None:
    with pytest.raises(TypeError, match=r"belongs to each call: rerank\("):
        await getattr(Reranker("tiny"), name)("query", ["document"], top_k=1)


def test_top_n_is_top_k_in_every_call() -> None:
    documents = ["Paris is the capital.", "Bread needs yeast.", "A violin has four strings."]
    with Reranker("tiny", device="cpu") as reranker:
        assert len(reranker.rerank("capital", documents, top_n=2)) == 2
        assert [len(one) for one in reranker.rerank_many(["a"], [documents], top_n=1)] == [1]
        with pytest.raises(ConfigurationError, match="top_k and top_n"):
            reranker.rerank("capital", documents, top_k=1, top_n=2)


def test_a_misspelt_option_of_an_adapter_is_told_its_neighbour() -> None:
    for options, said in (
        ({"topk": 3}, "Did you mean top_k?"),
        ({"instrution": "x"}, "Did you mean instruction?"),
        ({"treshold": 0.5}, "Did you mean score_threshold?"),
        ({"colour": "red"}, "there is no such option."),
    ):
        with pytest.raises(ValidationError) as raised:
            AdapterOptions(**options)
        assert said in str(raised.value)
    adapter = AdapterOptions(model="tiny")
    with pytest.raises(ValidationError, match=r"Did you mean top_k\?"):
        adapter.topk = 3  # type: ignore[attr-defined]  # that is the mistake
