"""The parts that evidence is made of: sentences, and lines of code and tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core.windows.meters import estimate_tokens
from shared_core.windows.units import LONGEST, units


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in units(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Ito left. It rained!\nThen\nit stopped.", 3),
        ("汞在零下39度凝固。水在零度结冰！", ["汞在零下39度凝固。", "水在零度结冰！"]),
        ("यह पारा है। यह पानी है।", ["यह पारा है।", "यह पानी है।"]),
        ("هل تمطر؟ نعم.", ["هل تمطر؟", "نعم."]),
        ("a\tb\nc\td", ["a\tb", "c\td"]),
        ("| a | b |\n| - | - |\n| c. d. e | f |", ["| a | b |", "| - | - |", "| c. d. e | f |"]),
        ("name,age,town\nann,31,rome\nbob,4,oslo", ["name,age,town", "ann,31,rome", "bob,4,oslo"]),
        ("def f(x):\n    return x. y\n\nNow prose. Two.", 4),
        ("Look:\n```sh\nls. a b\n\ncd x\n```\nDone. Well.", 7),
        ("It is cold, as a\nrule, in the winter of\nthe north. Yes.", 2),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences_and_lines(text: str, expected: list[str] | int) -> None:
    found = parts(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_a_line_of_code_keeps_its_indentation() -> None:
    assert parts("if a:\n    b = 1\n    c = 2") == ["if a:", "    b = 1", "    c = 2"]


@pytest.mark.parametrize("text", ["word " * 400, "น้ำแข็งเย็น" * 60, "水" * 500, "🧊" * 300])
def test_what_has_no_end_is_cut(text: str) -> None:
    assert max(estimate_tokens(parts(text))) <= LONGEST
    assert len(parts(text)) <= 3 * sum(estimate_tokens([text])) / LONGEST


pieces = st.sampled_from(
    ["a", "B", " ", "\n", "\n\n", ". ", "。", "```\n", "\t", "|", ",", "{", "é"]
)


@given(st.one_of(st.text(), st.lists(pieces).map("".join)))
def test_nothing_but_blanks_is_left_out(text: str) -> None:
    left = 0
    for start, end in units(text):
        assert left <= start < end <= len(text)
        assert not text[left:start].strip()
        assert text[start:end].strip()
        left = end
    assert not text[left:].strip()
