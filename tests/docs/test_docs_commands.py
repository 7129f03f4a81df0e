"""The commands in pages: each one parses, those of `rank` run, and flags and exit codes exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from click import Context
from support.pages import PAGES, ROOT, command_lines, name_of, prose, table
from typer.testing import CliRunner

from benchmarks.bench.__main__ import bench
from qwen3_rerank.cli.app import app
from shared_core.check.report import CheckReport, Finding

COMMANDS: Any = typer.main.get_command(app)
_BENCH = typer.Typer()
_BENCH.command()(bench)
BY_NAME: dict[str, Any] = {**COMMANDS.commands, "bench": typer.main.get_command(_BENCH)}
FLAGS = {
    flag
    for command in [COMMANDS, *BY_NAME.values()]
    for parameter in command.params
    for flag in [*parameter.opts, *parameter.secondary_opts]
} | {"--help"}
# Flags in prose that belong to other programs, by the page.
OTHERS = {
    "docs/evaluation.md": {"--max-model-len"},
    "docs/service.md": {"--build-arg", "--strict"},
}
_OURS = r"(?:qwen3-rerank|python -m benchmarks\.bench)\b"
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


def ours(line: str) -> list[list[str]]:
    """Return the arguments of every command of ours in a line of a shell."""
    found = []
    for part in [*re.findall(r"\$\(([^)]*)\)", line), *re.split(r"\s[|>]\s|\s&&\s", line)]:
        if not re.match(rf"\s*(?:[A-Z0-9_]+=\S+ )*{_OURS}", part):
            continue
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"[A-Z0-9_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == "qwen3-rerank":
            found.append(words[1:])
        elif words[:3] == ["python", "-m", "benchmarks.bench"]:
            found.append(["bench", *words[3:]])
    return found


def spans(page: Path) -> list[str]:
    """Return what a page sets as code within its sentences."""
    return [span.replace("\n", " ") for span in _SPAN.findall(prose(page))]


WRITTEN = [
    (name_of(page), arguments)
    for page in PAGES
    for line in [
        *command_lines(page),
        *(span for span in spans(page) if span.startswith(("qwen3-rerank ", "python -m"))),
    ]
    if not line.endswith("…")
    for arguments in ours(line)
]


def test_there_are_commands_to_read() -> None:
    assert len(WRITTEN) > 40
    assert {name for name, _ in WRITTEN} >= {"README.md", "README.zh-CN.md", "docs/rank.md"}


@pytest.mark.parametrize(
    ("page", "arguments"),
    WRITTEN,
    ids=[f"{page}: {' '.join(words)}"[:70] for page, words in WRITTEN],
)
def test_a_command_parses(page: str, arguments: list[str]) -> None:
    """Its name and every flag exist, and its values have the right types; nothing is run."""
    if not arguments or arguments[0].startswith("-"):
        assert set(arguments) <= FLAGS
        return
    name, *rest = arguments
    assert name in BY_NAME, f"there is no command {name}"
    if not rest or rest == ["--help"]:
        return
    command = BY_NAME[name]
    with Context(COMMANDS, info_name="qwen3-rerank") as parent:
        command.make_context(name, [*rest], parent=parent)


# The others have mostly flags of servers.
OUR_FLAGS = [
    ROOT / "docs" / f"{name}.md"
    for name in ("check", "evaluation", "install", "long_documents", "rank", "scale", "service")
]


@pytest.mark.parametrize("page", OUR_FLAGS, ids=name_of)
def test_every_flag_in_a_sentence_is_a_flag(page: Path) -> None:
    known = FLAGS | OTHERS.get(name_of(page), set())
    for span in spans(page):
        if span.startswith(("--", "qwen3-rerank ")):
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", span)) <= known, span


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that docs/rank.md speaks of."""
    (tmp_path / "passages.txt").write_text("The Sun is a star.\n5,772 K at its surface.\n")
    (tmp_path / "faq.csv").write_text(
        "question,answer\nrefund?,within 30 days\nhours?,nine to five\n"
    )
    (tmp_path / "requests.jsonl").write_text('{"query": "sun", "documents": ["a", "b"], "id": 7}\n')
    (tmp_path / "found.jsonl").write_text(
        '{"text": "Refunds within 30 days.", "bm25": 7.1}\n{"text": "Open till five.", "bm25": 2}\n'
    )
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.md").write_text("The sun is hot.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the command would set it
    return tmp_path


RANKED = [words for page, words in WRITTEN if page == "docs/rank.md" and len(words) > 2]


@pytest.mark.parametrize("arguments", RANKED, ids=[" ".join(words)[:60] for words in RANKED])
def test_a_command_of_the_page_on_rank_runs(files: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(
        app, [*arguments, "--model", "tiny", "--device", "cpu"], input="a\nb\n"
    )
    assert done.exit_code == 0, done.output


def described(command: str) -> set[int]:
    """Return the exit codes that a command's help lists."""
    (paragraph,) = re.findall(
        r"Exit code(.*?)(?:\n\n|\Z)", COMMANDS.commands[command].help, re.DOTALL
    )
    return {int(code) for code in re.findall(r"\b(\d{1,3})(?=[:,)]| if)", paragraph)}


@pytest.mark.parametrize(("page", "command"), [("rank", "rank"), ("check", "check")])
def test_exit_codes_of_a_table_are_those_of_the_help(page: str, command: str) -> None:
    rows = table(ROOT / "docs" / f"{page}.md", "exit code")
    listed = {int(code) for row in rows for code in row[0].split(",")}
    assert listed == described(command)


def test_exit_codes_of_a_report() -> None:
    for status, code in {
        **dict.fromkeys(("ok", "info", "warning"), 0),
        "wrong": 1,
        **dict.fromkeys(("failed", "unreachable"), 2),
    }.items():
        findings = (Finding("order", "ok", ""), Finding("second", status, ""))  # type: ignore[arg-type]
        assert CheckReport("", findings, {}).exit_code == code
    assert CheckReport("", (Finding("server", "ok", ""),), {}).exit_code == 2  # nothing compared
