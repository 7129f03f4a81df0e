"""The Chinese README has the blocks, links and options of the English one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_block_of_the_english_one_is_there_in_the_same_words() -> None:
    assert BLOCK.findall(CHINESE) == BLOCK.findall(ENGLISH), (
        "README.md changed: copy its blocks to README.zh-CN.md, and translate what is new"
    )


def test_every_option_of_the_english_table_is_in_the_chinese_one() -> None:
    def options(text: str) -> list[list[str]]:
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        return [re.findall(r"`(\w+)`", row) for row in rows]

    assert options(ENGLISH)
    assert options(CHINESE) == options(ENGLISH)


def test_both_have_the_same_links_section_by_section() -> None:
    def links(text: str) -> list[list[str]]:
        parts = re.split(r"^## ", BLOCK.sub("", text), flags=re.MULTILINE)[1:]
        return [sorted(set(re.findall(r"\]\(([^)#]+)[^)]*\)", part))) for part in parts]

    assert links(CHINESE) == links(ENGLISH)


def test_each_links_the_other_in_its_first_line() -> None:
    assert "(README.zh-CN.md)" in ENGLISH.splitlines()[0]
    assert "(README.md)" in CHINESE.splitlines()[0]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", CHINESE)
    assert {"README.md", "docs/servers.md"} <= set(links)
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_set_ups_of_china_come_in_the_order_they_are_asked_for() -> None:
    order = [CHINESE.index(f"（{name}）") for name in ("SiliconFlow", "DashScope", "ModelScope")]
    assert order == sorted(order)


def test_punctuation_between_chinese_characters_is_chinese() -> None:
    prose = BLOCK.sub("", CHINESE)
    assert re.findall(r"[\u4e00-\u9fff][,;:?!(][\u4e00-\u9fff]", prose) == []
