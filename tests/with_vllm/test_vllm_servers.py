"""The client against real vLLM servers of four kinds: right on every route, and `check` knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from support.checkpoints import BUNDLED
from with_vllm.servers import MODEL_NAME

import langchain_qwen3_rerank
import llama_index_qwen3_rerank
from shared_core import Reranker
from shared_core.check.golden import CANARY_DOCUMENTS, CANARY_QUERY, FORGED
from shared_core.errors import ConfigurationError, ServerStatusError
from shared_core.scorers.remote.wrapping import QWEN3_CONTROL_TOKENS, Neutraliser

TOLERANCE = 1e-4  # logits, float32 on both sides
INSTRUCTION = "Find the sentence that names a planet with rings"
LONG = "Saturn has rings. " * 600  # far beyond the server's 1,024 tokens
ROUTES = [
    ("templated", {}, "prompt"),
    ("templated", {"dialect": "vllm-rerank"}, "server"),
    ("templated", {"dialect": "vllm-score"}, "server"),
    ("vllm-template", {}, "prompt"),
    ("untemplated", {}, "prompt"),
    ("untemplated", {"dialect": "vllm-rerank"}, "client"),
    ("untemplated", {"dialect": "vllm-score"}, "client"),
    ("generate", {}, "prompt"),
    ("generate", {"dialect": "vllm-generative"}, "prompt"),
]


def remote(url: str, **options: Any) -> Reranker:
    return Reranker(MODEL_NAME, base_url=url, max_length=1024, **options)


def logits(reranker: Reranker, documents: list[str], **options: Any) -> list[float]:
    """Logits in input order."""
    ranked = reranker.rerank(CANARY_QUERY, documents, **options)
    return [one.logit for one in sorted(ranked, key=lambda one: one.index)]


@pytest.mark.parametrize("tokenizer", [None, BUNDLED], ids=["text", "tokenizer"])
@pytest.mark.parametrize(("kind", "options", "template"), ROUTES)
def test_every_route_gives_the_scores_of_the_transformers_backend(
    servers: dict[str, str],
    tiny: Reranker,
    kind: str,
    options: dict[str, Any],
    template: str,
    tokenizer: Path | None,
) -> None:
    documents = [*CANARY_DOCUMENTS, "短い文書", "", "two\n\nparagraphs "]
    with remote(servers[kind], tokenizer=tokenizer, **options) as reranker:
        for instruction in (None, INSTRUCTION):
            wanted = logits(tiny, documents, instruction=instruction)
            found = logits(reranker, documents, instruction=instruction)
            assert found == pytest.approx(wanted, abs=TOLERANCE)
        assert reranker.scorer._setup.template == template  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "options", "template"), ROUTES)
def test_a_forged_ending_gains_nothing_on_any_route(
    servers: dict[str, str], tiny: Reranker, kind: str, options: dict[str, Any], template: str
) -> None:
    """By ids it has the score of its plain text; else that of the text with literals broken."""
    broken = Neutraliser(QWEN3_CONTROL_TOKENS)(FORGED)
    with remote(servers[kind], **options) as by_text:
        assert logits(by_text, [FORGED]) == pytest.approx(logits(tiny, [broken]), abs=TOLERANCE)
    wanted = FORGED if template == "prompt" else broken
    with remote(servers[kind], tokenizer=BUNDLED, **options) as by_ids:
        assert logits(by_ids, [FORGED]) == pytest.approx(logits(tiny, [wanted]), abs=TOLERANCE)


@pytest.mark.parametrize("kind", ["templated", "generate"])
def test_long_documents_are_cut_here_and_keep_the_suffix(
    servers: dict[str, str], kind: str
) -> None:
    bound = 1024 if kind == "templated" else 1023  # generating takes a token
    with Reranker("tiny", device="cpu", dtype="float32", max_length=bound) as local:
        wanted = logits(local, [LONG, *CANARY_DOCUMENTS])
    with remote(servers[kind], tokenizer=BUNDLED) as reranker:
        ranked = reranker.rerank(CANARY_QUERY, [LONG, *CANARY_DOCUMENTS])
        assert {one.index: one.truncated for one in ranked}[0] is True
        assert {one.index: one.n_tokens for one in ranked}[0] == bound
        assert logits(reranker, [LONG, *CANARY_DOCUMENTS]) == pytest.approx(wanted, abs=TOLERANCE)


def test_without_a_tokenizer_a_long_document_is_an_error_that_says_what_to_do(
    servers: dict[str, str],
) -> None:
    with (
        remote(servers["templated"]) as reranker,
        pytest.raises(ServerStatusError, match=r"maximum context length.*tokenizer="),
    ):
        reranker.rerank(CANARY_QUERY, [LONG])


def test_a_templating_server_cuts_by_its_option_for_documents(servers: dict[str, str]) -> None:
    with remote(servers["templated"], dialect="vllm-rerank") as reranker:
        assert len(logits(reranker, [LONG, "Saturn has rings."])) == 2


def test_check_tells_the_four_apart(servers: dict[str, str]) -> None:
    reports = {}
    for kind, url in servers.items():
        with remote(url) as reranker:
            reports[kind] = reranker.check()
        assert reports[kind].exit_code == 0, (kind, reports[kind])
    plain = {
        kind: report["plain /v1/rerank"] if "plain /v1/rerank" in report.names else None
        for kind, report in reports.items()
    }
    assert plain["templated"] is not None
    assert plain["templated"].status == "ok"
    assert "instruction honoured" in plain["templated"].detail
    assert plain["vllm-template"] is not None
    assert plain["vllm-template"].status == "warning"
    assert "not as published" in plain["vllm-template"].detail
    assert "newline" in plain["vllm-template"].fix
    assert plain["untemplated"] is not None
    assert plain["untemplated"].status == "warning"
    assert "no template" in plain["untemplated"].detail
    assert plain["generate"] is None
    assert "/v1/completions" in reports["generate"]["routes"].detail


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("vllm-template", {"dialect": "vllm-rerank"}, "exactness"),
        ("untemplated", {"dialect": "vllm-rerank", "template": "server"}, "prompt"),
        ("templated", {"dialect": "vllm-rerank", "template": "client"}, "prompt"),
    ],
)
def test_check_fails_where_the_route_in_use_scores_wrongly(
    servers: dict[str, str], kind: str, options: dict[str, Any], name: str
) -> None:
    with remote(servers[kind], **options) as reranker:
        report = reranker.check()
    assert report.exit_code == 1
    assert report[name].status == "wrong"
    assert report[name].fix


def test_another_model_and_another_tokenizer_are_refused(
    servers: dict[str, str], real_tokenizer: Any
) -> None:
    url = servers["templated"]
    with (
        Reranker("other", base_url=url) as wrong_model,
        pytest.raises(ConfigurationError, match="one of 'reranker'"),
    ):
        wrong_model.score("q", ["d"])
    with (
        remote(url, tokenizer=real_tokenizer.name_or_path) as wrong_tokenizer,
        pytest.raises(ConfigurationError, match="not that of the server's model"),
    ):
        wrong_tokenizer.score("q", ["d"])


@pytest.mark.parametrize("kind", ["untemplated", "generate"])
async def test_both_adapters_rank_with_it(
    servers: dict[str, str], tiny: Reranker, kind: str
) -> None:
    wanted = [one.document for one in tiny.rerank(CANARY_QUERY, CANARY_DOCUMENTS, top_k=2)]
    options: dict[str, Any] = {"model": MODEL_NAME, "base_url": servers[kind], "top_k": 2}

    compressor = langchain_qwen3_rerank.Qwen3Rerank(**options)
    documents = [Document(text) for text in CANARY_DOCUMENTS]
    kept = compressor.compress_documents(documents, CANARY_QUERY)
    assert [one.page_content for one in kept] == wanted
    kept = await compressor.acompress_documents(documents, CANARY_QUERY)
    assert [one.page_content for one in kept] == wanted
    await compressor.aclose()

    postprocessor = llama_index_qwen3_rerank.Qwen3Rerank(**options)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in CANARY_DOCUMENTS]
    found = await postprocessor.apostprocess_nodes(nodes, QueryBundle(CANARY_QUERY))
    assert [one.node.get_content() for one in found] == wanted
    await postprocessor.aclose()
