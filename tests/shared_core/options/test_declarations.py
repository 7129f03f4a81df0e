"""Every option is declared once; what is derived from it, and what repeats it, agrees."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from qwen3_rerank.service.settings import ServiceSettings
from shared_core import RankingOptions, Reranker, RerankerOptions
from shared_core.adapter import MODEL_OPTIONS, AdapterCallOptions, AdapterOptions
from shared_core.options import about_options
from shared_core.options.calls import RankingCallOptions, WindowCallOptions
from shared_core.options.windows import WINDOW_OPTIONS, WindowOptions


@pytest.mark.parametrize("model", [RerankerOptions, RankingOptions, WindowOptions, ServiceSettings])
def test_every_option_has_help_and_a_group(model: type[RerankerOptions]) -> None:
    assert about_options(model).keys() == model.model_fields.keys()
    for name, field in model.model_fields.items():
        assert re.fullmatch(r"[A-Z\"*].*[.]", field.description or ""), name


def test_a_reranker_takes_every_option_with_its_default() -> None:
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(Reranker.__init__).parameters.items()
        if name not in ("self", "scorer", "unknown")
    }
    assert taken.keys() == RerankerOptions.model_fields.keys()
    for name, field in RerankerOptions.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert taken[name] == (default or None if default == {} else default), name


@pytest.mark.parametrize(
    ("owner", "model"), [(Reranker, RerankerOptions), (Reranker.rerank, RankingOptions)]
)
def test_a_docstring_names_every_option_once(owner: object, model: type[BaseModel]) -> None:
    lists = re.findall(r"^ {4}(\w[\w, ]*): ", inspect.getdoc(owner) or "", re.MULTILINE)
    named = Counter(name for names in lists for name in names.split(", "))
    assert {name: named[name] for name in model.model_fields} == dict.fromkeys(
        model.model_fields, 1
    )


def test_calls_take_every_option_of_a_ranking_and_of_long_documents() -> None:
    assert RankingCallOptions.__annotations__.keys() == {*RankingOptions.model_fields, "top_n"}
    assert WindowCallOptions.__annotations__.keys() == WINDOW_OPTIONS
    changeable = AdapterOptions.model_fields.keys() - MODEL_OPTIONS - {"reranker", "instruction"}
    assert AdapterCallOptions.__annotations__.keys() == {*changeable, "top_n"}


def test_secrets_are_those_that_are_in_no_dump() -> None:
    for model in (RerankerOptions, ServiceSettings):
        secret = {name for name, about in about_options(model).items() if about.is_secret}
        assert secret == {name for name, field in model.model_fields.items() if field.exclude}


def test_an_adapter_has_all_of_them() -> None:
    fields = AdapterOptions.model_fields.keys()
    assert fields >= {*RerankerOptions.model_fields, *RankingOptions.model_fields}


def test_the_json_schema_is_left_as_it_is() -> None:
    field = RankingOptions.model_json_schema()["properties"]["min_docs"]
    assert field.keys() == {"default", "description", "minimum", "title", "type"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"base_url": "http://localhost:1", "device": "cpu", "threads": 2}, "device, threads"),
        ({"model": "tiny", "timeout": 1.0, "headers": {"x-key": "secret"}}, "headers, timeout"),
        ({"base_url": "http://localhost:1", "timeout": 1.0, "cache_dir": "there"}, ""),
        ({"model": "tiny", "device": "cpu", "cache_size": 3}, ""),
    ],
)
def test_an_option_of_another_backend_is_said_to_have_no_effect(
    options: dict[str, Any], names: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Reranker(**options) as reranker:
        assert reranker.scorer is not None
    said = [record.getMessage() for record in caplog.records if "without" in record.getMessage()]
    backend = "remote" if "base_url" in options else "transformers"
    assert said == ([f"without effect with the backend {backend}: {names}"] if names else [])


@pytest.mark.parametrize("model", [RerankerOptions, RankingOptions, ServiceSettings])
def test_no_number_takes_a_bool(model: type[BaseModel]) -> None:
    """Pydantic would take True for 1."""
    tried = 0
    for name, field in model.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        if kinds & {int, float} and bool not in kinds:
            tried += 1
            with pytest.raises(ValidationError, match="got a bool") as caught:
                model(**{name: True})
            assert [error["loc"][0] for error in caught.value.errors()] == [name]
    assert tried >= 2
