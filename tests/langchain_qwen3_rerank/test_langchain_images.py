"""Images of documents and queries in LangChain, with a scorer of a user's own that sees."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnablePassthrough
from support.seeing import Redness, swatch

from langchain_qwen3_rerank import Qwen3Rerank
from shared_core import Content, ImageError, Reranker


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    swatch(color).save(buffer, "PNG")
    return buffer.getvalue()


def coded(color: str) -> str:
    return base64.b64encode(png(color)).decode()


@pytest.fixture
def scorer() -> Redness:
    return Redness()


def adapter(scorer: Redness, images: Any = "image") -> Qwen3Rerank:
    return Qwen3Rerank(reranker=Reranker(scorer=scorer), document_images=images)


def documents(red: Any) -> list[Document]:
    green = {"image": swatch("green"), "n": 0}
    return [
        Document("green", metadata=green),
        Document("no image"),
        Document("red", metadata={"image": red}),
    ]


SOURCES: dict[str, Any] = {
    "a Pillow image": swatch("red"),
    "bytes": png("red"),
    "a data: address": f"data:image/png;base64,{coded('red')}",
    "a list": [swatch("red"), png("red")],
    "a Blob": Blob(data=png("red")),
    "LangChain's block": {"type": "image", "base64": coded("red"), "mime_type": "image/png"},
    "LangChain's former block": {"type": "image", "source_type": "base64", "data": coded("red")},
    "OpenAI's block": {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{coded('red')}"},
    },
    "Anthropic's block": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": coded("red")},
    },
}


@pytest.mark.parametrize("source", SOURCES)
async def test_images_are_where_the_metadata_has_them(source: str, scorer: Redness) -> None:
    found = adapter(scorer).compress_documents(given := documents(SOURCES[source]), "q")
    assert [document.page_content for document in found] == ["red", "no image", "green"]
    assert found[0].metadata["image"] is given[2].metadata["image"]
    assert "relevance_score" not in given[2].metadata
    seen = scorer.calls[0][1][2]
    assert isinstance(seen, Content)
    assert (seen.text, seen.pictures[0].pixels.getpixel((5, 5))) == ("red", (255, 0, 0))
    assert await adapter(Redness()).acompress_documents(given, "q") == found


def test_images_may_be_paths(scorer: Redness, tmp_path: Path) -> None:
    swatch("red").save(tmp_path / "red.png")
    for source in (tmp_path / "red.png", str(tmp_path / "red.png")):
        found = adapter(scorer).compress_documents(documents(source), "q")
        assert found[0].page_content == "red"


def test_a_function_tells_images_parts_or_the_whole_content(scorer: Redness) -> None:
    parts = [{"type": "text", "text": "a caption"}, {"type": "image", "base64": coded("red")}]
    whole = Content("a content", [swatch("red")])
    told: list[Any] = [None, swatch("red"), parts, whole]
    given = [Document("text", metadata={"n": n}) for n in range(4)]
    adapter(scorer, lambda one: told[one.metadata["n"]]).compress_documents(given, "q")
    ((_, (first, *others)),) = scorer.calls
    assert first == "text"
    assert [one.text for one in others] == ["text", "a caption", "a content"]  # type: ignore[union-attr]


def test_a_query_may_be_the_parts_of_a_message(scorer: Redness) -> None:
    message = HumanMessage(
        [
            "which are redder than",
            {"type": "image_url", "image_url": f"data:image/png;base64,{coded('maroon')}"},
        ]
    )
    chain = {"query": RunnablePassthrough(), "documents": lambda _: documents(swatch("red"))}
    found = (chain | adapter(scorer)).invoke(message.content)
    assert found[0].page_content == "red"
    query = scorer.calls[0][0]
    assert isinstance(query, Content)
    assert (query.text, len(query.pictures)) == ("which are redder than", 1)
    again = adapter(scorer).compress_documents(documents(swatch("red")), query)  # type: ignore[arg-type]
    assert again == found


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, r"metadata\['image'\] of document 2: an image must be a path.*got int"),
        ({"type": "video", "url": "a"}, ValueError, "document 2: is of type 'video'"),
        ({"type": "image", "file_id": "a"}, ValueError, "has no image, but 'type', 'file_id'"),
        ("missing.png", ImageError, r"image of document 2 \(missing.png\): there is no such file"),
    ],
)
def test_what_is_no_image_names_the_document(
    image: Any, error: type[Exception], message: str, scorer: Redness
) -> None:
    with pytest.raises(error, match=message):
        adapter(scorer).compress_documents(documents(image), "q")
    assert not scorer.calls


def test_a_text_model_refuses_images_and_reads_the_text_where_none_are_asked_for() -> None:
    rerank = Qwen3Rerank(model="tiny", document_images="image", on_error="passthrough")
    with pytest.raises(ImageError, match="document 0 has an image, and tiny reads text alone"):
        rerank.compress_documents(documents(swatch("red")), "q")
    assert (
        len(
            rerank.with_options(document_images=None).compress_documents(
                documents(swatch("red")), "q"
            )
        )
        == 3
    )
