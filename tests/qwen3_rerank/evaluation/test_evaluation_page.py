"""The page shows what is in the data, and obeys nothing of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qwen3_rerank.evaluation import Dataset, Report, evaluate
from qwen3_rerank.evaluation.measures import shown
from shared_core import Reranker

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x00 \u202e&amp;"
TASK = 'Find "it" <b onclick=x>now</b>'


class Tags(HTMLParser):
    """Collects what a page asks for and runs, and whether its tags close."""

    VOID = frozenset({"meta", "img", "wbr", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(tiny: Reranker) -> Report:
    """One query gains and one loses, if the model does as BM25 does not; all of it is hostile."""
    documents = {
        f"d{i}{EVIL[:8]}": f"{EVIL} {text}"
        for i, text in enumerate(("tea tea tea", "tea leaves steep", "bread tea rises", "ice"))
    }
    first, second, third, _ = documents
    queries = {f"q1 {EVIL[:8]}": f"leaves tea {EVIL}", "q2": "tea bread rises", "q3": "tea tea"}
    relevant = {f"q1 {EVIL[:8]}": {second: 1}, "q2": {third: 1}, "q3": {second: 1}}
    data = Dataset(f"data {EVIL}", documents, queries, relevant, (f"note {EVIL}",))
    given = {query: [first, second, third] for query in queries}
    given["q3"] = [second, first, third]
    return evaluate({EVIL: tiny}, data, first_stage=given, instructions=[TASK], command=EVIL)


def test_texts_are_shown_and_never_obeyed(report: Report) -> None:
    page = report.html()
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.names
    assert tags.handlers == []
    assert tags.open == []
    assert "\x00" not in page
    assert "&lt;script&gt;document.title=&#x27;owned&#x27;&lt;/script&gt;" in page
    assert "Find &quot;it&quot; &lt;b onclick=x&gt;" in page
    assert "&amp;amp;" in page  # what looks like an entity stays what it is


def test_the_page_asks_for_nothing(report: Report) -> None:
    page = report.html()
    tags = Tags()
    tags.feed(page)
    assert tags.addresses
    assert all(one.startswith("data:image/svg+xml;base64,") for one in tags.addresses)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_gains_and_losses_are_shown_with_their_ranks(report: Report) -> None:
    page = report.html()
    (system,) = report.systems
    change = {
        query: system.values["nDCG@10"][query] - report.before["nDCG@10"][query]
        for query in report.dataset.queries
    }
    gained = sum(value > 0 for value in change.values())
    lost = sum(value < 0 for value in change.values())
    assert gained
    losses, gains = page[page.index("Worst losses") :].split("Best gains")
    assert gains.count('class="case"') == gained
    assert losses.count('class="case"') == lost
    assert re.search(r"Right passage, rank [23] → [12], score 0\.\d{3}", gains)


def test_the_pages_figures_are_the_reports(report: Report, tmp_path: Path) -> None:
    page = report.save(tmp_path).read_text("utf-8")
    (system,) = report.systems
    for name in report.measures:
        assert f'<td data-head="{shown(name)}">{system.figures[name].mean:.3f}<small>' in page
    assert system.suggestion is not None
    assert f"<code>top_k={system.suggestion.both.top_k}</code>" in page
    run = (tmp_path / "runs" / "A.run").read_text("utf-8").splitlines()
    assert all(len(line.split(" ")) == 6 for line in run)
    assert run[0].startswith("q1%20<script> Q0 d")
