"""What importing costs, and what a package makes public."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "tokenizers", "httpx", "langchain_core", "llama_index", "numpy")


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after some code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(run.stdout.split())


def test_importing_the_core_loads_nothing_heavy() -> None:
    assert not modules_after("import shared_core").intersection(HEAVY)


def test_making_a_reranker_loads_nothing_heavy() -> None:
    code = "import shared_core; shared_core.Reranker(); shared_core.Reranker('tiny')"
    assert not modules_after(code).intersection(HEAVY)


def test_reranking_nothing_loads_nothing_heavy() -> None:
    code = "import shared_core; shared_core.Reranker('tiny').rerank('query', [])"
    assert not modules_after(code).intersection(HEAVY)


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        ("langchain_qwen3_rerank", {"torch", "transformers", "llama_index", "langchain_classic"}),
        ("llama_index_qwen3_rerank", {"torch", "transformers", "langchain_core"}),
    ],
)
def test_an_adapter_loads_neither_torch_nor_the_other_framework(
    package: str, foreign: set[str]
) -> None:
    assert not modules_after(f"import {package}; {package}.Qwen3Rerank").intersection(foreign)


def test_importing_the_langchain_package_loads_nothing_until_a_name_is_asked_for() -> None:
    loaded = modules_after("import langchain_qwen3_rerank as p; dir(p)")
    assert not loaded.intersection({*HEAVY, "pydantic", "shared_core"})
    assert {"langchain_core", "shared_core"} <= modules_after(
        "from langchain_qwen3_rerank import Qwen3Rerank"
    )


def test_the_names_of_the_langchain_package_are_listed_and_stay_what_they_are() -> None:
    code = """
import langchain_qwen3_rerank as package
assert set(package.__all__) <= set(dir(package)), dir(package)
first = package.Qwen3Rerank
assert package.Qwen3Rerank is first is vars(package)["Qwen3Rerank"]
"""
    modules_after(code)


@pytest.mark.parametrize(
    "package", ["shared_core", "langchain_qwen3_rerank", "llama_index_qwen3_rerank"]
)
def test_all_is_sorted_complete_and_true(package: str) -> None:
    module = importlib.import_module(package)
    names = list(module.__all__)
    constants_first = sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert names == constants_first
    assert all(getattr(module, name) is not None for name in names)


@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        ("torch", "import shared_core; shared_core.Reranker('tiny').score('q', ['d'])", "local"),
        ("safetensors", "import shared_core; shared_core.Reranker().score('q', ['d'])", "local"),
        ("langchain_core", "import langchain_qwen3_rerank as p; p.Qwen3Rerank", "langchain"),
        ("llama_index", "import llama_index_qwen3_rerank as p; p.Qwen3Rerank", "llama-index"),
    ],
)
def test_a_missing_extra_is_named(missing: str, code: str, extra: str) -> None:
    """The interpreter is told that the package does not exist."""
    code = f"import sys; sys.modules[{missing!r}] = None\n{code}"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 1
    assert f'pip install "qwen3-rerank[{extra}]"' in run.stderr.splitlines()[-1]
