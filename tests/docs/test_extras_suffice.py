"""What the first pages show runs with the packages of the extras that they name, and no others.

The environment of the tests has everything, so packages that the extras do not bring are hidden.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.pages import ROOT, name_of, programs, text_of

FIRST_PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *sorted(ROOT.glob("docs/recipes/*.md"))]
OURS = {"qwen3-rerank"}
RUN = """
import importlib.abc, json, sys
hidden = set(json.loads(sys.argv[1]))
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
for number, code in enumerate(json.loads(sys.stdin.read())):
    exec(compile(code, f"block {number}", "exec"), {"__name__": f"block_{number}"})
"""


def extras() -> dict[str, list[str]]:
    """Return the packages of each extra, as pyproject.toml lists them."""
    text = text_of(ROOT / "pyproject.toml")
    (section,) = re.findall(r"\[project.optional-dependencies\]\n(.*?)\n\n", text, re.DOTALL)
    (base,) = re.findall(r"^dependencies = (\[.*?\])$", text, re.MULTILINE)
    lines = re.findall(r"^([\w-]+) = (\[.*\])$", section, re.MULTILINE)
    return {"": json.loads(base)} | {name: json.loads(packages) for name, packages in lines}


def closure(wanted: list[str]) -> set[str]:
    """Return the names of packages with all that they depend on."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ["", *requirement.extras]:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            try:
                texts = requires(name) or []
            except PackageNotFoundError:  # for another platform
                continue
            waiting += [
                further
                for further in map(Requirement, texts)
                if further.marker is None or further.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found}


def needed_by(code: str) -> tuple[str, ...]:
    """Return the extras that a page names for a block like this."""
    names = ["remote" if re.search(r"base_url|dialect", code) else "local"]
    names += ["langchain"] if "langchain" in code else []
    names += ["llama-index"] if "llama_index" in code else []
    return (*names, *(["langgraph"] if "langgraph" in code else []))


BLOCKS: dict[tuple[str, ...], list[tuple[Path, str]]] = {}
for page in FIRST_PAGES:
    for code, _ in programs(page):
        BLOCKS.setdefault(needed_by(code), []).append((page, code))


@pytest.mark.parametrize("names", BLOCKS, ids="+".join)
def test_the_blocks_run_with_the_extras_alone(names: tuple[str, ...], tmp_path: Path) -> None:
    by_extra = extras()
    wanted = [package for name in ("", *names) for package in by_extra.get(name, [name])]
    allowed = closure(wanted) | OURS
    hidden = [
        module
        for module, owners in packages_distributions().items()
        if allowed.isdisjoint(map(canonicalize_name, owners))
    ]
    assert "pytest" in hidden
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(hidden)],
        input=json.dumps([code for _, code in BLOCKS[names]]),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, [name_of(page) for page, _ in BLOCKS[names]] + [done.stderr]
    assert "UserWarning" not in done.stderr, done.stderr
