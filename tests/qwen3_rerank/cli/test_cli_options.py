"""Flags that are made from the declarations of the options."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.bench.__main__ import _checkpoint
from qwen3_rerank.cli.app import app
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options
from shared_core import ModelLoadError, Reranker, RerankerOptions
from shared_core.options import about_options


def run_command(*arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Return exit code, output and what a command gets; it has a list ``--model`` of its own."""
    seen: dict[str, Any] = {}

    @with_options(RerankerOptions, ALL_GROUPS, without=("instruction",))
    def command(
        first: Annotated[str, typer.Argument()],
        model: Annotated[list[str] | None, typer.Option()] = None,
        *,
        options: Options,
        loud: bool = False,
    ) -> None:
        seen.update(locals())

    small = typer.Typer()
    small.command()(command)
    done = CliRunner().invoke(small, list(arguments))
    return done.exit_code, done.output, seen


def given_to_a_command(*arguments: str) -> dict[str, Any]:
    code, output, seen = run_command(*arguments)
    assert code == 0, output
    return seen


def test_only_what_was_given_arrives() -> None:
    seen = given_to_a_command("a", "--device", "cpu", "--max-length", "7", "--local-files-only")
    assert seen["first"] == "a"
    assert seen["options"] == {"device": "cpu", "max_length": 7, "local_files_only": True}
    assert given_to_a_command("a")["options"] == {}


def test_headers_and_json_objects_arrive_as_dictionaries() -> None:
    options = given_to_a_command(
        *("a", "--header", "A: 1", "--header", "B:2", "--engine-args", '{"seed": 3}')
    )["options"]
    assert options == {"headers": {"A": "1", "B": "2"}, "engine_args": {"seed": 3}}
    assert Reranker(**options).options.engine_args == {"seed": 3}


@pytest.mark.parametrize("wrong", [("--header", "A"), ("--engine-args", "[]")])
def test_a_malformed_value_is_refused_and_not_repeated(wrong: tuple[str, str]) -> None:
    code, output, _ = run_command("a", *wrong)
    assert code == 2
    assert f"for {wrong[0]}" in output


def test_what_a_command_declares_itself_is_its_own() -> None:
    seen = given_to_a_command("a", "--model", "b", "--model", "c", "--loud")
    assert seen["model"] == ["b", "c"]
    assert seen["loud"] is True
    assert "model" not in seen["options"]


def test_a_key_of_the_environment_is_left_to_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's own variable may go before it, and a service without a server needs none."""
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", "sk-secret")
    assert given_to_a_command("a")["options"] == {}


@pytest.mark.parametrize("name", ["rank", "check", "evaluate", "batch", "ui"])
def test_every_command_has_a_flag_for_every_option_of_model_and_server(name: str) -> None:
    (command,) = (one.callback for one in app.registered_commands if one.callback.__name__ == name)
    flags = set(inspect.signature(command).parameters)
    groups = {"Model", "Computing", "Server", "Retries and limits"}
    # The page has a field for the instruction, and an evaluation fits a calibration.
    of_their_own = {"ui": "instruction", "evaluate": "calibration"}
    expected = {
        option
        for option, about in about_options(RerankerOptions).items()
        if about.group in groups and option != of_their_own.get(name)
    }
    assert expected <= flags | ({"headers"} if "header" in flags else set())


def flags_of_commands() -> dict[str, set[str]]:
    """Return the flags of every command."""
    group: Any = typer.main.get_command(app)
    return {
        name: {flag for parameter in command.params for flag in parameter.opts}
        for name, command in group.commands.items()
    }


def test_wherever_there_is_a_model_a_command_can_say_where_it_comes_from() -> None:
    commands = {name: flags for name, flags in flags_of_commands().items() if "--model" in flags}
    assert commands.keys() == {"batch", "check", "evaluate", "rank", "serve", "ui"}
    for name, flags in commands.items():
        assert {"--hub", "--cache-dir", "--local-files-only"} <= flags, name


def test_options_of_the_hub_and_of_retrying_reach_the_reranker(tmp_path: Path) -> None:
    arguments = [
        *("--hub", "modelscope", "--cache-dir", str(tmp_path), "--local-files-only"),
        *("--revision", "v2", "--max-length", "99", "--max-retries", "0"),
        *("--max-concurrency", "2", "--requests-per-second", "0.5"),
    ]
    options = Reranker(**given_to_a_command("a", *arguments)["options"]).options
    assert (options.hub, options.cache_dir, options.revision) == ("modelscope", str(tmp_path), "v2")
    assert options.local_files_only is True
    assert (options.max_length, options.max_retries, options.max_concurrency) == (99, 0, 2)
    assert options.requests_per_second == 0.5


def test_bench_takes_a_model_as_every_command_does(tmp_path: Path) -> None:
    assert _checkpoint(RerankerOptions(model="tiny"))[1] == "tiny"
    missing = RerankerOptions(model="me/model", cache_dir=str(tmp_path), local_files_only=True)
    with pytest.raises(ModelLoadError, match="local_files_only is set"):
        _checkpoint(missing)


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output == f"qwen3-rerank {version('qwen3-rerank')}\n"


def test_a_misspelt_flag_or_command_is_told_its_neighbour() -> None:
    for arguments, meant in (
        (["rank", "--topk", "3", "q", "d"], "--top-k"),
        (["chekc"], "check"),
        (["rank", "--hbu", "modelscope", "q", "d"], "--hub"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert meant in done.output
