"""Every example runs as its reader would run it, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
HELPERS = {"corpus", "langchain_store", "llama_index_store"}
PRINTED = {
    "langchain_rag": ["Answer from the context alone.", "[0.", "Question: At what temperature"],
    "langchain_compression_retriever": ["retrieved:", "reranked:", "  0."],
    "llama_index_query_engine": ["At what temperature does mercury freeze?", "  0."],
    "instruction": ["explain the answer in words", "code that does what is asked"],
    "async_many": ["both ways agree: True"],
    "images": ["retrieved by caption", "reranked by image", "A triangle.    (red)"],
    "demo": ["Before and after", "Mean reciprocal rank", "LangChain and LlamaIndex: the same"],
}


def test_every_example_is_listed_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTED.keys() | HELPERS


@cache
def printed_by(name: str) -> str:
    """What an example printed; each runs once."""
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"QWEN3_RERANK_MODEL": "tiny", "PYTHONIOENCODING": "utf-8"},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_the_example_prints_what_it_promises(name: str) -> None:
    for text in PRINTED[name]:
        assert text in printed_by(name)


def test_the_reranker_helps_in_the_demo() -> None:
    """In both languages: by the mean, and for more questions than it harms."""
    rows = {
        label: (float(english), rose - fell, float(chinese), more - less)
        for label, english, rose, fell, chinese, more, less in demo_table()
    }
    for label in ("embedding + reranker", '+ fusion="rrf"'):
        assert all(
            after > before for after, before in zip(rows[label], rows["embedding"], strict=True)
        )
    assert "the same order for 72 of 72 questions" in printed_by("demo")


def demo_table() -> list[tuple[str, float, int, int, float, int, int]]:
    """Rows: label; mean, questions that rose and that fell in English; the same in Chinese."""
    found = re.findall(
        r"^ +(\S.*?) {2,}(0\.\d{3})(?: +(\d+) +(\d+))? +(0\.\d{3})(?: +(\d+) +(\d+))?$",
        printed_by("demo"),
        re.MULTILINE,
    )
    return [
        (label, float(en), int(a or 0), int(b or 0), float(zh), int(c or 0), int(d or 0))
        for label, en, a, b, zh, c, d in found
    ]


def test_the_demo_shows_questions_that_gained() -> None:
    """Two English and one Chinese one, side by side: the mark is lower before than after."""
    printed = printed_by("demo")
    shown = printed[printed.index("Before and after") : printed.index("Mean reciprocal")]
    questions = shown.split("\n\n")[1:4]
    assert len(questions) == 3
    for question in questions:
        assert max(map(len, question.splitlines()[1:])) <= 100
        ranks = {}
        for match in re.finditer(r"→ +(\d+) ", question):
            column = match.start() - question.rindex("\n", 0, match.start()) > 20
            ranks["after" if column else "before"] = int(match[1])
        assert ranks["before"] > ranks["after"]


def test_the_readmes_show_what_the_demo_prints() -> None:
    """Word for word: the bundled model computes in float32 everywhere."""
    for page in ("README.md", "README.zh-CN.md"):
        (shown,) = re.findall(
            r"```text\n(Before and after.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL
        )
        assert printed_by("demo").endswith(shown), f"paste what examples/demo.py prints into {page}"
