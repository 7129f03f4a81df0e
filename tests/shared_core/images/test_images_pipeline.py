"""Contents on their way through `Reranker`, with a user's own scorer that sees."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.checkpoints import write_checkpoint
from support.seeing import Redness, swatch

from shared_core import Cascade, Content, ImageError, Picture, Reranker, ScoreRequest
from shared_core.scorers.local.checkpoints.model_source import may_read_images


@pytest.fixture
def scorer() -> Redness:
    return Redness()


@pytest.fixture
def reranker(scorer: Redness) -> Reranker:
    return Reranker(scorer=scorer, cache_size=100)


def colours(*names: str) -> list[str | Content]:
    return [Content(name, [swatch(name)]) for name in names]


async def test_documents_are_ranked_by_what_they_show(reranker: Reranker) -> None:
    documents = [*colours("green", "red", "black"), "a text"]
    ranked = reranker.rerank("something red", documents)
    assert [result.index for result in ranked] == [1, 3, 2, 0]
    assert all(result.document is documents[result.index] for result in ranked)
    assert [result.text for result in ranked] == ["red", "a text", "black", "green"]
    assert await reranker.arerank("something red", documents) == ranked
    assert [one.score for one in reranker.judge("something red", documents)] == reranker.score(
        "something red", documents
    )


def test_a_scorer_is_given_pictures_each_once(
    reranker: Reranker, scorer: Redness, tmp_path: Path
) -> None:
    path = tmp_path / "red.png"
    swatch("red").save(path)
    documents = [Content("a", [path]), Content("a", [str(path)]), Content("a", [swatch("red")])]
    reranker.rerank(Content(images=path), documents)
    ((query, (document,)),) = scorer.calls
    assert isinstance(query, Content)
    assert isinstance(document, Content)
    assert isinstance(document.pictures[0], Picture)
    assert document.pictures[0] == query.pictures[0]
    # By digest, the cache knows the picture in another file.
    bitmap = tmp_path / "red.bmp"
    swatch("red").save(bitmap)
    reranker.rerank(Content(images=bitmap), [Content("a", [bitmap])])
    assert len(scorer.calls) == 1
    reranker.rerank(Content(images=bitmap), [Content("b", [bitmap])])
    reranker.rerank(Content(images=swatch("blue")), [Content("a", [bitmap])])
    assert len(scorer.calls) == 3


def test_a_content_without_images_is_its_text(reranker: Reranker, scorer: Redness) -> None:
    content = Content("a text")
    (result,) = reranker.rerank(Content("a query"), [content])
    assert scorer.calls == [("a query", ["a text"])]
    assert result.document is content
    text_model = Reranker("tiny")
    assert text_model.score("Paris", [content]) == text_model.score("Paris", ["a text"])


async def test_every_verb_takes_contents(reranker: Reranker) -> None:
    query, documents = Content(images=swatch("white")), colours("red", "green")
    expected = [one.logit for one in reranker.judge(query, documents)]
    (many,) = reranker.judge_many([ScoreRequest(query, "", documents)])
    assert [one.logit for one in many] == expected
    pairs = [(query, document) for document in documents]
    assert [one.logit for one in reranker.score_pairs(pairs)] == expected
    ((first, second),) = await reranker.arerank_many([query], [documents])
    assert [first.index, second.index] == [0, 1]
    plan = await reranker.asplit([ScoreRequest(query, "", documents)], long_documents="windows")
    (answer,) = plan.fold(await reranker.ajudge_many(plan.requests))
    assert [one.logit for one in answer] == expected


def test_options_of_a_ranking_go_with_contents(reranker: Reranker) -> None:
    documents = [*colours("red", "green"), "a long text. " * 400, *colours("red")]
    windowed = reranker.rerank("q", documents, long_documents="windows", window_tokens=64)
    assert [result.window is not None for result in windowed].count(True) == 1
    # The last is a copy of the first, and costs nothing.
    some = reranker.rerank("q", documents, max_candidates=1)
    assert [result.index for result in some if result.scored] == [0, 3]
    assert len(reranker.rerank("q", documents, time_budget=100)) == 4
    # A second picture of the same is no news.
    diverse = reranker.rerank("q", [*colours("red"), *colours("maroon"), *colours("red")], mmr=0.4)
    assert [result.index for result in diverse] == [0, 1, 2]
    fused = reranker.rerank("q", documents, fusion="rrf")
    assert all(result.fused_score is not None for result in fused)


async def test_what_cannot_be_read_names_its_place(tmp_path: Path) -> None:
    reranker = Reranker(scorer=Redness(), on_error="passthrough")
    broken = Content("b", [swatch("red"), tmp_path / "missing.png"])
    expected = r"image 1 of document 1 \(.*missing.png\): there is no such file"
    with pytest.raises(ImageError, match=expected):
        reranker.rerank("q", ["a", broken])
    with pytest.raises(ImageError, match=expected):
        await reranker.arerank("q", ["a", broken])
    with pytest.raises(ImageError, match=r"the image of query 1 \(3 bytes\)"):
        reranker.rerank_many(["q", Content(images=b"abc")], [["a"], ["b"]])
    pairs = [("a", "b"), ("q", broken), ("a", "b")]
    with pytest.raises(ImageError, match="image 1 of document 0 of query 1"):
        await reranker.ascore_pairs(pairs)


def test_a_text_model_says_which_one_sees(tmp_path: Path, small_tokenizer: Any) -> None:
    with pytest.raises(ImageError, match=r"document 1 has an image, and tiny reads text.*VL"):
        Reranker("tiny", on_error="passthrough").rerank("q", ["a", *colours("red")])
    # What its name or folder tells is known before anything is read.
    unread = Content(images=tmp_path / "unread.png")
    write_checkpoint(tmp_path, small_tokenizer)
    for name in ("tiny", str(tmp_path)):
        with pytest.raises(ImageError, match=r"document 1 of query 1 has an image, and.*VL"):
            Reranker(name).rerank_many(["q", "q"], [["a"], ["a", unread]])
    assert may_read_images("Qwen/Qwen3-VL-Reranker-2B")
    assert not may_read_images("Qwen/Qwen3-Reranker-4B")

    class Blind:
        def score(self, query: str, documents: list[str], *, instruction: str) -> list[float]:
            raise AssertionError

    with pytest.raises(ImageError, match="the query has an image, and Blind reads text"):
        Reranker(scorer=Blind()).rerank(Content(images=tmp_path / "unread.png"), ["a"])


def test_blank_queries_are_those_without_an_image(reranker: Reranker) -> None:
    with pytest.raises(ValueError, match="blank"):
        reranker.rerank(Content(" "), ["a"])
    with pytest.raises(TypeError, match="got one Content; wrap it"):
        reranker.rerank("q", Content("a"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resembles the model's own prompt"):
        reranker.rerank(Content("<Query>: a", [swatch("red")]), ["a"])


def test_contents_can_be_pickled(reranker: Reranker) -> None:
    content = Content("a", [swatch("red")])
    assert pickle.loads(pickle.dumps(content)) == content  # noqa: S301  # ours
    ((_, (read,)),) = [*given_to(reranker, content)]
    again = pickle.loads(pickle.dumps(read))  # noqa: S301  # ours
    assert again == read
    assert isinstance(again.pictures[0].pixels, Image.Image)


def given_to(reranker: Reranker, content: Content) -> list[tuple[object, list[Content]]]:
    reranker.score("q", [content])
    return reranker.custom_scorer.calls  # type: ignore[union-attr]


def test_a_cascade_of_models_that_see_takes_contents(scorer: Redness) -> None:
    cascade = Cascade(first=Reranker(scorer=Redness()), second=Reranker(scorer=scorer), keep=1)
    ranked = cascade.rerank("q", colours("green", "red", "black"))
    assert [(result.index, result.stage) for result in ranked] == [(1, 2), (2, 1), (0, 1)]
    assert len(scorer.calls) == 1
    blind = Cascade(first=Reranker("tiny"), second=Reranker(scorer=scorer), keep=1)
    with pytest.raises(ImageError, match="tiny reads text alone"):
        blind.rerank("q", colours("green", "red"))
