"""Files for the host of the repository and for pre-commit: they parse, and name what there is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from support.pages import ROOT, text_of

GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", text_of(ROOT / "Makefile"), re.MULTILINE))


def parsed(path: str) -> Any:
    return yaml.safe_load(text_of(ROOT / path))


def test_the_workflow_checks_every_python_that_is_promised() -> None:
    workflow = parsed(".github/workflows/ci.yml")
    promised = re.findall(r"Python :: (3\.\d+)\"", text_of(ROOT / "pyproject.toml"))
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == promised
    commands = [
        step["run"]
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if step.get("run", "").startswith("make ")
    ]
    assert {"make check", "make test"} <= set(commands)
    assert {command.split()[1] for command in commands} <= TARGETS


def test_the_workflow_needs_no_secret_and_may_only_read() -> None:
    assert parsed(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}
    assert "secrets." not in text_of(GITHUB / "workflows" / "ci.yml")


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(form: Any) -> None:
    """By the host's syntax: what it does not know makes it leave the form out."""
    content = yaml.safe_load(text_of(form))
    assert (
        {"name", "description", "body"}
        <= content.keys()
        <= {"name", "description", "body", "labels"}
    )
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert fields
    assert len({field["id"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
        assert (field["type"] == "dropdown") == ("options" in field["attributes"])
        assert field["validations"].keys() == {"required"}


def test_the_pull_request_template_names_targets_and_folders_that_exist() -> None:
    template = text_of(GITHUB / "pull_request_template.md")
    named = re.findall(r"`make ([a-z-]+)`", template)
    assert named
    assert set(named) <= TARGETS
    for path in re.findall(r"`([a-z]+/[a-z/]+)`", template):
        assert (ROOT / path).exists(), path


def test_pre_commit_has_the_versions_of_the_project() -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", text_of(ROOT / "constraints-dev.txt"), re.MULTILINE)
    )
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    for name in ("ruff-check", "ruff-format"):
        assert hooks[name]["additional_dependencies"] == [f"ruff=={pinned['ruff']}"]
    assert hooks["mypy"]["entry"] == ".venv/bin/mypy"
