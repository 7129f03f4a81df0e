"""The READMEs' commands to install and to try the project, run in a clean copy of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SET_UP = re.compile(r"^(?:pip|make|git) .+$", re.MULTILINE)
NEXT = re.compile(r'"  ((?:make|\$\(BIN\)/).*?) {2,}.*"$', re.MULTILINE)


def commands(page: str) -> list[str]:
    """Return the commands of a page that set up or try the project."""
    blocks = BLOCK.findall((ROOT / page).read_text("utf-8"))
    return [
        command
        for language, block in blocks
        if language in ("", "bash", "sh")
        for command in SET_UP.findall(block)
    ]


COMMANDS = list(dict.fromkeys(commands("README.md") + commands("README.zh-CN.md")))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy without what git ignores; the packages of its environment are those of this one."""
    folder = tmp_path_factory.mktemp("clone") / "qwen3-rerank"
    ignored = [line.strip("/\n") for line in (ROOT / ".gitignore").open()]
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", *ignored))
    venv.create(folder / ".venv", with_pip=False)
    (site,) = folder.glob(".venv/lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


def run(command: str, folder: Path) -> str:
    """Return what a command printed in the copy, with its environment active and no index asked."""
    environment = {
        "PATH": os.pathsep.join([str(folder / ".venv" / "bin"), os.environ["PATH"]]),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # how pip reads it: no isolation
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", re.sub(r"^pip\b", "python -m pip", command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=folder,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_readmes_say_how_to_install_and_to_try() -> None:
    for page in ("README.md", "README.zh-CN.md"):
        assert any("./[langchain,local]" in command for command in commands(page))
        assert "make demo" in commands(page)
        text = (ROOT / page).read_text("utf-8")
        assert "`make test`" in text
        assert "https://pytorch.org/get-started/locally/" in text  # torch's build for CPUs


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != "make test"])
def test_a_command_works_in_a_clean_copy(command: str, clone: Path) -> None:
    printed = run(command, clone)
    if "[langchain,local]" in command:
        code = "import shared_core, langchain_qwen3_rerank; print(shared_core.__file__)"
        assert str(clone.parent) in run(f'cd .. && python -c "{code}"', clone)
    if command == "make demo":
        assert "Installing what the demonstration needs" in printed
        assert "embedding + reranker" in printed
        assert printed.count("\n  make ") == 2  # what to try next


def test_make_knows_every_target_that_is_named() -> None:
    """In the help, in what the demonstration says to try next, and in CONTRIBUTING.md."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    helped = re.findall(r'"make ([a-z-]+(?: \| [a-z-]+)*)', makefile)
    named = {name for names in helped for name in names.split(" | ")}
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named |= set(re.findall(r"make ([a-z][a-z-]+)", contributing))
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert named <= targets
    assert {"demo", "check", "test"} <= targets
    assert NEXT.findall(makefile)
    for command in NEXT.findall(makefile):
        if command.startswith("$(BIN)/python "):
            assert (ROOT / command.split()[-1]).exists()
