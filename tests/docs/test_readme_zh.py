"""Chinese pages have the blocks, links and options of the English ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.zh-CN.md": "README.md",
    "docs/zh/index.md": "docs/index.md",
    "docs/zh/langchain.md": "docs/recipes/langchain.md",
    "docs/zh/langgraph.md": "docs/recipes/langgraph.md",
    "docs/zh/llama_index.md": "docs/recipes/llama_index.md",
}
"""The English page of each Chinese one."""
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_every_chinese_page_is_listed_here() -> None:
    assert {f"docs/zh/{path.name}" for path in ROOT.glob("docs/zh/*.md")} < PAGES.keys()


@each_page
def test_every_block_of_the_english_one_is_there_in_the_same_words(page: str) -> None:
    assert BLOCK.findall(text_of(page)) == BLOCK.findall(text_of(PAGES[page])), (
        f"{PAGES[page]} changed: copy its blocks to {page}, and translate what is new"
    )


@each_page
def test_both_have_the_same_sections(page: str) -> None:
    def levels(text: str) -> list[str]:
        return re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE)

    assert levels(text_of(page)) == levels(text_of(PAGES[page]))


@each_page
def test_punctuation_between_chinese_characters_is_chinese(page: str) -> None:
    prose = BLOCK.sub("", text_of(page))
    assert re.findall(r"[\u4e00-\u9fff][,;:?!(][\u4e00-\u9fff]", prose) == []


def test_every_option_of_the_english_table_is_in_the_chinese_one() -> None:
    def options(text: str) -> list[list[str]]:
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        return [re.findall(r"`(\w+)`", row) for row in rows]

    assert options(ENGLISH)
    assert options(CHINESE) == options(ENGLISH)


def test_both_have_the_same_links_section_by_section() -> None:
    def links(text: str) -> list[list[str]]:
        english = BLOCK.sub("", text).replace("(docs/zh/", "(docs/recipes/")
        parts = re.split(r"^## ", english, flags=re.MULTILINE)[1:]
        return [sorted(set(re.findall(r"\]\(([^)#]+)[^)]*\)", part))) for part in parts]

    assert links(CHINESE) == links(ENGLISH)


@pytest.mark.parametrize("page", ["README.zh-CN.md", "docs/zh/index.md"])
def test_each_links_the_other_in_its_first_line(page: str) -> None:
    """By a path from its own folder."""
    for here, there in ((page, PAGES[page]), (PAGES[page], page)):
        links = re.findall(r"\]\(([^)]+)\)", text_of(here).splitlines()[0])
        assert (ROOT / there).resolve() in {
            ((ROOT / here).parent / link).resolve() for link in links
        }


def test_the_set_ups_of_china_come_in_the_order_they_are_asked_for() -> None:
    order = [CHINESE.index(f"（{name}）") for name in ("SiliconFlow", "DashScope", "ModelScope")]
    assert order == sorted(order)
