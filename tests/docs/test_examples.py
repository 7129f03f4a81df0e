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
    "demo": [
        "gained most reciprocal rank",
        "Mean reciprocal rank",
        "LangChain: embedding + reranker",
        "LlamaIndex: embedding + reranker",
        "rose  kept its place            fell   not retrieved",
    ],
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
    """In both frameworks and both languages, and the frameworks agree on the reranked order."""
    printed = printed_by("demo")
    rows = {}
    for line in printed.splitlines():
        if "embedding" in line:
            label, english, chinese = line.rsplit(maxsplit=2)
            rows[label.strip()] = (float(english), float(chinese))
    for framework in ("LangChain", "LlamaIndex"):
        before = rows[f"{framework}: embedding"]
        after = rows[f"{framework}: embedding + reranker"]
        assert after[0] > before[0]
        assert after[1] > before[1]
    assert rows["LangChain: embedding + reranker"] == rows["LlamaIndex: embedding + reranker"]


def test_the_demo_counts_every_question_and_both_frameworks_alike() -> None:
    printed = printed_by("demo")
    rows = re.findall(r"^  (\w+), (\S+) +(\d+) +(\d+) +(\d+) +(\d+)$", printed, re.MULTILINE)
    counts = {(framework, language): list(map(int, row)) for framework, language, *row in rows}
    for language, asked in (("English", 48), ("中文", 24)):
        assert sum(counts["LangChain", language]) == asked
        assert counts["LangChain", language] == counts["LlamaIndex", language]


def test_the_demo_shows_questions_that_gained() -> None:
    """Two English and one Chinese one; the mark is lower before reranking than after."""
    printed = printed_by("demo")
    ranks = [int(rank) for rank in re.findall(r"^  → +(\d+) ", printed, re.MULTILINE)]
    assert len(ranks) == 6
    assert all(before > after for before, after in zip(ranks[::2], ranks[1::2], strict=True))


def test_the_readme_shows_the_table_of_the_demo() -> None:
    """Word for word: the bundled model computes in float32 everywhere."""
    printed = printed_by("demo")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(Mean reciprocal rank.*?)```", readme, re.DOTALL)
    assert printed[printed.index("Mean reciprocal rank") :].startswith(shown)
