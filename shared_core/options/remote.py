"""The options of scoring by a server. No secret among them is ever shown or serialised."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler  # here before 2.10, too
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared_core.options.neighbours import did_you_mean
from shared_core.options.option import About, option

if TYPE_CHECKING:
    from typing_extensions import Self

_EXPECTED_URL = (
    "base_url is no address: expected http:// or https:// with a host and, if need be, a port, "
    'such as "http://localhost:8000"'
)

REMOTE = ("remote",)
_LIMIT = About("Retries and limits", backends=REMOTE)

TemplateOption = Literal["auto", "server", "server-fixed", "client", "prompt"]


HIDDEN = "not shown"
"""What stands for a refused value, which may be a mistyped key, in the parts of an error."""


class RemoteOptions(BaseModel):
    """Options of servers; `Reranker` documents the fields."""

    # A refused value would be printed with the error, and it may be a mistyped key.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    base_url: str | None = option(
        None,
        "The address of a server that scores, instead of a model in this process.",
        About("Server", changes_scores=True, backends=REMOTE),
    )
    api_key: SecretStr | None = option(
        None,
        "The key for that server, never shown or logged; prefer the environment, "
        "QWEN3_RERANK_API_KEY or the vendor's own variable.",
        About("Server", is_secret=True, backends=REMOTE),
        exclude=True,
        repr=False,
    )
    headers: dict[str, SecretStr] = option(
        dict,
        "Additional HTTP headers.",
        About("Server", is_secret=True, backends=REMOTE, flag="header"),
        exclude=True,
        repr=False,
    )
    dialect: Any = option(
        "auto",
        'The server\'s wire format by name, or an object of your own; "auto" asks the server.',
        About("Server", changes_scores=True, backends=REMOTE),
    )
    template: TemplateOption = option(
        "auto",
        'Who writes the prompt: "server", "server-fixed" (which takes no instruction), "client" '
        '(in a query and a document) or "prompt" (the client, whole). "auto" finds out, or raises '
        "an error.",
        About("Server", changes_scores=True, backends=REMOTE),
    )
    tokenizer: str | None = option(
        None,
        "A folder, a tokenizer.json or a hub name: prompts are then sent as token ids where the "
        "server takes them, and documents are cut exactly. That of model, if it is on this "
        "machine, by default.",
        About("Server", changes_scores=True, backends=REMOTE),
    )
    timeout: float = option(
        60.0, "Seconds that one HTTP request may take in all.", _LIMIT, gt=0, allow_inf_nan=False
    )
    connect_timeout: float = option(
        5.0, "Seconds that opening a connection may take.", _LIMIT, gt=0, allow_inf_nan=False
    )
    total_timeout: float = option(
        180.0,
        "Seconds for one request with its retries and the waits between them.",
        _LIMIT,
        gt=0,
        allow_inf_nan=False,
    )
    max_retries: int = option(
        3, "How many times a request is repeated after a temporary failure.", _LIMIT, ge=0
    )
    max_concurrency: int = option(
        8, "The most simultaneous requests, per event loop.", _LIMIT, ge=1
    )
    requests_per_second: float | None = option(
        None,
        "The most requests started per second; no limit by default.",
        _LIMIT,
        gt=0,
        allow_inf_nan=False,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _forget_refused_values(cls, data: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return check(data)
        except ValidationError as error:
            raise without_inputs(error, cls.model_fields) from None

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        """Refuse what is not a plain http(s) URL; credentials in it would end up in logs."""
        if value is None:
            return None
        value = value.strip()  # a file or a variable mostly ends with a newline
        try:
            url = urlsplit(value)
            port_is_valid = url.port is None or url.port > 0
        except ValueError:
            raise ValueError(_EXPECTED_URL) from None
        if url.username is not None or url.password is not None:
            raise ValueError("base_url holds credentials: give api_key or headers instead")
        if url.scheme not in ("http", "https") or not url.hostname or not port_is_valid:
            raise ValueError(_EXPECTED_URL)
        if url.query or url.fragment:
            raise ValueError(
                "base_url has a query or a fragment: give the address alone, and what the server "
                "wants to be told by headers"
            )
        return value.rstrip("/")

    @field_validator("template", mode="before")
    @classmethod
    def _check_template(cls, value: Any) -> Any:
        """Name the neighbour of a misspelt one."""
        names = get_args(TemplateOption)
        near = did_you_mean(value, names) if isinstance(value, str) else ""
        if near and value not in names:
            raise ValueError(f"there is no such template.{near} Expected one of {', '.join(names)}")
        return value

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return plain_path(value)

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        """Take an empty key for none, and refuse one that no header can carry."""
        if value is None or not value.get_secret_value().strip():
            return None
        stripped = value.get_secret_value().strip()
        if not (stripped.isascii() and stripped.isprintable()):
            raise ValueError("api_key has characters that no HTTP header can carry")
        return SecretStr(stripped)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        value = {
            name: SecretStr(secret.get_secret_value().strip()) for name, secret in value.items()
        }
        for name, secret in value.items():
            text = secret.get_secret_value()
            if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
                raise ValueError(
                    "headers has a name that no HTTP header can have: expected letters, digits and "
                    'hyphens, such as {"X-Api-Key": "…"}'
                )
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"header {name} has characters that no HTTP header can carry")
        return value

    @field_validator("dialect")
    @classmethod
    def _check_dialect(cls, value: Any) -> Any:
        if isinstance(value, str) or (hasattr(value, "build") and hasattr(value, "parse")):
            return value
        raise ValueError(
            f"dialect is a {type(value).__name__}: expected a name, or an object with build and "
            "parse (see shared_core.scorers.remote.dialects.base.Dialect)"
        )


def plain_path(value: Any) -> Any:
    """Return a `pathlib.Path` as a string, with "~" for the home folder spelt out."""
    text = str(value) if hasattr(value, "__fspath__") else value
    return os.path.expanduser(text) if isinstance(text, str) and text.startswith("~") else text


def without_inputs(error: ValidationError, options: Collection[str]) -> ValidationError:
    """Return the same error without the values that were refused; a wrong name is told its nearest.

    Its text shows none anyway, but ``errors()`` and ``json()``, which web frameworks and error
    trackers report, would: of a misspelt ``api_key`` the key, of a contradiction all options.
    """
    lines: list[InitErrorDetails] = []
    for line in error.errors(include_url=False, include_input=False):
        message: Any = line["msg"]  # typed as a literal, for no reason that matters here
        if line["type"] in ("extra_forbidden", "no_such_attribute"):
            names = [*options, "top_n"] if "top_k" in options else options
            message = f"there is no such option.{did_you_mean(str(line['loc'][-1]), names)}"
        kind = PydanticCustomError(line["type"], message, line.get("ctx"))
        lines.append({"type": kind, "loc": line["loc"], "input": HIDDEN})
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)
