"""What the service is told: by flags, by the environment, by a file; the first of them that says.

::

    qwen3-rerank serve --port 9000          a flag
    QWEN3_RERANK_PORT=9000                  the environment: the option's name in capitals
    port = 9000                             a TOML file (or JSON), given by --config

No secret among them is ever shown, logged or serialised.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from shared_core.errors import ConfigurationError
from shared_core.options import RerankerOptions

ENVIRONMENT_PREFIX = "QWEN3_RERANK_"

# The scorer reads this one by itself: it is the key of the server behind, if there is one.
_NOT_FROM_ENVIRONMENT = frozenset({"api_key", "headers"})
# Kubernetes sets QWEN3_RERANK_PORT=tcp://10.0.0.1:80 for a Service that is named qwen3-rerank.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
_SECRET_NAME = re.compile(r"token|key|secret|passw", re.IGNORECASE)


def _listed(value: Any) -> Any:
    """Take "a,b" for a list; the environment has nothing but strings."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class ServiceSettings(RerankerOptions):
    """The options of the reranker, and those of the service around it.

    Attributes:
        host: The address to listen on; ``0.0.0.0`` is every network of the machine.
        port: The port; 0 takes a free one.
        api_keys: Any of these lets a request in; none lets everybody in.
        api_key_file: More of them, one per line; lines that begin with ``#`` are left out.
        cors_origins: Web pages of these origins may call the service; ``*`` is all.
        served_model_name: What the model is called in replies; ``None`` is its own name.
        max_documents: The most documents of one request, over all its queries.
        max_characters: The most characters of one request's texts.
        max_query_characters: The most characters of a query, and of an instruction.
        max_body_bytes: The most bytes of one request body.
        max_queue: The most requests accepted and not yet answered; more get 429.
        max_queued_documents: The most documents of them all.
        batch_wait_ms: Milliseconds that a request may wait for others to share a forward with.
        body_timeout: Seconds that a request body may take to arrive.
        request_timeout: Seconds from the arrival of a request to its reply.
        shutdown_delay: Seconds after SIGTERM in which requests are still accepted while readiness
            already says no, so that load balancers can turn away.
        shutdown_grace: Seconds that accepted requests then have to finish.
        log_level: The least level to log.
        log_format: ``json``, one object per line, or ``text``.
        log_documents: Write queries and documents to the audit log. They are left out otherwise.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = Field(
        default=(), exclude=True, repr=False
    )
    api_key_file: str | None = None
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    served_model_name: str | None = Field(default=None, min_length=1)
    engine_args: Annotated[dict[str, Any], BeforeValidator(_from_json)] = Field(
        default_factory=dict
    )
    max_documents: int = Field(default=1000, ge=1)
    max_characters: int = Field(default=4_000_000, ge=1)
    max_query_characters: int = Field(default=32_768, ge=1)
    max_body_bytes: int = Field(default=16 * 2**20, ge=1)
    max_queue: int = Field(default=512, ge=1)
    max_queued_documents: int = Field(default=20_000, ge=1)
    batch_wait_ms: float = Field(default=3.0, ge=0, le=1000)
    body_timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    request_timeout: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    shutdown_delay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    shutdown_grace: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    log_documents: bool = False

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            text = key.get_secret_value()
            if not (text.isascii() and text.isprintable()) or not text or " " in text:
                raise ValueError("a key is empty, or has characters that no HTTP header can carry")
        return keys

    @model_validator(mode="after")
    def _check_on_error(self) -> ServiceSettings:
        if self.on_error != "raise":
            raise ValueError("on_error: the service answers with an error where it has no scores")
        return self

    @property
    def model_name(self) -> str:
        """What the model is called in replies; the path of a folder is nobody's business."""
        if self.served_model_name is not None:
            return self.served_model_name
        return Path(self.model).name if Path(self.model).is_dir() else self.model

    def all_keys(self) -> tuple[str, ...]:
        """Return the keys that were given and those in ``api_key_file``.

        Raises:
            ConfigurationError: The file cannot be read, or has no key.
        """
        keys = [key.get_secret_value() for key in self.api_keys]
        if self.api_key_file is not None:
            lines = _read(Path(self.api_key_file)).splitlines()
            found = [line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#"]
            if not found:
                raise ConfigurationError(f"{self.api_key_file} has no key in it")
            keys += found
        return tuple(dict.fromkeys(keys))

    def shown(self) -> dict[str, Any]:
        """Return the settings without secrets, as plain JSON values."""
        shown = self.model_dump(mode="json")
        shown["api_keys"] = f"{len(self.api_keys)} given, not shown"
        shown["engine_args"] = {
            name: "not shown" if _SECRET_NAME.search(name) else value
            for name, value in self.engine_args.items()
        }
        return shown


def load_settings(
    flags: Mapping[str, Any],
    *,
    environment: Mapping[str, str] = os.environ,
    file: str | Path | None = None,
) -> ServiceSettings:
    """Return the settings in force.

    Args:
        flags: Options by name; ``None`` is one that was not given.
        environment: Where ``QWEN3_RERANK_…`` are looked up.
        file: A ``.toml`` or ``.json`` file with options by name.

    Raises:
        ConfigurationError: The file cannot be read.
        pydantic.ValidationError: An option is unknown or out of range; the error names it.
    """
    options = {} if file is None else _options_in(Path(file))
    for name in ServiceSettings.model_fields:
        given = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if given and name not in _NOT_FROM_ENVIRONMENT and not _SERVICE_LINK.match(given):
            options[name] = given
    options |= {name: value for name, value in flags.items() if value is not None}
    return ServiceSettings(**options)


def _options_in(file: Path) -> dict[str, Any]:
    text = _read(file)
    try:
        options = json.loads(text) if file.suffix == ".json" else _toml(text)
    except ValueError as error:
        raise ConfigurationError(f"{file} is not valid: {error}") from error
    if not isinstance(options, dict):
        raise ConfigurationError(f"{file} has no options in it: expected name = value")
    return options


def _toml(text: str) -> dict[str, Any]:
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return dict(toml.loads(text))


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
