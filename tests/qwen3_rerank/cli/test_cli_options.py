"""Options that commands share: a dataclass in a command's signature becomes its options."""

from __future__ import annotations

import inspect
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.bench.__main__ import _checkpoint
from qwen3_rerank.cli.app import app
from qwen3_rerank.cli.common import reranker_of
from qwen3_rerank.cli.model_options import (
    LongDocumentOptions,
    ModelOptions,
    ServerOptions,
    with_options,
)
from shared_core import DEFAULT_MODEL, ModelLoadError, RerankerOptions


def given_to_a_command(*arguments: str) -> dict[str, Any]:
    """Return what a command gets that has ``--model`` as a list of its own."""
    seen: dict[str, Any] = {}

    @with_options
    def command(
        first: Annotated[str, typer.Argument()],
        model: Annotated[list[str] | None, typer.Option()] = None,
        *,
        here: ModelOptions,
        loud: bool = False,
        server: ServerOptions,
    ) -> None:
        seen.update(locals())

    small = typer.Typer()
    small.command()(command)
    done = CliRunner().invoke(small, list(arguments))
    assert done.exit_code == 0, done.output
    return seen


def test_options_arrive_in_their_dataclasses_and_those_left_out_have_their_defaults() -> None:
    seen = given_to_a_command("a", "--device", "cpu", "--header", "A: 1", "--header", "B: 2")
    assert seen["first"] == "a"
    assert seen["here"] == ModelOptions(device="cpu")
    assert seen["server"] == ServerOptions(header=["A: 1", "B: 2"])


def test_what_a_command_declares_itself_is_its_own() -> None:
    seen = given_to_a_command("a", "--model", "b", "--model", "c", "--loud")
    assert seen["model"] == ["b", "c"]
    assert seen["loud"] is True
    assert seen["here"].model == DEFAULT_MODEL


def test_a_key_from_the_environment_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", "sk-secret")
    server = given_to_a_command("a")["server"]
    assert server.api_key == "sk-secret"
    assert "sk-secret" not in repr(server)


def test_options_stand_where_the_dataclass_stood() -> None:
    (rank,) = [one.callback for one in app.registered_commands if one.callback.__name__ == "rank"]
    names = list(inspect.signature(rank).parameters)
    where = names.index("threshold")
    assert names[where + 1 : where + 5] == [
        *("long_documents", "window_tokens", "window_overlap", "return_window"),
    ]
    assert names[-21:] == [
        *("model", "backend", "device", "dtype", "quantize", "threads", "max_length"),
        *("hub", "revision", "cache_dir", "local_files_only"),
        *("base_url", "api_key", "dialect", "template", "tokenizer", "header", "timeout"),
        *("max_retries", "max_concurrency", "requests_per_second"),
    ]


def test_what_is_said_apart_goes_before_what_is_in_the_groups() -> None:
    groups = ModelOptions(device="cpu"), ServerOptions(timeout=7.0, header=["A: 1"])
    options = reranker_of(*groups, model="tiny", cache_size=3).options
    assert (options.model, options.device, options.cache_size) == ("tiny", "cpu", 3)
    assert options.timeout == 7.0
    assert {name: str(value) for name, value in options.headers.items()}.keys() == {"A"}


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


def test_wherever_there_is_a_server_a_command_can_say_how_it_is_asked() -> None:
    commands = flags_of_commands()
    for name in ("batch", "check", "evaluate", "rank", "ui"):
        wanted = {"--max-retries", "--max-concurrency", "--requests-per-second", "--max-length"}
        assert wanted | {"--revision", "--timeout"} <= commands[name], name


def test_the_options_of_the_command_line_are_the_libraries_with_its_defaults() -> None:
    """A new default in one place is noticed in the other."""
    for group in (ModelOptions(), ServerOptions(), LongDocumentOptions()):
        for field in fields(group):
            if field.name != "header":
                assert getattr(group, field.name) == (
                    RerankerOptions.model_fields[field.name].get_default(call_default_factory=True)
                )


def test_options_of_the_hub_and_of_retrying_reach_the_reranker(tmp_path: Path) -> None:
    arguments = [
        *("--hub", "modelscope", "--cache-dir", str(tmp_path), "--local-files-only"),
        *("--revision", "v2", "--max-length", "99", "--max-retries", "0"),
        *("--max-concurrency", "2", "--requests-per-second", "0.5"),
    ]
    seen = given_to_a_command("a", *arguments)
    options = reranker_of(seen["here"], seen["server"]).options
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
