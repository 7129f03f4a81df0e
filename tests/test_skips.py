"""Every skipped test says what it needs, so that a reader of the report can make it run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
REMEDY = re.compile(r"\b(pip install|apt-get install|make test-\w+|ulimit|needs )")
NOTHING_TO_DO = {
    "this torch has one precision for all: nothing is taken over",
    "this system cannot fork",
    "vllm is installed here: test-vllm's environment",
}


def reasons() -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of every skip; the reason is empty if there is none."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("skip", "skipif", "importorskip"):
                continue
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            given += node.args[:1] if node.func.attr == "skip" else []
            texts = [value.value for value in given if isinstance(value, ast.Constant)]
            yield f"{path.relative_to(TESTS)}:{node.lineno}", str(texts[0]) if texts else ""


def test_every_reason_names_what_to_install_or_to_run() -> None:
    found = dict(reasons())
    assert len(found) > 30
    silent = {
        place: reason
        for place, reason in found.items()
        if not REMEDY.search(reason) and reason not in NOTHING_TO_DO
    }
    assert not silent
