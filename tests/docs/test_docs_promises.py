"""Every promise of docs/reliability.md names tests, and each of them exists."""

from __future__ import annotations

import ast
import re

import pytest
from support.pages import ROOT, prose, text_of

PAGE = ROOT / "docs" / "reliability.md"
ROWS = [
    line.split(" | ") for line in text_of(PAGE).splitlines() if re.match(r"\| (?!promise|--)", line)
]
PROMISES = [row for row in ROWS if len(row) == 2]  # the tables with more columns are measurements
NAMED = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/.]+)\)")


def test_the_page_speaks_of_what_people_ask() -> None:
    headings = re.findall(r"^## (.+)$", prose(PAGE), re.MULTILINE)
    assert len(headings) >= 8
    for word in ("refused", "fork", "memory", "load", "reply", "cancelled", "close()", "Secrets"):
        assert word in text_of(PAGE), word


@pytest.mark.parametrize("promise", PROMISES, ids=[one[0].strip("| ")[:60] for one in PROMISES])
def test_a_promise_is_held_by_tests_that_exist(promise: list[str]) -> None:
    named = NAMED.findall(promise[-1])
    assert named
    for test, path in named:
        tree = ast.parse(text_of(ROOT / path))
        functions = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        assert test in functions, f"{path} has no {test}"


def test_security_says_how_to_report_and_points_to_the_tests() -> None:
    security = text_of(ROOT / "SECURITY.md")
    assert "private security advisory" in security
    assert "(tests/attacks)" in security
    assert "(docs/reliability.md)" in security
