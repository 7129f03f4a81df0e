"""Models and tokenizers that the tests share. Everything is made here; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are so small that several threads spend their time waiting for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Kernels in Triton run in its interpreter where there is no card to compile them for.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from support.qwen3_tokenizer import qwen3_tokenizer_folder

from shared_core import Reranker

# What imports torch is imported where it is used: one test of a small thing starts at once, and so
# does the process that hands out tests to others.

BUNDLED = Path(__file__).parent.parent / "shared_core" / "tiny"
pytest_plugins = ["support.leftovers"]
# What takes longest comes first, so that the workers end together.
LONGEST = (
    *("test_batch_ray.py", "test_bench_run.py", "test_set_up.py", "test_wheel.py"),
    *(
        "test_servers_litellm.py",
        "test_evaluation_process.py",
        "test_batch_cli.py",
        "test_cli_rank.py",
        "test_examples.py",
    ),
    *("test_docs_commands.py", "test_page_browser.py", "test_page_prefix.py", "test_fork.py"),
    *("test_batch_restart.py", "test_batch_memory.py", "test_service_process.py"),
    *("test_service_memory.py", "test_memory_after_loading.py", "test_out_of_memory.py"),
    *("test_scores.py", "test_cli_check.py", "test_cli_rank_windows.py", "test_imports.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in order; with `--no-loadscope-reorder`, workers that share them keep it."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def real_tokenizer(pytestconfig: pytest.Config) -> Any:
    """The Qwen3 tokenizer of 151,669 tokens, kept in pytest's cache from one run to the next."""
    from transformers import AutoTokenizer

    cache = pytestconfig.cache.mkdir("qwen3_tokenizer")
    return AutoTokenizer.from_pretrained(qwen3_tokenizer_folder(cache))


@pytest.fixture(scope="session")
def small_tokenizer() -> Any:
    """The bundled model's tokenizer: the same pipeline and control tokens, a small vocabulary."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(BUNDLED)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A random causal checkpoint with tied embeddings, as the 0.6B and 4B have."""
    from support.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("tied"), small_tokenizer)


@pytest.fixture(scope="session")
def untied_checkpoint(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A random causal checkpoint with a head of its own, as the 8B has."""
    from support.checkpoints import write_checkpoint

    folder = tmp_path_factory.mktemp("untied")
    return write_checkpoint(folder, small_tokenizer, seed=1, tie_word_embeddings=False)


@pytest.fixture(scope="session")
def converted_checkpoint(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The tied checkpoint as a one-label classifier."""
    from support.checkpoints import write_converted_checkpoint

    return write_converted_checkpoint(tmp_path_factory.mktemp("converted"), checkpoint)


@pytest.fixture(scope="session")
def reranker(checkpoint: Path) -> Reranker:
    """One float32 reranker over the random checkpoint, loaded once for the whole session."""
    return Reranker(str(checkpoint), dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny() -> Reranker:
    """One reranker over the bundled model, loaded once for the whole session."""
    return Reranker("tiny", device="cpu", dtype="float32")
