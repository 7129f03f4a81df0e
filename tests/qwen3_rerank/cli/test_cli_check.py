"""The command line as a process: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.checkpoints import BUNDLED, write_checkpoint
from support.prepared_command import run_command
from transformers import AutoTokenizer

from shared_core.prompt import DEFAULT_INSTRUCTION, render_prompt

SECRET = "sk-do-not-print-me"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, environment={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"})


def test_a_model_that_scores_rightly_exits_with_0_and_prints_a_table() -> None:
    done = run("check", "--model", "tiny", "--device", "cpu", "--dtype", "float32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 known pairs" in done.stdout
    assert "The scores can be trusted." in done.stdout


def test_json_is_the_whole_of_standard_output() -> None:
    done = run("check", "--model", "tiny", "--device", "cpu", "--dtype", "float32", "--json")
    report = json.loads(done.stdout)
    assert report["exit_code"] == done.returncode == 0
    assert {"name", "status", "detail", "fix"} == set(report["findings"][0])


def test_a_server_that_is_not_there_exits_with_2_and_keeps_the_key_secret() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = run("check", "--base-url", url, "--api-key", SECRET)
    assert done.returncode == 2
    assert "Is the server running" in " ".join(done.stdout.split())
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["nowhere/at/all", "Qwen/Qwen3-Embedding-0.6B", "tini"])
def test_a_model_that_cannot_be_loaded_has_no_scores_and_exits_with_2(name: str) -> None:
    done = run("check", "--model", name, "--json")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["exit_code"] == 2
    assert [finding["status"] for finding in report["findings"]] == ["failed"]


def test_wrong_scores_exit_with_1(tmp_path: Path) -> None:
    """A checkpoint of random weights loads, and orders nothing."""
    write_checkpoint(tmp_path, AutoTokenizer.from_pretrained(BUNDLED))
    done = run("check", "--model", str(tmp_path), "--device", "cpu")
    assert done.returncode == 1
    assert "close to random" in " ".join(done.stdout.split())
    assert "The scores are wrong." in done.stdout


def test_wrong_options_are_named_without_a_traceback() -> None:
    done = run("check", "--base-url", "ftp://somewhere", "--api-key", SECRET)
    assert done.returncode == 2
    assert "base_url" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_template_is_printed_to_the_byte_and_renders_the_prompt() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    printed = run("template")
    path = run("template", "--path").stdout.strip()
    assert printed.stdout == Path(path).read_text("utf-8")
    messages = [
        {"role": "query", "content": "  what\n"},
        {"role": "document", "content": [{"type": "text", "text": "this "}]},
    ]
    for settings in ({}, {"trim_blocks": True, "lstrip_blocks": True}):
        template = ImmutableSandboxedEnvironment(**settings).from_string(printed.stdout)
        expected = render_prompt(DEFAULT_INSTRUCTION, "  what\n", "this ")
        assert template.render(messages=messages) == expected
        expected = render_prompt("find", "  what\n", "this ")
        assert template.render(messages=messages, instruction="find") == expected
        assert template.render(messages=messages, instruct="find") == expected


def test_the_command_says_what_to_install() -> None:
    """Without typer: an import hook hides it, as on a machine without the extra."""
    program = "import sys; sys.modules['typer'] = None\nfrom qwen3_rerank.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert 'pip install "qwen3-rerank[cli]"' in done.stderr
