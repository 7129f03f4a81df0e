"""Options that commands share: a dataclass in a command's signature becomes its options."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from shared_core import DEFAULT_MODEL
from shared_core.cli.app import app
from shared_core.cli.common import reranker_of
from shared_core.cli.model_options import ModelOptions, ServerOptions, with_options


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
    assert names[-12:] == [
        *("model", "backend", "device", "dtype", "quantize"),
        *("base_url", "api_key", "dialect", "template", "tokenizer", "header", "timeout"),
    ]


def test_what_is_said_apart_goes_before_what_is_in_the_groups() -> None:
    groups = ModelOptions(device="cpu"), ServerOptions(timeout=7.0, header=["A: 1"])
    options = reranker_of(*groups, model="tiny", cache_size=3).options
    assert (options.model, options.device, options.cache_size) == ("tiny", "cpu", 3)
    assert options.timeout == 7.0
    assert {name: str(value) for name, value in options.headers.items()}.keys() == {"A"}
