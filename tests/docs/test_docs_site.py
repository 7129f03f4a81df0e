"""`make docs`: the site is whole, asks nothing of other hosts, and a broken link is an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import ROOT

import langchain_qwen3_rerank
import llama_index_qwen3_rerank
import shared_core


def build(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Build the site of a folder as `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *arguments],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, "-d", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in ROOT.glob("docs/**/*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        if built.name == "README.html":
            built = built.with_name("index.html")
        assert (site / built).exists(), built
    assert (site / "SECURITY.html").exists()
    assert (site / "source" / "tests" / "parity" / "test_scores.py.txt").exists()


def test_no_space_is_shown_where_a_chinese_line_is_wrapped(site: Path) -> None:
    shown = (site / "zh" / "index.html").read_text("utf-8")
    assert "十分钟搭好自己的链" in shown
    assert not re.findall(r"[\u4e00-\u9fff，。：；]\n[\u4e00-\u9fff]", shown)


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    """Fonts, scripts, styles and pictures are part of the site."""
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>")
    linked = re.compile(r"<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload)[^>]*//[^>]*>")
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not loaded.findall(text) + linked.findall(text), page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text("utf-8"))


def test_the_reference_has_every_public_name_with_its_description(site: Path) -> None:
    pages = "".join(page.read_text("utf-8") for page in ROOT.glob("docs/api/*.md"))
    named = set(re.findall(r"^::: [\w.]+\.(\w+)$", pages, re.MULTILINE))
    for package in (shared_core, langchain_qwen3_rerank, llama_index_qwen3_rerank):
        assert set(package.__all__) <= named
    shown = (site / "api" / "reranker.html").read_text("utf-8")
    for method in ("rerank", "arerank_many", "score_pairs", "warm_up"):
        assert f'id="shared_core.Reranker.{method}"' in shown


def test_broken_links_are_errors(tmp_path: Path) -> None:
    links = ["nowhere.md", "#nowhere", "../tests/nowhere.py"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("\n".join(f"[a link]({link})" for link in links))
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [{{Start: index.md}}]\nplugins: []\nhooks: []\n"
    )
    done = build(tmp_path)
    assert done.returncode == 1
    assert "Aborted with 3 warnings in strict mode" in done.stdout
    for link in links:
        assert f"a link '{link}'" in done.stderr
