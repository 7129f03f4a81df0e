"""Images of nodes and queries in LlamaIndex, with a scorer of a user's own that sees."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from support.seeing import Redness, swatch

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Content, ImageError, Reranker


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    swatch(color).save(buffer, "PNG")
    return buffer.getvalue()


CODED = base64.b64encode(png("red")).decode()


@pytest.fixture
def red_file(tmp_path: Path) -> Path:
    swatch("red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def nodes_of(kind: str, path: Path) -> BaseNode:
    made: dict[str, Any] = {
        "base64": lambda: ImageNode(text="red", image=CODED),
        "path": lambda: ImageNode(text="red", image_path=str(path)),
        "url": lambda: ImageNode(text="red", image_url=f"data:image/png;base64,{CODED}"),
        "document": lambda: ImageDocument(text="red", image_path=str(path)),
        "document of base64": lambda: ImageDocument(text="red", image=CODED),
        "resource": lambda: Node(
            text_resource=MediaResource(text="red"), image_resource=MediaResource(data=png("red"))
        ),
        "resource by path": lambda: Node(
            text_resource=MediaResource(text="red"), image_resource=MediaResource(path=path)
        ),
        "resource by URL": lambda: Node(
            text_resource=MediaResource(text="red"),
            image_resource=MediaResource(url=path.as_uri()),  # type: ignore[arg-type]
        ),
    }
    return made[kind]()  # type: ignore[no-any-return]


KINDS = [
    *("base64", "path", "url", "document", "document of base64"),
    *("resource", "resource by path", "resource by URL"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_nodes_are_judged_by_their_images(kind: str, red_file: Path) -> None:
    scorer = Redness()
    rerank = Qwen3Rerank(reranker=Reranker(scorer=scorer))
    node = nodes_of(kind, red_file)
    node.metadata["page"] = 7
    given = [NodeWithScore(node=TextNode(text="text")), NodeWithScore(node=node)]
    found = rerank.postprocess_nodes(given, query_str="q")
    assert [one.node.node_id for one in found] == [node.node_id, given[0].node.node_id]
    assert type(found[0].node) is type(node)
    first, seen = scorer.calls[0][1]
    assert first == "text"
    assert isinstance(seen, Content)
    assert seen.pictures[0].pixels.getpixel((5, 5)) == (255, 0, 0)
    assert seen.text == node.get_content(metadata_mode=MetadataMode.EMBED)
    again = await rerank.apostprocess_nodes(given, query_str="q")
    assert [one.score for one in again] == [one.score for one in found]


def test_a_query_may_have_an_image(red_file: Path) -> None:
    scorer = Redness()
    query = QueryBundle("what is like this?", image_path=str(red_file))
    node = NodeWithScore(node=TextNode(text="text"))
    Qwen3Rerank(reranker=Reranker(scorer=scorer)).postprocess_nodes([node], query)
    asked = scorer.calls[0][0]
    assert isinstance(asked, Content)
    assert (asked.text, asked.pictures[0].size) == ("what is like this?", (32, 32))


def test_text_models_refuse_images_unless_they_are_left_aside(red_file: Path) -> None:
    given = [NodeWithScore(node=nodes_of("path", red_file))]
    rerank = Qwen3Rerank(model="tiny", on_error="passthrough")
    with pytest.raises(ImageError, match="document 0 has an image, and tiny reads text alone"):
        rerank.postprocess_nodes(given, query_str="q")
    (found,) = rerank.with_options(images=False).postprocess_nodes(given, query_str="q")
    assert found.score is not None
    assert Qwen3Rerank.from_dict(Qwen3Rerank(images=False).to_dict()).images is False


def test_a_broken_image_names_its_place() -> None:
    given = [NodeWithScore(node=ImageNode(text="x", image="bm8gaW1hZ2U="))]
    with pytest.raises(ImageError, match=r"the image of document 0.*no image that can be read"):
        Qwen3Rerank(reranker=Reranker(scorer=Redness())).postprocess_nodes(given, query_str="q")
