"""Pictures, retrieved by their captions and reranked by what they show.

    python examples/images.py
    QWEN3_RERANK_MODEL=Qwen/Qwen3-VL-Reranker-2B python examples/images.py

The first needs no model: a stand-in that knows colours judges, which is a scorer of one's own. The
second loads the real one, some 4.3 GB in bfloat16.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from langchain_core.documents import Document
from PIL import Image, ImageDraw

from langchain_qwen3_rerank import Qwen3Rerank
from shared_core import Content, Reranker

QUESTION = "a red shape"
COLOURS = {"red": "#d02020", "green": "#209040", "blue": "#2040d0", "yellow": "#e0c020"}


def drawn(shape: str, color: str) -> Image.Image:
    """Return a picture of a shape on white."""
    image = Image.new("RGB", (224, 224), "white")
    draw = ImageDraw.Draw(image)
    if shape == "bar chart":
        for place, height in enumerate((60, 120, 90, 160)):
            draw.rectangle((30 + 44 * place, 200 - height, 60 + 44 * place, 200), fill=color)
    elif shape == "triangle":
        draw.polygon([(112, 30), (30, 190), (194, 190)], fill=color)
    else:
        draw_one = draw.ellipse if shape == "disc" else draw.rectangle
        draw_one((40, 40, 184, 184), fill=color)
    return image


class ColourScorer:
    """A stand-in for a model: how much of a picture has the colour that the query names."""

    takes_images = True

    def score(
        self, query: str | Content, documents: Sequence[str | Content], *, instruction: str
    ) -> list[float]:
        """Return a margin per document: from −4 where nothing has the colour."""
        del instruction  # a real model reads it
        text = query if isinstance(query, str) else query.text
        wanted = [
            Image.new("RGB", (1, 1), COLOURS[word]) for word in text.split() if word in COLOURS
        ]
        return [
            max([_share(document, one) for one in wanted], default=0) * 16 - 4
            for document in documents
        ]


def _share(document: str | Content, color: Image.Image) -> float:
    if isinstance(document, str):
        return 0.0
    pixels = document.pictures[0].pixels
    counts = {value: count for count, value in pixels.getcolors(pixels.width * pixels.height) or []}
    found: int = counts.get(color.getpixel((0, 0)), 0)
    return found / (pixels.width * pixels.height)


def main() -> None:
    """Print the pictures in the order of their captions, then in that of what they show."""
    shown = [("disc", "blue"), ("bar chart", "red"), ("square", "green"), ("triangle", "red")]
    shown += [("disc", "yellow"), ("square", "blue")]
    found = [  # the captions do not say the colour: no retriever by text could know
        Document(f"A {shape}.", metadata={"image": drawn(shape, COLOURS[color]), "color": color})
        for shape, color in shown
    ]
    model = os.environ.get("QWEN3_RERANK_MODEL", "tiny")
    is_real = "VL" in model  # the bundled model reads text alone
    reranker = Reranker(model) if is_real else Reranker(scorer=ColourScorer())
    rerank = Qwen3Rerank(reranker=reranker, document_images="image", top_k=3)

    print(f"{QUESTION}\n\nretrieved by caption:")
    for document in found:
        print(f"  {document.page_content:<14} ({document.metadata['color']})")
    print(f"reranked by image, {model if is_real else 'by a stand-in that knows colours'}:")
    for document in rerank.compress_documents(found, QUESTION):
        score, color = document.metadata["relevance_score"], document.metadata["color"]
        print(f"  {score:.3f} {document.page_content:<14} ({color})")


if __name__ == "__main__":
    main()
