"""How the options are given, changed, shared, and reached through prompts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.schema import MetadataMode, NodeWithScore
from support.llama_index_samples import QUERY

from llama_index_qwen3_rerank import Qwen3Rerank
from llama_index_qwen3_rerank.instruction_prompt import InstructionTemplate
from shared_core import DEFAULT_INSTRUCTION, ConfigurationError, Reranker, RerankerOptions


def scores(postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]) -> dict[str, float | None]:
    found = postprocessor.with_options(top_k=None).postprocess_nodes(nodes, query_str=QUERY)
    return {node.node_id: node.score for node in found}


def expected(reranker: Reranker, nodes: list[NodeWithScore], instruction: str) -> Any:
    texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    found = reranker.score(QUERY, texts, instruction=instruction)
    by_id = {node.node_id: score for node, score in zip(nodes, found, strict=True)}
    return pytest.approx(by_id, abs=1e-6)


def test_unknown_options_are_refused() -> None:
    """`BaseComponent` ignores them, and with them a misspelt threshold."""
    with pytest.raises(ValueError, match="score_treshold"):
        Qwen3Rerank(score_treshold=0.5)
    with pytest.raises(ValueError, match="score_treshold"):
        Qwen3Rerank().with_options(score_treshold=0.5)
    with pytest.raises(ValueError, match="score_treshold"):
        Qwen3Rerank().score_treshold = 0.5


@pytest.mark.parametrize("name", ["top_k", "top_n"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many"])
def test_top_k_counts(name: str, value: Any) -> None:
    """Peers slice with a negative one, from the end."""
    with pytest.raises(ValueError, match="top_k"):
        Qwen3Rerank(**{name: value})
    with pytest.raises(ValueError, match="top_k"):
        Qwen3Rerank().with_options(**{name: value})
    postprocessor = Qwen3Rerank()
    with pytest.raises(ValueError, match="top_k"):
        setattr(postprocessor, name, value)
    assert postprocessor.top_k == postprocessor.top_n == 5


def test_top_n_is_another_name() -> None:
    postprocessor = Qwen3Rerank(top_n=2)
    assert (postprocessor.top_k, postprocessor.top_n) == (2, 2)
    postprocessor.top_n = None
    assert postprocessor.top_k is None
    assert postprocessor.with_options(top_n=4).top_k == 4
    for make in (Qwen3Rerank, postprocessor.with_options):
        with pytest.raises(ValueError, match="both top_k and top_n"):
            make(top_n=2, top_k=2)


def test_a_refused_change_changes_nothing() -> None:
    """pydantic stores a value before it checks the object as a whole."""
    postprocessor = Qwen3Rerank(top_k=3)
    with pytest.raises(ValueError, match="min_docs=9"):
        postprocessor.min_docs = 9
    assert postprocessor.min_docs == 0
    postprocessor.min_docs = 2
    assert postprocessor.min_docs == 2


def test_every_option_is_in_the_signature_and_its_own_ones_in_the_docstring() -> None:
    names = set(Qwen3Rerank.model_fields)
    assert set(RerankerOptions.model_fields) < names
    assert names <= set(inspect.signature(Qwen3Rerank).parameters)
    own = names - RerankerOptions.model_fields.keys()
    assert not [name for name in own if name not in (Qwen3Rerank.__doc__ or "")]


@pytest.mark.parametrize("name", ["model", "on_error", "base_url", "api_key", "reranker"])
def test_what_the_model_depends_on_cannot_change(name: str) -> None:
    """The loaded model would not follow, without a word."""
    postprocessor = Qwen3Rerank()
    for change in (
        lambda: setattr(postprocessor, name, "tiny"),
        lambda: postprocessor.with_options(**{name: "tiny"}),
        lambda: postprocessor.model_copy(update={name: "tiny"}),
    ):
        with pytest.raises(ConfigurationError, match=f"{name} cannot change"):
            change()
    assert postprocessor.model == Qwen3Rerank().model


def test_with_options_shares_the_model_and_leaves_the_original(
    postprocessor: Qwen3Rerank,
) -> None:
    changed = postprocessor.with_options(
        top_k=1,
        instruction="Find it",
        score_threshold=0.1,
        min_docs=1,
        metadata_mode=MetadataMode.NONE,
        keep_retrieval_score=True,
    )
    assert changed.reranker is postprocessor.reranker
    assert changed.callback_manager is postprocessor.callback_manager
    assert (changed.top_k, changed.instruction, changed.min_docs) == (1, "Find it", 1)
    assert (changed.metadata_mode, changed.keep_retrieval_score) == (MetadataMode.NONE, True)
    assert (postprocessor.top_k, postprocessor.instruction) == (3, None)
    assert changed.with_options(top_k=2).instruction == "Find it"


def test_a_shared_reranker_shows_its_options() -> None:
    reranker = Reranker("tiny", max_length=300, instruction="Find it", on_error="passthrough")
    postprocessor = Qwen3Rerank(reranker=reranker)
    assert postprocessor.reranker is reranker
    of_reranker = reranker.options
    assert all(
        getattr(postprocessor, name) == getattr(of_reranker, name)
        for name in RerankerOptions.model_fields
    )


def test_options_that_contradict_the_reranker_are_named() -> None:
    reranker = Reranker("tiny", max_length=300)
    with pytest.raises(ValueError, match="other values for max_length, model"):
        Qwen3Rerank(reranker=reranker, model="other", max_length=200)
    with pytest.raises(ValueError, match="Reranker"):
        Qwen3Rerank(reranker="tiny")


def test_the_instruction_reaches_the_model(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    """A peer accepts one and ignores it."""
    default = scores(postprocessor, nodes)
    assert default == expected(reranker, nodes, DEFAULT_INSTRUCTION)
    other = scores(postprocessor.with_options(instruction="Find the bread"), nodes)
    assert other == expected(reranker, nodes, "Find the bread")
    assert other != default
    by_query = postprocessor.with_options(instruction=lambda query: f"Find: {query}")
    assert scores(by_query, nodes) == expected(reranker, nodes, f"Find: {QUERY}")


def test_the_instruction_of_a_shared_reranker_holds_unless_another_is_given(
    reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    """No second model is loaded to see it: a scorer hands on what it is asked."""
    asked = []

    class Listening:
        def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
            asked.append(instruction)
            return [0.0] * len(documents)

    shared = Qwen3Rerank(reranker=Reranker(scorer=Listening(), instruction="Its own"))
    for postprocessor in (
        shared,
        shared.with_options(instruction="Another"),
        shared.with_options(instruction=None),
    ):
        postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    assert asked == ["Its own", "Another", DEFAULT_INSTRUCTION]


def test_prompts_show_the_instruction(postprocessor: Qwen3Rerank) -> None:
    assert isinstance(postprocessor, PromptMixin)
    assert postprocessor.get_prompts()["instruction"].get_template() == DEFAULT_INSTRUCTION
    named = postprocessor.with_options(instruction="Find it")
    assert named.get_prompts()["instruction"].get_template() == "Find it"
    assert postprocessor.with_options(instruction=str.upper).get_prompts() == {}


def test_prompts_replace_the_instruction(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    postprocessor.update_prompts({"instruction": PromptTemplate("Find the bread")})
    assert postprocessor.instruction == "Find the bread"
    assert scores(postprocessor, nodes) == expected(reranker, nodes, "Find the bread")
    postprocessor.update_prompts(postprocessor.get_prompts())
    assert postprocessor.instruction == "Find the bread"


def test_a_prompt_may_contain_the_query(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    template = PromptTemplate("In {place}, find: {q}", template_var_mappings={"query_str": "q"})
    postprocessor.update_prompts({"instruction": template.partial_format(place="a bakery")})
    assert scores(postprocessor, nodes) == expected(reranker, nodes, f"In a bakery, find: {QUERY}")
    shown = postprocessor.get_prompts()["instruction"]
    assert shown.get_template() == "In a bakery, find: {query_str}"
    postprocessor.update_prompts({"instruction": shown})
    assert postprocessor.instruction == InstructionTemplate("In a bakery, find: {query_str}")
    given = Qwen3Rerank(instruction=PromptTemplate("Find: {query_str}"))
    assert given.instruction == InstructionTemplate("Find: {query_str}")


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"instruction": PromptTemplate("Find {query}")}, r"got \{query\}"),
        ({"instructions": PromptTemplate("Find")}, "only prompt here"),
        ({"instruction": ChatPromptTemplate([])}, "must be a PromptTemplate"),
        (
            {"instruction": PromptTemplate("{a}", function_mappings={"a": lambda **_: "x"})},
            "function of the query",
        ),
    ],
)
def test_prompts_that_cannot_be_an_instruction_are_refused(
    postprocessor: Qwen3Rerank, prompts: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        postprocessor.update_prompts(prompts)
    assert postprocessor.instruction is None


def test_prompts_open_no_spans(postprocessor: Qwen3Rerank, spans: SimpleSpanHandler) -> None:
    postprocessor.update_prompts(postprocessor.get_prompts())
    assert spans.completed_spans == []
