"""The files under examples/deploy say what the service understands. Nothing is built here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from qwen3_rerank.cli.app import app
from qwen3_rerank.service.app import create_app
from qwen3_rerank.service.settings import ServiceSettings
from qwen3_rerank.service.sources import load_settings
from qwen3_rerank.web.connections import fitting_into

DEFAULTS = ServiceSettings()
ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "examples" / "deploy"
FILES = [ROOT / "Dockerfile", ROOT / "compose.yaml", *sorted(DEPLOY.iterdir())]


def manifests() -> dict[str, Any]:
    text = (DEPLOY / "kubernetes.yaml").read_text("utf-8")
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_is_an_option(file: Path) -> None:
    known = {f"QWEN3_RERANK_{name.upper()}" for name in ServiceSettings.model_fields}
    assert set(re.findall(r"QWEN3_RERANK_[A-Z_]+", file.read_text("utf-8"))) <= known


def test_the_image_is_made_of_every_package_of_the_wheel() -> None:
    wheel = re.search(r"^packages = \[(.+)\]$", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert wheel
    packages = set(re.findall(r'"(\w+)"', wheel[1]))
    assert "qwen3_rerank" in packages
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert set(copied) == packages
    assert {f"!{name}" for name in packages} <= set((ROOT / ".dockerignore").read_text().split())


def test_the_example_file_is_understood() -> None:
    settings = load_settings({}, environment={}, file=DEPLOY / "service.toml")
    assert settings.model == "Qwen/Qwen3-Reranker-0.6B"


def test_kubernetes(tmp_path: Path) -> None:
    found = manifests()
    assert set(found) >= {"Deployment", "Service", "ConfigMap", "Secret", "PersistentVolumeClaim"}
    config = tmp_path / "service.toml"
    config.write_text(found["ConfigMap"]["data"]["service.toml"])
    settings = load_settings({}, environment={}, file=config)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    lasts = settings.shutdown_delay + settings.shutdown_grace
    assert pod["terminationGracePeriodSeconds"] > lasts + 5
    assert pod["enableServiceLinks"] is False
    (container,) = pod["containers"]
    routes = create_app(ServiceSettings(model="tiny")).openapi()["paths"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    assert any(str(settings.serve_key_file).startswith(mount) for mount in mounts)
    assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
    assert all(one["emptyDir"].get("sizeLimit") for one in pod["volumes"] if "emptyDir" in one)
    assert {one["name"] for one in container["volumeMounts"]} == {x["name"] for x in pod["volumes"]}
    assert (
        found["Service"]["spec"]["selector"]
        == found["Deployment"]["spec"]["selector"]["matchLabels"]
    )


def test_compose() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    arguments = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
    for service in compose["services"].values():
        assert set(service["build"]["args"]) <= set(arguments)
        assert service["read_only"] is True
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["volumes"] == ["models:/models"]
        assert all("size=" in mount for mount in service["tmpfs"])
        assert service["mem_limit"]
        assert service["pids_limit"] > 0
        assert fitting_into(DEFAULTS.max_connections, service["ulimits"]["nofile"]) == 768


def test_the_image_is_made_of_what_the_build_may_see() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M)
    assert sorted(" ".join(copied).split()) == sorted(let_in)
    assert all((ROOT / name).exists() for name in let_in)
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]", last_stage, re.M)
    assert "HEALTHCHECK" in last_stage
    assert "VOLUME /models" in last_stage


def test_the_unit_is_bounded() -> None:
    unit = (DEPLOY / "qwen3-rerank.service").read_text("utf-8")
    options = dict(re.findall(r"^(\w+)=(.*)$", unit, re.M))
    assert {"MemoryMax", "TasksMax"} <= set(options)
    assert options["UMask"] == "0077"
    assert fitting_into(DEFAULTS.max_connections, int(options["LimitNOFILE"])) == 768
    assert int(options["TimeoutStopSec"]) > DEFAULTS.shutdown_grace + DEFAULTS.shutdown_delay + 5


def test_the_unit_s_flags_exist() -> None:
    unit = (DEPLOY / "qwen3-rerank.service").read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    flags = re.findall(r" --([a-z-]+)", command)
    assert flags
    group: Any = typer.main.get_command(app)
    parameters = group.commands["serve"].params
    assert {f"--{flag}" for flag in flags} <= {flag for one in parameters for flag in one.opts}
