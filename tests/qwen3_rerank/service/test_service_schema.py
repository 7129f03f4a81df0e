"""Whatever the OpenAPI document allows, and much that it does not: no 5xx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from support.services import Running


@pytest.fixture(scope="module")
def api(service: Running) -> Any:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_server_errors(api: Any, mode: GenerationMode) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 12
    asked = 0
    for operation in operations:
        examples = 20 if operation.method == "post" else 2
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # nothing about it can be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            nonlocal asked
            reply = case.call()
            case.validate_response(reply, checks=[not_a_server_error])
            assert reply.headers["x-request-id"]
            asked += 1

        ask()
    assert asked > 60


def test_the_documentation_has_every_route(api: Any) -> None:
    table = (Path(__file__).parents[3] / "docs" / "service.md").read_text("utf-8")
    for path in api.raw_schema["paths"]:
        assert f"`{path}`" in table or f" {path}`" in table, path


def test_the_document_shows_every_body(api: Any) -> None:
    paths = api.raw_schema["paths"]
    for path in ("/rerank", "/v1/rerank", "/v2/rerank", "/rerank/batch", "/score", "/api/predict"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]
