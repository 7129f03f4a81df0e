"""What the page is made of, without Gradio: documents, cards, downloads, words."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from support.seeing import Redness, swatch

from qwen3_rerank.page.cards import comparison_html, escape, note, ranking_html
from qwen3_rerank.page.exports import Ranking, as_csv, as_json, data_link
from qwen3_rerank.page.inputs import (
    PageError,
)
from qwen3_rerank.page.models import PageModel, models_of
from qwen3_rerank.page.ranking import ranked
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.page.texts import LANGUAGES, Language, say
from shared_core import Content, Evidence, RankedDocument, Reranker
from shared_core import Ranking as Documents
from shared_core.images.reading import read_image

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> ${alert(3)} {{value}} `x`"


def ranking(*order: int, texts: list[str] | None = None, truncated: bool = False) -> Ranking:
    texts = texts or [f"document {index}" for index in range(max(order) + 1)]
    ranked = [
        RankedDocument(index, 0.9 - place / 10, 1.0, texts[index], 1234, truncated)
        for place, index in enumerate(order)
    ]
    return Ranking("a query", "an instruction", "tiny", len(texts), 0.25, ranked)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_calibrated_ranking_says_whether_any_document_answers(
    language: Language, answers: bool
) -> None:
    plain = ranking(0, 1)
    assert "qr-answer" not in ranking_html(plain, language)
    in_part = replace(plain, ranked=Documents(plain.ranked, 0.93, None))  # some were not judged
    assert "qr-answer" not in ranking_html(in_part, language)
    said = replace(plain, ranked=Documents(plain.ranked, 0.93, answers))
    shown = ranking_html(said, language)
    expected = say("answer" if answers else "no_answer", language, percent="93%")
    assert expected in shown
    assert ("qr-answer-problem" in shown) is not answers
    assert comparison_html(said, plain, language).count(expected) == 1
    assert json.loads(as_json([said]))["answers"] is answers


class Read(HTMLParser):
    """The elements of a piece of HTML, checked to be closed in order, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":  # which has no end
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def classes(self, name: str) -> int:
        return sum(name in (attributes.get("class") or "").split() for _, attributes in self.tags)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_a_user_becomes_markup(language: str) -> None:
    one = ranking(1, 0, texts=[HOSTILE, HOSTILE * 20])
    one = Ranking(HOSTILE, HOSTILE, HOSTILE, 2, 0.1, one.ranked)
    for made in (
        ranking_html(one, language),  # type: ignore[arg-type]
        comparison_html(one, one, language),  # type: ignore[arg-type]
        note(HOSTILE, "problem"),
    ):
        read = Read(made)
        assert {tag for tag, _ in read.tags}.isdisjoint({"script", "img", "value"})
        assert not any(name.startswith("on") for _, names in read.tags for name in names)
        assert HOSTILE in read.text
        assert "${" not in made
        assert "{{" not in made
    assert escape(HOSTILE).isprintable()


def test_a_card_says_place_score_move_tokens_and_cut() -> None:
    read = Read(ranking_html(ranking(2, 0, 1, truncated=True), "en"))
    assert read.classes("qr-card") == 3
    assert read.classes("qr-cut") == 3
    for part in ("0.900", "▲ 2", "▼ 1", "was 3", "1,234 tokens", "3 of 3 documents · 0.25 s"):
        assert part in read.text
    bars = [attributes for _, attributes in read.tags if attributes.get("role") == "meter"]
    assert [bar["aria-valuenow"] for bar in bars] == ["0.9000", "0.8000", "0.7000"]
    zh = Read(ranking_html(ranking(0, 1), "zh")).text
    assert "位置不变" not in zh
    assert "原第 2 位" in zh


def test_a_long_document_shows_its_beginning_and_opens_by_itself() -> None:
    read = Read(ranking_html(ranking(0, texts=["word " * 500]), "en"))
    assert [tag for tag, _ in read.tags].count("details") == 1
    assert read.text.count("word") > 500
    assert "details" not in {tag for tag, _ in Read(ranking_html(ranking(0), "en")).tags}


def test_the_best_window_is_marked_and_said() -> None:
    """A card of it shows where it begins; the rest of the document is there, too."""
    text = f"{'before ' * 100}<b>the part</b> that counts{' after' * 100}"
    start, end = text.index("<b>"), text.index(" after")
    one = RankedDocument(0, 0.9, 2.0, text, 300, False, window=(start, end))
    made = ranking_html(Ranking("q", "i", "tiny", 1, 0.1, [one]), "en")
    assert "<mark>&lt;b&gt;the part&lt;/b&gt; that counts</mark>" in made
    read = Read(made)
    assert f"best part: characters {start + 1}–{end} of {len(text):,}" in read.text
    assert "…<b>the part</b> that counts…" in read.text
    assert text in read.text
    assert read.classes("qr-cut") == 0
    assert "<mark>" not in ranking_html(ranking(0), "en")
    data = Ranking("q", "i", "tiny", 1, 0.1, [one])
    assert json.loads(as_json([data]))["results"][0]["window"] == [start, end]
    (row,) = csv.DictReader(io.StringIO(as_csv([data]), newline=""))
    assert row["window"] == f"{start}:{end}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_document_without_a_score_says_so(language: Language) -> None:
    given = [RankedDocument(0, 0.9, 2.0, "Mars."), RankedDocument(1, None, None, "Ice.")]
    data = Ranking("q", "i", "m", 2, 0.1, given)
    shown = ranking_html(data, language)
    assert shown.count(say("not_scored", language)) == 1
    assert shown.count('role="meter"') == 1
    assert [one["scored"] for one in json.loads(as_json([data]))["results"]] == [True, False]
    assert as_csv([data]).splitlines()[2].startswith("2,1,,Ice.")


async def test_the_bounds_of_the_form_hold(tiny: Reranker) -> None:
    models = models_of(tiny)
    (name,) = models

    texts = (name, "red planet", "", "Ice is cold. Mars is red. So be it.", "lines", None)
    found = await ranked(models, Kept(1), *texts, 0, "truncate", 0, True, 0, 0, "", "", "en")
    assert found.ranked[0].evidence is not None

    async def by_form(most: float, budget: float) -> list[bool]:
        documents = "\n".join(f"Mars is red, {number}." for number in range(6))
        texts = (name, "red planet", "", documents, "lines", None)
        found = await ranked(
            models, Kept(1), *texts, 0, "truncate", 0, False, most, budget, "", "", "en"
        )
        return [one.scored for one in found.ranked]

    assert await by_form(0, 0) == [True] * 6
    assert await by_form(2, 0) == [True] * 2 + [False] * 4
    assert await by_form(0, 1e-9) == [True] * 4 + [False] * 2


def test_evidence_is_bold_in_the_beginning_and_in_the_whole() -> None:
    text = f"{'before ' * 100}Left. <i>the</i> answer. Right.{' after' * 100}"
    start, end = text.index("<i>"), text.index(" Right")
    evidence = Evidence(start, end, text[start:end], 0.9, (text.index("Left"), end + 7))
    one = RankedDocument(0, 0.9, 2.0, text, 300, False, evidence=evidence)
    data = Ranking("q", "i", "tiny", 1, 0.1, [one])
    made = ranking_html(data, "en")
    bold = "<b>&lt;i&gt;the&lt;/i&gt; answer.</b>"
    assert f"…Left. {bold} Right.…" in made
    assert f"before Left. {bold} Right. after" in made
    assert text in Read(made).text
    assert json.loads(as_json([data]))["results"][0]["evidence"]["end"] == end


def test_a_comparison_says_how_far_each_document_is_from_its_place_in_the_first() -> None:
    read = Read(comparison_html(ranking(0, 1, 2), ranking(2, 1), "en"))
    assert read.classes("qr-column") == 2
    assert "2 of 2 documents" not in read.text
    assert "2 of 3 documents have another place" in read.text
    assert "not kept in the other" in read.text
    assert "▲ 2" in read.text
    assert "▼" not in read.text, "the first column is the measure, and does not move"


def test_downloads_hold_the_ranking() -> None:
    one = ranking(1, 0, texts=["plain", "=cmd|'/c calc'!A1, 中文\nmore"])
    loaded = json.loads(as_json([one]))
    assert loaded["results"][0]["document"] == "=cmd|'/c calc'!A1, 中文\nmore"
    assert loaded["results"][0]["index"] == 1
    assert len(json.loads(as_json([one, one]))) == 2
    rows = list(csv.DictReader(io.StringIO(as_csv([one]), newline="")))
    assert rows[0]["document"] == "'=cmd|'/c calc'!A1, 中文\nmore", "no spreadsheet runs it"
    assert rows[1] == {
        "rank": "2",
        "index": "0",
        "score": "0.8",
        "document": "plain",
        "n_tokens": "1234",
        "truncated": "False",
        "window": "",
        "query": "a query",
        "instruction": "an instruction",
        "model": "tiny",
    }
    link = data_link("中文", "text/csv", mark=True)
    raw = base64.b64decode(link.removeprefix("data:text/csv;charset=utf-8;base64,"))
    assert raw == b"\xef\xbb\xbf" + "中文".encode()


HOSTILE_NAME = "<img src=x onerror=alert(1)> ${alert(2)} .png"


def png(color: str, size: tuple[int, int] = (640, 320)) -> bytes:
    swatch(color, size).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def ranked_images(
    uploads: list[Upload],
    language: Language,
    model: PageModel,
    query: str = "q",
    asked: Sequence[Upload] = (),
) -> Ranking:
    kept = Kept[Upload](10**7)
    places, of_query = (
        "\n".join(f"{kept.add(one, 1)}/{one.name}" for one in some) for some in (uploads, asked)
    )
    rest = (None, 0, "truncate", 0, False, 0, 0, places, of_query, language)
    return asyncio.run(ranked({"m": model}, kept, "m", query, "", "a text", "lines", *rest))  # type: ignore[arg-type]


SEES = replace(models_of({"m": Reranker(scorer=Redness())})["m"], max_images=2)


def test_images_are_ranked_and_shown_small_and_their_names_stay_text() -> None:
    files = [Upload("blue.png", png("blue")), Upload(HOSTILE_NAME, png("red"))]
    found = ranked_images(files, "en", SEES)
    assert SEES.takes_images()
    assert [one.index for one in found.ranked] == [2, 0, 1]
    assert [one.document for one in found.ranked] == [HOSTILE_NAME, "a text", "blue.png"]
    for made in (ranking_html(found, "zh"), comparison_html(found, found, "en")):
        images = [attributes for tag, attributes in Read(made).tags if tag == "img"]
        assert [one["alt"] for one in images] == [HOSTILE_NAME, "blue.png"] * (len(images) // 2)
        assert {one for names in images for one in names} == {"class", "src", "alt"}
        assert "${" not in made
    prefix, _, drawn = found.thumbnails[2].partition(",")
    assert prefix == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(drawn))) as thumbnail:
        assert thumbnail.size == (320, 160)


def test_a_question_may_be_an_image_which_is_shown_beside_it() -> None:
    """It counts with the documents' where they are bounded; without any, there has to be a text."""
    asked = [Upload(HOSTILE_NAME, png("red"))]
    found = ranked_images([Upload("blue.png", png("blue"))], "en", SEES, "", asked)
    score = Redness().score
    query = Content(images=[read_image(asked[0].content)])
    assert found.ranked[0].logit == pytest.approx(score(query, ["a text"], instruction="")[0])
    made = comparison_html(found, found, "zh")
    names = [attributes["alt"] for tag, attributes in Read(made).tags if tag == "img"]
    assert names[0] == f"问题的图片：{HOSTILE_NAME}"
    assert json.loads(as_json([found]))["query_images"] == [HOSTILE_NAME]
    with pytest.raises(PageError, match="3 images: the page takes 2"):
        ranked_images([Upload("blue.png", png("blue"))] * 2, "en", SEES, "", asked)
    with pytest.raises(PageError, match="Write a question first"):
        ranked_images([], "en", SEES, " ")


def test_cards_name_the_model_of_a_cascade_that_judged() -> None:
    staged = RankedDocument(0, 0.5, 0.0, "a text", 9, False, stage=2)
    made = ranking_html(Ranking("q", "i", "m", 1, 0.1, [staged]), "en")
    assert "judged by model 2 of the cascade" in made


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("a.png", png("red"))] * 3, "共 3 张图片，页面一次最多 2 张"),
        ([("a.png", b"x" * (2**23 + 1))], "a.png 超过 8388608 字节"),
        ([("a.png", b"<svg/>")], "无法使用图片 a.png（详情：it is no image"),
        ([("a.png", png("red", (5000, 5000)))], "5000 × 5000 pixels, more than 16777216"),
    ],
    ids=["many", "bytes", "svg", "pixels"],
)
def test_images_are_bounded_and_errors_name_the_file(
    files: list[tuple[str, bytes]], sentence: str
) -> None:
    with pytest.raises(PageError) as caught:
        ranked_images([Upload(*one) for one in files], "zh", SEES)
    assert sentence in str(caught.value)


def test_importing_the_page_and_its_parts_imports_no_gradio() -> None:
    program = (
        "import sys, qwen3_rerank.page, qwen3_rerank.page.cards, qwen3_rerank.page.inputs\n"
        "import qwen3_rerank.cli.ui\n"
        "assert 'gradio' not in sys.modules and 'torch' not in sys.modules\n"
        "sys.modules['gradio'] = None\n"
        "qwen3_rerank.page.serve_page({})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert 'pip install "qwen3-rerank[ui]"' in done.stderr
