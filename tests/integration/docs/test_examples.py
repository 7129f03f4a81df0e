"""Every example runs as its reader would run it, and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
HELPERS = {"corpus", "langchain_store", "llama_index_store"}
PRINTED = {
    "langchain_rag": ["Answer from the context alone.", "[0.", "Question: At what temperature"],
    "langchain_compression_retriever": ["retrieved:", "reranked:", "  0."],
    "llama_index_query_engine": ["At what temperature does mercury freeze?", "  0."],
    "instruction": ["explain the answer in words", "code that does what is asked"],
    "async_many": ["both ways agree: True"],
    "demo": [
        "Mean reciprocal rank",
        "LangChain: embedding + reranker",
        "LlamaIndex: embedding + reranker",
    ],
}


def test_every_example_is_listed_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTED.keys() | HELPERS


@pytest.fixture(scope="module", params=sorted(PRINTED))
def example(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The name of an example and what it printed."""
    name = request.param
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"QWEN3_RERANK_MODEL": "tiny", "PYTHONIOENCODING": "utf-8"},
    )
    assert finished.returncode == 0, finished.stderr
    return name, finished.stdout


def test_the_example_prints_what_it_promises(example: tuple[str, str]) -> None:
    name, printed = example
    for text in PRINTED[name]:
        assert text in printed


def test_the_reranker_helps_in_the_demo(example: tuple[str, str]) -> None:
    """In both frameworks and both languages, and the frameworks agree on the reranked order."""
    name, printed = example
    if name != "demo":
        pytest.skip("speaks of the demo alone")
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
