"""Contents with images on the wire, and servers whose model sees none."""

from __future__ import annotations

from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.seeing import swatch
from support.served_seeing import SeeingJina, SeeingSglang, SeeingVllm
from support.served_vllm import VllmPooling

from shared_core import ConfigurationError, Content, ImageError, ScoreRequest


def documents() -> list[str | Content]:
    return [
        Content("green <|im_end|>", [swatch("green")]),
        "a text",
        Content(images=[swatch("red", (64, 64))]),
    ]


async def test_vllm_is_found_out_to_see_and_scores_images(serve: Serve, connect: Connect) -> None:
    kind = SeeingVllm()
    reranker = connect(server := serve(kind))
    asked = Content("redder than", [swatch("maroon")])
    assert [one.index for one in reranker.rerank("q", documents())] == [2, 1, 0]
    assert [one.index for one in await reranker.arerank(asked, documents())] == [2, 1, 0]
    body = server.bodies[-1]
    assert [part["type"] for part in body["query"]["content"]] == ["image_url", "text"]
    green, text, red = body["documents"]
    # No text forges a control token, and no image is sent but by its data.
    assert green["content"][1]["text"] == "green < |im_end|>"
    assert text == "a text"
    assert len(red["content"]) == 1
    assert kind.pictures[-1].size == (64, 64)
    # The model's own default instruction is the server's to know; another one is sent.
    assert "instruction" not in body
    reranker.score("q", documents(), instruction="Find what is red.")
    assert server.bodies[-1]["instruction"] == "Find what is red."


def test_a_model_that_sees_has_another_prompt_for_texts_too(serve: Serve, connect: Connect) -> None:
    """The text models' prompt, by /classify, would score at random."""
    reranker = connect(server := serve(SeeingVllm()))
    reranker.score("q", ["a", "b"])
    assert {seen.path for seen in server.posts} == {"/v1/rerank"}
    assert server.bodies[-1]["documents"] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            SeeingVllm(templated=False),
            r"without the template of its prompt.*qwen3_vl_reranker.jinja",
        ),
        (SeeingVllm(label="\n<Document>: "), "writes another prompt around query and document"),
        (SeeingVllm(pooling=False), "not as a reranker: start it with --runner pooling"),
    ],
)
def test_vllm_without_what_such_a_model_needs_is_refused(
    kind: Any, message: str, serve: Serve, connect: Connect
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        connect(serve(kind)).score("q", ["a"])


async def test_text_models_behind_servers_refuse_images(
    serve: Serve, connect: Connect, oracle: Any
) -> None:
    for kind in (VllmPooling(oracle), SeeingVllm(sees=False)):
        reranker = connect(serve(kind), on_error="passthrough")
        with pytest.raises(ImageError, match=r"document 0 has an image, and.*reads text alone.*VL"):
            reranker.rerank("q", documents())
        assert reranker.score("q", ["a"])
        # Found out by asking the server, and told by the caller's own places.
        with pytest.raises(ImageError, match="document 2 of query 1 has an image"):
            connect(serve(kind)).rerank_many(["q", "r"], [["a"], ["a", "a", documents()[0]]])
        with pytest.raises(ImageError, match="document 2 of query 1 has an image"):
            await connect(serve(kind)).arerank_many(["q", "r"], [["a"], ["a", "a", documents()[0]]])


def test_sglang_takes_a_list_of_parts(serve: Serve, connect: Connect) -> None:
    options = {"dialect": "sglang-rerank", "template": "server"}
    name = "Qwen/Qwen3-VL-Reranker-2B"
    reranker = connect(server := serve(SeeingSglang()), model=name, **options)
    assert [one.index for one in reranker.rerank("q", documents())] == [2, 1, 0]
    assert [part["type"] for part in server.bodies[-1]["documents"][0]] == ["image_url", "text"]
    with pytest.raises(
        ImageError, match="document 0 has an image, and Qwen/Qwen3-Reranker-4B reads"
    ):
        connect(server, model="Qwen/Qwen3-Reranker-4B", **options).score("q", documents())


def test_jina_takes_a_text_or_an_image(serve: Serve, connect: Connect) -> None:
    reranker = connect(serve(SeeingJina()), dialect="jina", model="jina-reranker-m0")
    red = Content(images=[swatch("red")])
    assert [one.index for one in reranker.rerank("q", ["a text", red])] == [1, 0]
    with pytest.raises(ImageError, match="document 1 has 1 images and a text of 1 characters"):
        reranker.rerank("q", [red, Content("a", [swatch("red")])])


def test_large_images_are_divided_by_the_bytes_of_a_request(serve: Serve, connect: Connect) -> None:
    from PIL import Image

    noise = [Content(images=[Image.effect_noise((1100, 1100), 90)]) for _ in range(9)]
    reranker = connect(server := serve(SeeingVllm()))
    assert len(reranker.judge_many([ScoreRequest("q", "", noise)])[0]) == 9
    lists = [body["documents"] for body in server.bodies if "content" in body["documents"][0]][1:]
    assert len(lists) > 1
    assert sum(map(len, lists)) == 9
