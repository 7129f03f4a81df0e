"""Images from where users have them to a model in this process, by every way there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import ImageNode, NodeWithScore
from support.services import Running
from support.vision import drawn, write_vision_checkpoint
from typer.testing import CliRunner

from langchain_qwen3_rerank import Qwen3Rerank
from llama_index_qwen3_rerank import Qwen3Rerank as Qwen3RerankPostprocessor
from qwen3_rerank.cli.app import app
from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Content, Reranker

SIZES = ((96, 64), (64, 64), (160, 96))


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, real_tokenizer: Any) -> Reranker:
    folder = write_vision_checkpoint(tmp_path_factory.mktemp("vision"), real_tokenizer)
    return Reranker(str(folder), device="cpu", dtype="float32")


def test_all_ways_give_the_same_scores(seeing: Reranker, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(SIZES))]
    for number, (path, size) in enumerate(zip(paths, SIZES, strict=True)):
        drawn(*size, seed=number).save(path)
    contents = [Content(f"picture {number}", [path]) for number, path in enumerate(paths)]
    ranked = seeing.rerank("which picture?", contents)
    assert seeing.takes_images
    assert len({result.score for result in ranked}) == len(SIZES)
    expected = [(result.text, pytest.approx(result.score, abs=1e-5)) for result in ranked]

    by_langchain = Qwen3Rerank(reranker=seeing, document_images="path").compress_documents(
        [
            Document(f"picture {number}", metadata={"path": str(path)})
            for number, path in enumerate(paths)
        ],
        "which picture?",
    )
    assert expected == [(one.page_content, one.metadata["relevance_score"]) for one in by_langchain]

    nodes = [
        NodeWithScore(node=ImageNode(text=f"picture {number}", image_path=str(path)))
        for number, path in enumerate(paths)
    ]
    by_llama_index = Qwen3RerankPostprocessor(reranker=seeing).postprocess_nodes(
        nodes, query_str="which picture?"
    )
    assert expected == [(one.node.get_content(), one.score) for one in by_llama_index]

    running = Running(make_server(ServiceSettings(port=0, log_level="warning"), reranker=seeing))
    try:
        with Reranker(base_url=running.url) as client:
            by_service = client.rerank("which picture?", contents)
            plain = client.score("which picture?", ["a text"])
    finally:
        running.stop()
    assert expected == [(one.text, one.score) for one in by_service]
    assert plain == pytest.approx(seeing.score("which picture?", ["a text"]), abs=1e-5)


def test_the_command_ranks_images(seeing: Reranker, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for number, path in enumerate(paths):
        drawn(*SIZES[number], seed=number).save(path)
    images = [argument for path in paths for argument in ("--image", path)]
    flags = ["--model", seeing.options.model, "--dtype", "float32", "--device", "cpu"]
    found = CliRunner().invoke(app, ["rank", "which picture?", "a text", *images, *flags])
    assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    ranked = seeing.rerank("which picture?", ["a text", *(Content(images=[one]) for one in paths)])
    assert [row["index"] for row in rows] == [result.index for result in ranked]
    assert [row["score"] for row in rows] == pytest.approx([one.score for one in ranked], abs=1e-5)
    assert {row["document"] for row in rows} == {"a text", *paths}


def test_requests_and_tables_name_images(seeing: Reranker, tmp_path: Path) -> None:
    """By the shapes of servers, and by a field; a line whose image is missing is named."""
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for number, path in enumerate(paths):
        drawn(*SIZES[number], seed=number).save(path)
    shaped = [
        {"image": paths[0]},
        {"content": [{"type": "image_url", "image_url": {"url": paths[1]}}, "a caption"]},
        {"text": "a text", "image": "unread"},
    ]
    query = [{"image": paths[1]}, {"text": "which?"}]
    requests = [
        {"query": query, "documents": shaped},
        {"query": {"text": "which?", "scan": paths}, "documents": [{"scan": paths}, "a text"]},
        {"query": "which?", "documents": ["fine", {"image": str(tmp_path / "none.png")}]},
    ]
    given = tmp_path / "requests.jsonl"
    given.write_text("".join(json.dumps(request) + "\n" for request in requests))
    flags = ["--model", seeing.options.model, "--dtype", "float32", "--device", "cpu"]
    command = ["rank", "--file", str(given), "--image-field", "scan", "--keep-going", *flags]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 1, found.output
    assert "line 3: the image of document 1" in found.stderr
    assert "there is no such file" in found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    contents = [Content(images=[paths[0]]), Content("a caption", [paths[1]]), "a text"]
    first = seeing.rerank(Content("which?", [paths[1]]), contents)
    second = seeing.rerank(Content("which?", paths), [Content(images=paths), "a text"])
    for row, ranked, request in zip(rows, (first, second), requests, strict=False):
        scores = [pytest.approx(one.score, abs=1e-5) for one in ranked]
        assert [one["score"] for one in row["results"]] == scores
        documents = [request["documents"][one.index] for one in ranked]
        assert [one["document"] for one in row["results"]] == documents
        assert row["query"] == request["query"]

    table = tmp_path / "pages.csv"
    table.write_text(f"text,page\n,{paths[0]}\ncaption,{paths[1]}\nalone,\n")
    command = ["rank", "which?", "--file", str(table), "--image-field", "page", *flags]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    pages = [Content(images=[paths[0]]), Content("caption", [paths[1]]), "alone"]
    scores = [pytest.approx(one.score, abs=1e-5) for one in seeing.rerank("which?", pages)]
    assert [json.loads(line)["score"] for line in found.stdout.splitlines()] == scores
