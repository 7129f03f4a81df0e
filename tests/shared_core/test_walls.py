"""Walls between the rooms: programs use public names of the core, and reach into nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import shared_core

ROOT = Path(shared_core.__file__).parents[1]
PROGRAMS = ("qwen3_rerank", "langchain_qwen3_rerank", "llama_index_qwen3_rerank")
PUBLIC = {
    "shared_core",
    "shared_core.calibration",  # the evaluation fits it
    "shared_core.candidates",  # what the service does not score
    "shared_core.cascade",
    "shared_core.adapter",  # what adapters have in common
    "shared_core.check.report",
    "shared_core.diversity",  # near-duplicates
    "shared_core.errors",
    "shared_core.evidence",  # the service queues what it scores
    "shared_core.images",  # contents of texts and images, and reading them within limits
    "shared_core.inputs",  # the service checks what retrievers know
    "shared_core.pacing",  # and keeps a budget of time
    "shared_core.identity",  # what scores depend on
    "shared_core.jobs",  # the tokenizer without its model, the key without its process
    "shared_core.numbers",  # of requests; true is none
    "shared_core.no_answer",  # the base of the adapters' option
    "shared_core.options",
    "shared_core.prompt",  # literals, wrapped texts, token ids
    "shared_core.ranking",
    "shared_core.reranker",
    "shared_core.results",
    "shared_core.fusion",  # the evaluation tries its weights
    "shared_core.scorers.local.quantizing",  # checkpoints in eight bits
    "shared_core.scoring",  # protocols of backends
    "shared_core.shown",  # what an adapter shows of a ranking
    "shared_core.staging",  # the service takes no backend of several stages
    "shared_core.steps",  # an adapter's calls, written once for threads and event loops
    "shared_core.terms",  # words in all scripts
    "shared_core.windows",
}
"""What programs may import, with the modules inside."""


def files(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((ROOT / room).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", [*files(*PROGRAMS)], ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_import_public_names_of_the_core_alone(path: Path) -> None:
    for module, name in imports(ast.parse(path.read_text())):
        if module.partition(".")[0] == "shared_core":
            room = ".".join(module.split(".")[:2])
            assert {room, module} & PUBLIC, f"{module} is none of PUBLIC"
            assert not any(map(private, [*module.split("."), name])), f"{module}.{name} is private"


@pytest.mark.parametrize(
    "path", [*files(*PROGRAMS, "benchmarks")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_programs_reach_into_no_private_part(path: Path) -> None:
    """Attributes with an underscore, but for an object's own, and pickling's state."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            named = node.attr in core_privates() - own
            assert is_own or not named, f"line {node.lineno}: .{node.attr} is the core's own"
            if node.attr == "__getstate__":
                assert not isinstance(node.value, ast.Name) or "reranker" not in node.value.id


def test_nothing_is_public_that_no_program_uses() -> None:
    trees = [ast.parse(path.read_text()) for path in files(*PROGRAMS)]
    used = {module for tree in trees for module, _ in imports(tree)}
    rooms = {".".join(module.split(".")[:2]) for module in used}
    assert used | rooms >= PUBLIC


def core_privates() -> set[str]:
    """Return every private attribute that the core's objects are given."""
    if not _privates:
        for path in files("shared_core"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and private(node.attr):
                    _privates.add(node.attr)
                elif isinstance(node, ast.FunctionDef) and private(node.name):
                    _privates.add(node.name)
    return _privates


_privates: set[str] = set()


def test_the_core_imports_no_program_and_no_framework() -> None:
    foreign = {*PROGRAMS, "benchmarks", "langchain_core", "llama_index"}
    for path in files("shared_core"):
        found = {module.partition(".")[0] for module, _ in imports(ast.parse(path.read_text()))}
        assert not found & foreign, path
