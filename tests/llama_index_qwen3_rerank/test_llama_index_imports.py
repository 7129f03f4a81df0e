"""What importing the adapter imports, and what is said when LlamaIndex is missing."""

from __future__ import annotations

import subprocess
import sys

import llama_index_qwen3_rerank

HEAVY = ["torch", "transformers", "tokenizers", "langchain", "langchain_core", "vllm"]


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_all_is_sorted_and_complete() -> None:
    assert llama_index_qwen3_rerank.__all__ == [
        "Qwen3DropDuplicates",
        "Qwen3RelevancyEvaluator",
        "Qwen3Rerank",
    ]


def test_making_one_imports_nothing_heavy() -> None:
    code = (
        "import sys; from llama_index_qwen3_rerank import Qwen3Rerank; Qwen3Rerank().to_json();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_a_missing_llama_index_names_the_command() -> None:
    code = """
import sys
sys.modules["llama_index"] = sys.modules["llama_index.core"] = None
try:
    import llama_index_qwen3_rerank
except ImportError as error:
    print(type(error).__name__, error)
"""
    out = run(code)
    assert out.startswith("MissingDependencyError ")
    assert 'pip install "qwen3-rerank[llama-index]"' in out


def test_another_missing_module_is_not_blamed_on_llama_index() -> None:
    code = """
import sys
sys.modules["pydantic"] = None
try:
    import llama_index_qwen3_rerank
except ImportError as error:
    print(type(error).__name__, error.name)
"""
    assert run(code).strip() == "ModuleNotFoundError pydantic"
