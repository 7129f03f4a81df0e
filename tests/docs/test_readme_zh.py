"""The Chinese README keeps step with the English one, and its own lines of code are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared_core import Reranker

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
# What only Chinese readers are told: set-ups they ask for first.
OWN_SECTIONS = ("国内常用的接入方式",)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Return the text below every heading; that before the first has none."""
    heads = ["", *SECTION.findall(text)]
    return dict(zip(heads, re.split(r"^## .+\n", text, flags=re.MULTILINE), strict=True))


OWN_CODE = [
    code
    for name in OWN_SECTIONS
    for language, code in BLOCK.findall(sections(CHINESE)[name])
    if language == "python"
]


def test_every_block_of_the_english_one_is_there_in_the_same_words() -> None:
    shared = [text for name, text in sections(CHINESE).items() if name not in OWN_SECTIONS]
    assert BLOCK.findall("".join(shared)) == BLOCK.findall(ENGLISH), (
        "README.md changed: copy its blocks to README.zh-CN.md, and translate what is new"
    )


def test_every_option_of_the_english_table_is_in_the_chinese_one() -> None:
    def options(text: str) -> list[list[str]]:
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        return [re.findall(r"`(\w+)`", row) for row in rows]

    assert options(ENGLISH)
    assert options(CHINESE) == options(ENGLISH)


@pytest.mark.parametrize("code", OWN_CODE, ids=range(len(OWN_CODE)))
def test_its_own_code_makes_a_reranker(code: str) -> None:
    """Nothing is asked of a server before documents are."""
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102  # our own README
    made = names["reranker"]
    assert isinstance(made, Reranker)
    made.close()


def test_each_links_the_other_in_its_first_line() -> None:
    assert "(README.zh-CN.md)" in ENGLISH.splitlines()[0]
    assert "(README.md)" in CHINESE.splitlines()[0]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", CHINESE)
    assert {"README.md", "docs/servers.md"} <= set(links)
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_set_ups_of_china_come_in_the_order_they_are_asked_for() -> None:
    text = sections(CHINESE)["国内常用的接入方式"]
    assert text.index("SiliconFlow") < text.index("DashScope") < text.index("ModelScope")


def test_punctuation_between_chinese_characters_is_chinese() -> None:
    prose = BLOCK.sub("", CHINESE)
    assert re.findall(r"[\u4e00-\u9fff][,;:?!(][\u4e00-\u9fff]", prose) == []
