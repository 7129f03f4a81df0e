"""Flags before the environment before the file; and nothing secret is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from qwen3_rerank.cli.app import app
from qwen3_rerank.cli.serve import serve
from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from qwen3_rerank.service.sources import load_settings, unknown_variables
from shared_core.errors import ConfigurationError


def shown(*arguments: str, **environment: str) -> dict[str, Any]:
    run = CliRunner().invoke(app, ["serve", "--show-config", *arguments], env=environment)
    assert run.exit_code == 0, run.output
    decoded: dict[str, Any] = json.loads(run.stdout)
    return decoded


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_which_one_counts(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"service.{suffix}"
    options = {"port": 1, "max_queue": 2, "max_documents": 3}
    lines = [f"{name} = {value}" for name, value in options.items()]
    file.write_text("\n".join(lines) if suffix == "toml" else json.dumps(options))
    config = shown(
        *("--config", str(file), "--port", "11"),
        QWEN3_RERANK_PORT="21",
        QWEN3_RERANK_MAX_QUEUE="22",
    )
    assert [config[name] for name in options] == [11, 22, 3]


def test_every_option_has_a_flag_and_a_variable() -> None:
    """But for secrets, and what a service cannot use."""
    without_flag = {"api_key", "headers", "on_error", "show_progress"}
    fields = set(ServiceSettings.model_fields)
    assert fields - without_flag <= set(serve.__annotations__)
    for name in fields - {"api_key", "headers", "on_error"}:
        unknown_variables({f"QWEN3_RERANK_{name.upper()}": "x"})


@pytest.mark.parametrize(
    ("flag", "text", "name", "value"),
    [
        ("--engine-args", '{"seed": 1}', "engine_args", {"seed": 1}),
        ("--max-retries", "7", "max_retries", 7),
        ("--connect-timeout", "1.5", "connect_timeout", 1.5),
        ("--forwarded-allow-ips", "10.0.0.0/8,::1", "forwarded_allow_ips", ["10.0.0.0/8", "::1"]),
        ("--max-queued-bytes", "9", "max_queued_bytes", 9),
    ],
)
def test_flags_reach_the_settings(flag: str, text: str, name: str, value: Any) -> None:
    assert shown(flag, text)[name] == value
    assert shown(**{f"QWEN3_RERANK_{name.upper()}": text})[name] == value


@pytest.mark.parametrize("address", ["proxy.example", "10.0.0.1/33", "10.0.0.1/8"])
def test_proxies_are_addresses(address: str) -> None:
    with pytest.raises(ValidationError, match="forwarded_allow_ips"):
        ServiceSettings(forwarded_allow_ips=address)


def test_lists_in_the_environment() -> None:
    environment = {
        "QWEN3_RERANK_SERVE_KEYS": "one, two",
        "QWEN3_RERANK_CORS_ORIGINS": '["http://a.example"]',
        "QWEN3_RERANK_ALLOWED_HOSTS": "Rerank.example,*.inner",
        "QWEN3_RERANK_ENGINE_ARGS": '{"tensor_parallel_size": 2}',
        "QWEN3_RERANK_LOCAL_FILES_ONLY": "true",
        "QWEN3_RERANK_API_KEY": "of the server behind",
    }
    settings = load_settings({}, environment=environment)
    assert settings.all_keys() == ("one", "two")
    assert settings.cors_origins == ("http://a.example",)
    assert settings.allowed_hosts == ("rerank.example", "*.inner")
    assert settings.engine_args == {"tensor_parallel_size": 2}
    assert settings.local_files_only is True
    assert settings.api_key is None


def test_kubernetes_own_variables_are_no_options() -> None:
    settings = load_settings({}, environment={"QWEN3_RERANK_PORT": "tcp://10.0.0.1:8000"})
    assert settings.port == 8000


def test_keys_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nalpha\n\nbeta\n")
    settings = ServiceSettings(serve_key_file=str(file), serve_keys="alpha")
    assert settings.all_keys() == ("alpha", "beta")
    file.write_text("# none\n")
    with pytest.raises(ConfigurationError, match="no key"):
        settings.all_keys()


def test_nothing_secret_is_shown() -> None:
    run = CliRunner().invoke(
        app,
        ["serve", "--show-config", "--require-key", "secret-1", "--require-key", "secret-2"],
        env={
            "QWEN3_RERANK_API_KEY": "secret-3",
            "QWEN3_RERANK_ENGINE_ARGS": '{"hf_token": "secret-4"}',
        },
    )
    assert run.exit_code == 0
    assert "secret" not in run.output
    assert json.loads(run.stdout)["serve_keys"] == "2 given, not shown"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--port", "70000"], "port"),
        (["--log-level", "loud"], "log_level"),
        (["--config", "/no/such/file"], "cannot be read"),
        (["--require-key", "has space"], "serve_keys"),
        (["--api-key", "a"], "give --require-key"),
        (["--api-key-file", "a"], "is now --require-key-file"),
        (["--require-key-file", "/no/such/file"], "cannot be read"),
    ],
)
def test_wrong_options(arguments: list[str], word: str) -> None:
    run = CliRunner().invoke(app, ["serve", "--show-config", *arguments])
    assert run.exit_code == 2
    assert word in run.output
    assert "has space" not in run.output


def test_an_unknown_name_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text("prot = 9000")
    with pytest.raises(ValidationError, match="prot"):
        load_settings({}, environment={}, file=file)
    file.write_text("port = ")
    with pytest.raises(ConfigurationError, match="not valid"):
        load_settings({}, environment={}, file=file)


def test_the_service_never_returns_unscored_documents() -> None:
    with pytest.raises(ValidationError, match="on_error"):
        ServiceSettings(on_error="passthrough")


def test_a_folder_s_path_is_nobody_s_business(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "my-model"
    folder.mkdir(parents=True)
    assert ServiceSettings(model=str(folder)).model_name == "my-model"
    assert ServiceSettings(model=str(folder), served_model_name="x").model_name == "x"


def test_the_command_line_loads_nothing_of_the_service() -> None:
    code = "import qwen3_rerank.cli.app, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"fastapi", "uvicorn", "torch", "prometheus_client"} & set(run.stdout.split())


def test_a_model_that_is_not_there_ends_the_server(tmp_path: Path) -> None:
    server = make_server(ServiceSettings(port=0, model=str(tmp_path)))
    server.run()
    assert server.exit_code == 1
    assert server.service.state == "stopped"
    assert str(tmp_path) in server.service.reason


def test_names_are_those_given_and_the_one_to_listen_on() -> None:
    """Any address is answered to anyhow, so listening on all of them adds no name."""
    for host, names in (
        ("127.0.0.1", ["*.example"]),
        ("0.0.0.0", ["*.example"]),  # noqa: S104  # nothing listens
        ("::", ["*.example"]),
        ("Rerank.inner", ["rerank.inner", "*.example"]),
    ):
        settings = ServiceSettings(host=host, allowed_hosts="*.example")
        assert [name for name in settings.host_names if not name[0].isdigit()] == names
    for wrong in ("http://a.example", "a.example:80", "a/b", "**", "*.*.example", ""):
        with pytest.raises(ValidationError, match="is not the name of a host"):
            ServiceSettings(allowed_hosts=[wrong])
    for wrong in ("rerank", "//evil.example", "/a/../b", "/a b", "http://a.example/b"):
        with pytest.raises(ValidationError, match="beginning of a path"):
            ServiceSettings(root_path=wrong)
    assert ServiceSettings(root_path="/rerank-app/").root_path == "/rerank-app"
