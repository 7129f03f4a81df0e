"""The options by themselves: what they accept, what they refuse, what they never show."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError, model_validator
from support.own_dialect import OwnDialect

from shared_core import ConfigurationError, RankingOptions, Reranker, RerankerOptions
from shared_core.adapter import (
    MODEL_OPTIONS,
    AdapterOptions,
    RerankerHolder,
    refuse_model_options,
)
from shared_core.options.remote import HIDDEN, RemoteOptions

KEY = "sk-1234567890abcdef"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("https://gate.example/qwen/v1/rerank/", "https://gate.example/qwen/v1/rerank"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        (None, None),
    ],
)
def test_addresses(given: str | None, kept: str | None) -> None:
    assert RerankerOptions(base_url=given).base_url == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("localhost:8000", "expected http:// or https://"),
        ("ftp://localhost", "expected http:// or https://"),
        ("http://", "expected http:// or https://"),
        ("http://localhost:99999", "is no address"),
        ("http://localhost:0", "expected http://"),
        (f"http://user:{KEY}@localhost", "holds credentials: give api_key or headers"),
        (f"http://{KEY}@localhost", "holds credentials"),
        (f"http://localhost/?api_key={KEY}", "has a query or a fragment"),
        ("http://localhost/#here", "has a query or a fragment"),
    ],
)
def test_what_is_no_plain_address_is_refused(given: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        RerankerOptions(base_url=given)
    assert "base_url" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "total_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon", None])
def test_times_are_positive_and_finite(name: str, value: Any) -> None:
    """A timeout of ``None`` would wait for ever."""
    with pytest.raises(ValidationError, match=name):
        RerankerOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("max_concurrency", 0),
        ("requests_per_second", 0),
        ("requests_per_second", float("inf")),
        ("template", "sometimes"),
        ("backend", "onnx"),
        ("engine_args", ["tensor_parallel_size"]),
        ("model", ""),
    ],
)
def test_a_refusal_names_the_option(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        RerankerOptions(**{name: value})


@pytest.mark.parametrize("blank", ["", "  ", "\n", None])
def test_a_blank_key_is_none(blank: str | None) -> None:
    """An unset variable in a deployment file often arrives as an empty string."""
    assert RerankerOptions(api_key=blank).api_key is None


def test_a_key_is_stripped() -> None:
    """A key read from a file has a newline, which no header can carry."""
    options = RerankerOptions(api_key=f"{KEY}\n")
    assert options.api_key is not None
    assert options.api_key.get_secret_value() == KEY
    assert RerankerOptions(api_key=SecretStr(KEY)).api_key == options.api_key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": f"{KEY}é"}, "api_key has characters that no HTTP header can carry"),
        ({"api_key": f"{KEY}\r\nx-more: 1"}, "api_key has characters"),
        ({"headers": {"x-key": f"{KEY}\r\nx-more: 1"}}, "header x-key has characters"),
        ({"headers": {"x key": KEY}}, "has a name that no HTTP header can have"),
        ({"headers": {"x-key\r\n": KEY}}, "has a name that no HTTP header can have"),
    ],
)
def test_what_no_header_can_carry_is_refused_unseen(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        RerankerOptions(**options)
    assert KEY not in str(caught.value)


def test_secrets_are_in_no_dump_and_no_repr() -> None:
    options = RerankerOptions(api_key=KEY, headers={"x-key": KEY})
    shown = [
        repr(options),
        str(options),
        repr(options.model_dump()),
        repr(options.model_dump(include={"api_key", "headers", "model"})),
        options.model_dump_json(),
        repr(dict(options)),
        repr(vars(options)),
    ]
    assert not [text for text in shown if KEY in text]
    assert "api_key" not in options.model_dump()
    assert "headers" not in options.model_dump()


def test_secrets_are_equal_by_value_and_survive_a_pickle() -> None:
    options = RerankerOptions(api_key=KEY, headers={"x-key": KEY})
    back = pickle.loads(pickle.dumps(options))  # noqa: S301 - our own bytes
    assert back == options
    assert back.api_key.get_secret_value() == KEY
    assert options != RerankerOptions(api_key="another", headers={"x-key": KEY})


@pytest.mark.parametrize(
    ("options", "is_remote"),
    [
        ({}, False),
        ({"backend": "vllm"}, False),
        ({"api_key": KEY}, False),
        ({"base_url": "http://localhost"}, True),
        ({"base_url": "http://localhost", "backend": "remote"}, True),
        ({"dialect": "siliconflow"}, True),
        ({"dialect": OwnDialect(), "base_url": "http://localhost"}, True),
    ],
)
def test_a_server_scores_where_one_is_named(options: dict[str, Any], is_remote: bool) -> None:
    assert RerankerOptions(**options).is_remote is is_remote


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "transformers", "base_url": "http://localhost"}, "leave out one of them"),
        ({"backend": "vllm", "dialect": "tei"}, "leave out one of them"),
        ({"backend": "remote"}, "needs base_url"),
    ],
)
def test_backends_that_contradict_the_address(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RerankerOptions(**options)


@pytest.mark.parametrize("dialect", ["auto", "tei", "not known yet", OwnDialect(), OwnDialect])
def test_a_dialect_is_a_name_or_has_both_methods(dialect: Any) -> None:
    assert RerankerOptions(dialect=dialect).dialect is dialect


@pytest.mark.parametrize("dialect", [None, 3, {"build": 1, "parse": 2}, object(), [KEY]])
def test_other_dialects_are_refused(dialect: Any) -> None:
    with pytest.raises(ValidationError, match="expected a name, or an object with build and parse"):
        RerankerOptions(dialect=dialect)


def test_paths_are_accepted() -> None:
    options = RerankerOptions(
        model=Path("a"),  # type: ignore[arg-type]  # accepted all the same
        cache_dir=Path("b"),  # type: ignore[arg-type]
        tokenizer=Path("c"),  # type: ignore[arg-type]
    )
    assert (options.model, options.cache_dir, options.tokenizer) == ("a", "b", "c")


def test_a_reranker_takes_every_option_and_keeps_it() -> None:
    given: dict[str, Any] = {
        "model": "m",
        "backend": "remote",
        "base_url": "http://localhost",
        "api_key": SecretStr(KEY),
        "headers": {"x-key": SecretStr(KEY)},
        "template": "client",
        "tokenizer": "t",
        "timeout": 1.0,
        "connect_timeout": 2.0,
        "total_timeout": 3.0,
        "max_retries": 4,
        "max_concurrency": 5,
        "requests_per_second": 6.0,
        "engine_args": {"x": 1},
        "dialect": OwnDialect(),
    }
    assert RemoteOptions.model_fields.keys() < given.keys()
    options = Reranker(**given).options
    assert {name: getattr(options, name) for name in given} == given


def test_model_options_are_those_of_the_reranker_but_instruction_and_windows() -> None:
    """A server's too: its setup is shared by all copies, and a change would be ignored."""
    per_call = {"instruction", "long_documents", "window_tokens", "window_overlap"}
    assert RerankerOptions.model_fields.keys() - per_call == MODEL_OPTIONS
    assert RemoteOptions.model_fields.keys() < MODEL_OPTIONS
    assert not MODEL_OPTIONS & RankingOptions.model_fields.keys()


@pytest.mark.parametrize("name", [*sorted(RemoteOptions.model_fields), "engine_args"])
def test_no_server_option_can_change_on_an_adapter(name: str) -> None:
    holder = RerankerHolder(base_url="http://localhost")
    before = getattr(holder, name)
    for change in (
        lambda: setattr(holder, name, before),
        lambda: holder.model_copy(update={name: before}),
        lambda: refuse_model_options([name], "adapter"),
    ):
        with pytest.raises(ConfigurationError, match=f"{name} cannot change"):
            change()


def test_a_dialect_object_is_shared_by_copies_and_named_to_json() -> None:
    dialect = OwnDialect()
    holder = AdapterOptions(dialect=dialect, base_url="http://localhost")
    for copied in (
        holder.model_copy(),
        holder.model_copy(deep=True),
        holder.model_copy(deep=True, update={"top_k": 1}),
        holder._changed({"top_k": 1}),
    ):
        assert copied.dialect is dialect
        assert copied.reranker is holder.reranker
    assert holder.model_dump()["dialect"] is dialect
    with pytest.raises(ValueError, match=r"the dialect is an object \(OwnDialect\)"):
        holder.model_dump_json()


def test_a_deep_copy_does_not_copy_what_belongs_to_a_dialect() -> None:
    class Uncopied(OwnDialect):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("copied")

    holder = AdapterOptions(dialect=Uncopied(), base_url="http://localhost")
    assert holder.model_copy(deep=True, update={"top_k": 1}).top_k == 1


@pytest.mark.parametrize(
    "options",
    [
        {"openai_api_key": KEY},
        {"api_key": KEY, "max_length": 0},
        {"api_key": [KEY]},
        {"api_key": f"{KEY}é"},
        {"headers": {"x": [KEY]}},
        {"api_key": KEY, "top_k": 1, "min_docs": 2},
        {"api_key": KEY, "top_k": 1, "top_n": 2},
        {"api_key": KEY, "backend": "remote"},
        {"api_key": KEY, "reranker": Reranker("tiny")},
        {"reranker": KEY},
        KEY,
    ],
)
def test_an_error_holds_no_refused_value_in_any_of_its_forms(options: Any) -> None:
    """Web frameworks and error trackers report `errors()`, which `hide_input_in_errors` leaves."""
    with pytest.raises(ValidationError) as caught:
        AdapterOptions.model_validate(options)
    error = caught.value
    assert error.error_count() >= 1
    for shown in (str(error), repr(error), repr(error.errors()), error.json()):
        assert KEY not in shown
    assert {line["input"] for line in error.errors()} == {HIDDEN}


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": [KEY]},
        {"api_kye": KEY},
        {"base_url": f"http://localhost:{KEY}/"},
        {"base_url": f"http://{KEY}@localhost"},
        {"headers": {f"Authorization: Bearer {KEY}": ""}},
        {"api_key": KEY, "max_length": 0},
    ],
)
def test_options_refused_by_a_reranker_are_not_shown_either(options: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        RerankerOptions(**options)
    for shown in (str(caught.value), repr(caught.value.errors()), caught.value.json()):
        assert KEY not in shown


def test_an_error_without_inputs_says_the_same() -> None:
    """Types, places, words and contexts are those of pydantic's own error, but for wrong names."""
    options: dict[str, Any] = {
        "max_length": 0,
        "top_k": "many",
        "topk": 3,
        "hub": "other",
        "headers": {"x": 1},
        "base_url": "here",
    }

    class Bare(RankingOptions, RerankerOptions):
        @model_validator(mode="wrap")
        @classmethod
        def _forget_refused_values(cls, data: Any, check: Any) -> Any:
            return check(data)

    with pytest.raises(ValidationError) as plain:
        Bare(**options)
    with pytest.raises(ValidationError) as hidden:
        AdapterOptions(**options)

    def lines(error: ValidationError) -> list[str]:
        found = json.loads(error.json(include_url=False, include_input=False))
        own = [line | {"msg": ""} if line["loc"] == ["topk"] else line for line in found]
        return sorted(json.dumps(line, sort_keys=True) for line in own)

    assert lines(hidden.value) == lines(plain.value)
    assert "there is no such option. Did you mean top_k?" in str(hidden.value)
    assert hidden.value.title == "AdapterOptions"
    assert "Input should be 'huggingface' or 'modelscope' [type=literal_error]" in str(hidden.value)


def test_a_refused_assignment_holds_no_value_either() -> None:
    options = AdapterOptions(api_key=KEY)
    for name in ("top_k", "openai_api_key"):
        with pytest.raises(ValidationError, match=name) as caught:
            setattr(options, name, KEY)
        for shown in (str(caught.value), repr(caught.value.errors()), caught.value.json()):
            assert KEY not in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gpu", 'Did you mean "cuda"?'),
        ("GPU:1", 'Did you mean "cuda"?'),
        ("CPU", 'Did you mean "cpu"?'),
        ("cuda1", "Did you mean cuda?"),
        ("metal", 'Did you mean "mps"?'),
        ("auto", "leave device out to take the best one"),
        ("", "leave device out"),
        ("cuda:", "expected"),
    ],
)
def test_a_device_that_torch_does_not_know_is_told_the_right_name(given: str, said: str) -> None:
    with pytest.raises(ValidationError, match="device") as raised:
        Reranker("tiny", device=given)
    assert said in str(raised.value)


@pytest.mark.parametrize("given", ["cpu", "cuda", "cuda:1", "mps", "npu:0"])
def test_devices_by_torchs_names(given: str) -> None:
    assert RerankerOptions(device=given).device == given
