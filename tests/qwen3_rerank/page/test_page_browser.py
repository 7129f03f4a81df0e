"""The page in a real Chromium whose network ends at this machine."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.browser import CHROMIUM, DRIVER, Browser, browser

from qwen3_rerank.page.tasks import EXAMPLES, TASKS
from qwen3_rerank.page.texts import LANGUAGES, say
from shared_core import DEFAULT_MODEL, Reranker

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")
openpyxl = pytest.importorskip("openpyxl", reason="no openpyxl here: pip install -e '.[ui]'")
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no browser here: apt-get install chromium chromium-driver",
    ),
    pytest.mark.timeout(600),
]
HOSTILE = [
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>",
    "${window.hacked = 3} {{value}} `${window.hacked = 4}`",
    "plain",
]


@contextmanager
def served(port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page as a process of its own."""
    program = "from qwen3_rerank.cli import main; main()"
    options = ["--model", "tiny", "--device", "cpu", "--dtype", "float32", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-c", program, "ui", *options],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The page of all tests; it stops at once, whoever is looking at it."""
    with served() as (address, process):
        yield address
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def english(url: str) -> Iterator[Browser]:
    with browser("en-US") as window:
        window.size(1280, 900)
        yield window


@pytest.fixture
def page(english: Browser, url: str) -> Browser:
    english.size(1280, 900)
    english.open(url)
    english.find("#qr-rank")
    return english


def rank(page: Browser, query: str, documents: list[str]) -> list[str]:
    """Type in and press; return the texts of the cards."""
    page.write("#qr-query textarea, #qr-query input", query)
    page.write("#qr-documents textarea", "\n".join(documents))
    page.click("#qr-rank")
    page.find("#qr-results .qr-card")
    return page.texts("#qr-results .qr-text")


def test_an_example_shows_the_ranking_of_the_reranker(page: Browser, tiny: Reranker) -> None:
    example = EXAMPLES["support"]
    page.requested()
    page.complaints()
    page.open(page.run("return location.href"))
    page.click("#qr-example-support")
    page.find("#qr-results .qr-card")
    ranked = tiny.rerank(
        example.queries[0], example.documents[0], instruction=TASKS[example.task][2]
    )
    assert page.texts("#qr-results .qr-text") == [one.document for one in ranked]
    shown = [float(score) for score in page.texts("#qr-results .qr-score")]
    assert shown == pytest.approx([one.score for one in ranked], abs=2e-3)
    moves = [one.index - place for place, one in enumerate(ranked)]
    marks = [f"▲ {move}" if move > 0 else f"▼ {-move}" if move else "=" for move in moves]
    assert page.texts("#qr-results .qr-move") == marks
    assert f"{ranked[0].n_tokens} tokens" in page.texts("#qr-results .qr-facts")[0]
    link = page.run("return document.querySelector('#qr-results a[download$=json]').href")
    loaded = json.loads(base64.b64decode(link.split("base64,")[1]))
    assert [one["index"] for one in loaded["results"]] == [one.index for one in ranked]
    # Nothing came, or was to come, from anywhere else; nothing went wrong.
    asked = [one for one in page.requested() if not one.startswith(("data:", "blob:", "chrome"))]
    assert asked
    assert [one for one in asked if not one.startswith("http://127.0.0.1:")] == []
    # Opening the page anew ends the streams of the page before, which Gradio reports as two errors.
    ended = ("AbortError: signal is aborted", "Connection errored out.")
    assert [one for one in page.complaints() if not any(end in one for end in ended)] == []


def test_which_model_it_is_and_the_button_are_seen_at_once(page: Browser, url: str) -> None:
    script = "const box = document.querySelector('#qr-rank').getBoundingClientRect();"
    script += "return box.top >= 0 && box.bottom <= innerHeight"
    for width, height, phone in ((1280, 800, False), (390, 844, True)):
        page.size(width, height, phone=phone)
        for language in LANGUAGES:
            page.open(f"{url}/?lang={language}")
            page.wait(lambda: page.text("#qr-rank") == say("rank", language), language)  # noqa: B023
            assert page.run(script)
            assert f"qwen3-rerank ui --model {DEFAULT_MODEL}" in page.text("#qr-banner")


def test_results_of_a_server_that_has_died_are_not_shown_as_fresh(english: Browser) -> None:
    """They are marked, in the language of the page; with a new server the page begins anew."""
    with served() as (address, process):
        english.open(f"{address}/?lang=zh")
        english.wait(lambda: english.text("#qr-rank") == "排序", "Chinese")
        english.click("#qr-example-legal")
        english.find("#qr-results:not([data-waiting]) .qr-card")
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    english.click("#qr-rank")
    english.find("#qr-results[data-waiting^=尚未收到结果] .qr-card")
    toast = "return getComputedStyle(document.querySelector('.toast-wrap')).display"
    assert english.run(toast) == "none"  # its words are English
    with served(int(address.rsplit(":", 1)[1])):
        english.wait(lambda: not english.texts("#qr-results .qr-card"), "a new page")


def test_text_stays_text(page: Browser) -> None:
    shown = rank(page, HOSTILE[0], HOSTILE)
    assert sorted(shown) == sorted(HOSTILE)
    assert page.text("#qr-results .qr-query") == HOSTILE[0]
    assert page.run("return window.hacked === undefined")


def test_it_works_without_a_mouse(page: Browser) -> None:
    """From the top: Tab until the question has the focus, type, go on, and press Rank."""

    def reach(selector: str) -> None:
        for _ in range(60):
            page.press("tab")
            if page.run("return !!document.activeElement.closest(arguments[0])", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    reach("#qr-query")
    page.press(*"tea")
    reach("#qr-documents")
    page.press(*"water", "enter", *"green tea")
    reach("#qr-rank")
    assert page.run("return document.activeElement.matches(':focus-visible')")
    page.press("enter")
    page.find("#qr-results .qr-card")
    assert sorted(page.texts("#qr-results .qr-text")) == ["green tea", "water"]
    reach("#qr-results a[download]")


def test_two_instructions_are_side_by_side_and_on_a_phone_one_below_the_other(
    page: Browser,
) -> None:
    page.click("#qr-example-code")
    page.find("#qr-results .qr-card")
    page.click("button[role=tab]:nth-of-type(2)")
    page.click("#qr-compare")
    page.find("#qr-comparison .qr-card")
    assert page.texts("#qr-comparison h3") == [
        f"A{TASKS['code'][2]}",
        f"B{TASKS['explain'][2]}",
    ]
    script = (
        "return [...document.querySelectorAll('.qr-column')].map(one => {"
        "const box = one.getBoundingClientRect(); return [box.left, box.top]})"
    )
    (left, top), (right, same) = page.run(script)
    assert right > left
    assert same == top
    page.size(390, 844, phone=True)
    (left, top), (same, below) = page.run(script)
    assert same == left
    assert below > top
    for selector in ("button[role=tab]:nth-of-type(1)", "button[role=tab]:nth-of-type(2)"):
        page.click(selector)
        assert page.run("return document.documentElement.scrollWidth") <= 390


def test_a_file_is_ranked_and_a_bad_one_is_named(page: Browser, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "内容"], [1, "green tea"], [2, "a stone"]):
        book.active.append(row)
    path = tmp_path / "passages.xlsx"
    book.save(path)

    def upload(file: Path) -> None:
        element = page.find("#qr-file input[type=file]")
        page.call("POST", f"/element/{element}/value", {"text": str(file)})
        page.wait(lambda: file.name.split(".")[0] in page.text("#qr-file"), "the file")

    upload(path)
    page.write("#qr-query textarea, #qr-query input", "tea")
    page.click("#qr-rank")
    page.find("#qr-results .qr-card")
    assert sorted(page.texts("#qr-results .qr-text")) == ["a stone", "green tea"]
    page.click(
        "#qr-file button[aria-label='Clear'], #qr-file button[aria-label='Remove this file']"
    )
    page.find("#qr-file input[type=file]")
    bad = tmp_path / "broken.jsonl"
    bad.write_text('"fine"\n{\n', "utf-8")
    upload(bad)
    page.click("#qr-rank")
    page.wait(lambda: "broken.jsonl, line 2" in page.text("#qr-results"), "what is wrong")
    assert page.run("return !!document.querySelector('#qr-results [role=alert]')")


def test_the_best_part_of_a_long_document_is_marked(page: Browser, tiny: Reranker) -> None:
    filler = "Venus is hot, and its clouds are thick. " * 30
    document = f"{filler}Mars looks red. {filler}".strip()
    page.click("#qr-more button")
    page.click("#qr-long label:nth-of-type(2)")
    page.find("#qr-window-tokens input")
    page.write("#qr-window-tokens input", "64")
    rank(page, "Which planet looks red?", [document, "Ice is cold."])
    expected = tiny.rerank(
        "Which planet looks red?",
        [document, "Ice is cold."],
        long_documents="windows",
        window_tokens=64,
    )
    (one,) = [one for one in expected if one.window is not None]
    marked = page.run("return document.querySelector('#qr-results mark').textContent")
    assert marked == document[slice(*(one.window or (0, 0)))]
    assert any("best part: characters" in facts for facts in page.texts("#qr-results .qr-facts"))
    page.click("#qr-long label:nth-of-type(1)")
    page.click("#qr-rank")
    page.wait(
        lambda: page.run("return !document.querySelector('#qr-results mark')"), "it judged whole"
    )


def test_it_speaks_the_language_of_the_browser_and_changes_it(url: str) -> None:
    with browser("zh-CN") as page:
        page.size(390, 844, phone=True)
        page.open(url)
        page.wait(lambda: page.text("#qr-rank") == "排序", "Chinese")
        assert page.run("return document.documentElement.lang") == "zh"
        page.click("#qr-rank")
        page.wait(lambda: "请先填写问题" in page.text("#qr-results"), "what is missing")
        page.wait(lambda: "附带的小模型" in page.text("#qr-banner"), "the banner")
        page.click("#qr-example-bilingual")
        page.find("#qr-results .qr-card")
        assert "个 token" in page.texts("#qr-results .qr-facts")[0]
        assert "水银在多少度凝固" in page.text("#qr-results .qr-query")
        assert page.run("return document.documentElement.scrollWidth") <= 390
        page.click("#qr-language label:nth-of-type(1)")
        page.wait(lambda: page.text("#qr-rank") == "Rank", "English")
        page.wait(lambda: "tokens" in page.texts("#qr-results .qr-facts")[0], "English cards")
        assert page.run("return document.documentElement.lang") == "en"
        assert page.complaints() == []


def test_a_link_says_the_language(page: Browser, url: str) -> None:
    page.open(f"{url}/?lang=zh")
    page.wait(lambda: page.text("#qr-rank") == "排序", "Chinese")


def test_the_look_of_it(page: Browser, tmp_path: Path) -> None:
    """Pictures for people: PAGE_SHOTS=folder keeps them."""
    folder = Path(os.environ.get("PAGE_SHOTS", tmp_path))
    sizes: list[tuple[str, dict[str, Any]]] = [
        ("desktop", {"width": 1280, "height": 900}),
        ("phone", {"width": 390, "height": 844, "phone": True}),
    ]
    page.click("#qr-example-legal")
    page.find("#qr-results .qr-card")
    for name, size in sizes:
        page.size(**size)
        page.shot(folder / f"page-{name}.png")
        assert (folder / f"page-{name}.png").stat().st_size > 20_000
