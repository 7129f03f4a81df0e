"""The options of the service. No secret among them is ever shown, logged or serialised."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from qwen3_rerank.web.hosts import checked_names, name_of
from qwen3_rerank.web.prefix import checked_prefix
from shared_core.errors import ConfigurationError
from shared_core.options import RerankerOptions

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
        forwarded_allow_ips: Addresses and networks of proxies whose ``X-Forwarded-For``,
            ``X-Forwarded-Proto`` and ``X-Forwarded-Prefix`` are believed; ``*`` is everybody, none
            is nobody.
        allowed_hosts: More names that requests may be addressed to, besides addresses, localhost
            and ``host``; ``*.example.com`` is all below it, ``*`` every name.
        root_path: The path prefix under which a proxy publishes the service.
        cors_origins: Web pages of these origins may call the service; ``*`` is all.
        served_model_name: What the model is called in replies; ``None`` is its own name.
        max_documents: The most documents of one request, over all its queries.
        max_characters: The most characters of one request's texts.
        max_query_characters: The most characters of a query, and of an instruction.
        max_body_bytes: The most bytes of one request body.
        max_queued_bytes: The most bytes of all bodies that arrive or are not yet answered, without
            the first 64 KiB of each; at least ``max_body_bytes``.
        max_queue: The most requests accepted and not yet answered; more get 429.
        max_queued_documents: The most documents of them all.
        batch_wait_ms: Milliseconds that a request may wait for others to share a forward with.
        max_connections: The most connections at once, fewer where the process may open fewer files.
            A new one then takes the place of that which has waited longest for its client.
        head_timeout: Seconds that the head of a request may take to arrive.
        body_timeout: Seconds that a request body may take to arrive, and a client to read 64 KiB
            of its reply.
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
    api_key_file: str | None = Field(default=None, min_length=1)
    forwarded_allow_ips: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    allowed_hosts: Annotated[
        tuple[str, ...], BeforeValidator(_listed), AfterValidator(checked_names)
    ] = ()
    root_path: Annotated[str, AfterValidator(checked_prefix)] = ""
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    served_model_name: str | None = Field(default=None, min_length=1)
    engine_args: Annotated[dict[str, Any], BeforeValidator(_from_json)] = Field(
        default_factory=dict
    )
    max_documents: int = Field(default=1000, ge=1)
    max_characters: int = Field(default=4_000_000, ge=1)
    max_query_characters: int = Field(default=32_768, ge=1)
    max_body_bytes: int = Field(default=16 * 2**20, ge=1)
    max_queued_bytes: int = Field(default=128 * 2**20, ge=1)
    max_queue: int = Field(default=512, ge=1)
    max_queued_documents: int = Field(default=20_000, ge=1)
    batch_wait_ms: float = Field(default=3.0, ge=0, le=1000)
    max_connections: int = Field(default=768, ge=1)
    head_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
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
        if not all(_fits_a_header(key.get_secret_value()) for key in keys):
            raise ValueError("a key is empty, or has characters that no HTTP header can carry")
        if not keys:  # the default is not validated, so somebody set it
            raise ValueError("it is set, but there is no key in it: give one, or leave it out")
        return keys

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            if address != "*":
                ip_network(address)
        return addresses

    @model_validator(mode="after")
    def _check_on_error(self) -> ServiceSettings:
        if self.on_error != "raise":
            raise ValueError("on_error: the service answers with an error where it has no scores")
        return self

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names that requests may be addressed to, besides addresses and localhost."""
        name = name_of(self.host)
        return self.allowed_hosts if name is None or ":" in name else (name, *self.allowed_hosts)

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
            keys += _keys_in(Path(self.api_key_file))
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


def read_text(file: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{str(file)!r} cannot be read: {error}") from error


def _keys_in(file: Path) -> list[str]:
    keys = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        key = line.strip()
        if key and not key.startswith("#"):
            if not _fits_a_header(key):
                raise ConfigurationError(
                    f"{file}, line {number}: the key has blanks, or characters that no HTTP header "
                    "can carry; there is one key per line"
                )
            keys.append(key)
    if not keys:
        raise ConfigurationError(f"{file} has no key in it: write one per line")
    return keys


def _fits_a_header(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key
