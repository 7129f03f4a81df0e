"""The wheel: built, looked into, installed elsewhere, used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("qwen3_rerank", "shared_core", "langchain_qwen3_rerank", "llama_index_qwen3_rerank")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        assert f"shared_core/tiny/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".log")]


def test_the_bundled_weights_are_small(wheel: Path) -> None:
    size = zipfile.ZipFile(wheel).getinfo("shared_core/tiny/model.safetensors").file_size
    assert 2**20 < size <= 12 * 10**6


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, timeout=300)
    (site,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    return python


def run(python: Path, code: str, folder: Path) -> str:
    finished = subprocess.run(
        [str(python), "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_the_installed_wheel_reranks(elsewhere: Path, tmp_path: Path) -> None:
    code = """
import shared_core
from shared_core import Reranker
assert "elsewhere" in shared_core.__file__, shared_core.__file__
ranking = Reranker("tiny").rerank("tea", ["bread", "tea"])
print(len(ranking), all(0 <= one.score <= 1 for one in ranking))
"""
    assert run(elsewhere, code, tmp_path) == "2 True"


def test_the_installed_command_reranks(elsewhere: Path, tmp_path: Path) -> None:
    """By its name, and as a module that is found in the wheel and not in this folder."""
    asked = ["rank", "tea", "bread", "tea", "--model", "tiny", "--json"]
    commands = ([str(elsewhere.with_name("qwen3-rerank"))], [str(elsewhere), "-m", "qwen3_rerank"])
    for command in commands:
        finished = subprocess.run(
            [*command, *asked],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=tmp_path,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.count('"score"') == 2


@pytest.mark.parametrize("package", ["langchain_qwen3_rerank", "llama_index_qwen3_rerank"])
def test_the_installed_adapters_import(elsewhere: Path, tmp_path: Path, package: str) -> None:
    code = f"import {package}; print({package}.Qwen3Rerank(model='tiny').top_k)"
    assert run(elsewhere, code, tmp_path) == "5"
