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
    SecretStr,
    field_validator,
    model_validator,
)

from qwen3_rerank.web.names import checked_names, checked_prefix, name_of
from shared_core.errors import ConfigurationError
from shared_core.options import About, RerankerOptions, about_options, option

_NET = About("Listening")
_LIMIT = About("Limits")
_SECONDS: dict[str, Any] = {"gt": 0, "allow_inf_nan": False}
_SECRET_NAME = re.compile(r"token|key|secret|passw", re.IGNORECASE)


def _listed(value: Any) -> Any:
    """Split "a,b" into a list, since the environment has only strings."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class ServiceSettings(RerankerOptions):
    """The options of the reranker, and those of the service around it."""

    host: str = option(
        "127.0.0.1",
        "The address to listen on; 0.0.0.0 listens on every network of the machine.",
        _NET,
    )
    port: int = option(8000, "The port to listen on; 0 takes a free port.", _NET, ge=0, le=65535)
    serve_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = option(
        (),
        "A key that clients have to send; may be repeated. The list of processes shows it: prefer "
        "--require-key-file or QWEN3_RERANK_SERVE_KEYS.",
        About("Listening", is_secret=True, flag="require_key"),
        exclude=True,
        repr=False,
    )
    serve_key_file: str | None = option(
        None,
        "A file with keys that clients have to send, one per line; lines that begin with # are "
        "skipped.",
        About("Listening", flag="require_key_file"),
        min_length=1,
    )
    forwarded_allow_ips: Annotated[tuple[str, ...], BeforeValidator(_listed)] = option(
        (),
        "The address or network of a proxy whose X-Forwarded-For, -Proto and -Prefix are trusted; "
        "* trusts every client.",
        _NET,
    )
    allowed_hosts: Annotated[
        tuple[str, ...], BeforeValidator(_listed), AfterValidator(checked_names)
    ] = option(
        (),
        "Another host name to answer to, for example behind a proxy. IP addresses, localhost and "
        "--host are always accepted. *.example.com accepts every name below it, * every name.",
        About("Listening", flag="allowed_host"),
    )
    root_path: Annotated[str, AfterValidator(checked_prefix)] = option(
        "", "The path prefix under which a proxy publishes the service.", _NET
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_listed)] = option(
        (),
        "An origin whose web pages may call the service; * allows all origins.",
        About("Listening", flag="cors_origin"),
    )
    served_model_name: str | None = option(
        None, "The name of the model in replies; by default its own.", About("Model"), min_length=1
    )
    engine_args: Annotated[dict[str, Any], BeforeValidator(_from_json)] = option(
        dict,
        RerankerOptions.model_fields["engine_args"].description or "",
        about_options(RerankerOptions)["engine_args"],
    )
    max_documents: int = option(
        1000, "The most documents of one request, over all of its queries.", _LIMIT, ge=1
    )
    max_characters: int = option(
        4_000_000, "The most characters of one request's texts.", _LIMIT, ge=1
    )
    max_query_characters: int = option(
        32_768, "The most characters of a query, and of an instruction.", _LIMIT, ge=1
    )
    max_images: int = option(64, "The most images of one request.", _LIMIT, ge=0)
    max_image_bytes: int = option(8 * 2**20, "The most bytes of an image file.", _LIMIT, ge=1)
    max_image_pixels: int = option(
        2**24, "The most pixels of an image, width times height.", _LIMIT, ge=1
    )
    image_urls: bool = option(
        False,
        "Fetch images that a request names by URL, from public addresses alone; without it, images "
        "are sent as data: addresses.",
        _LIMIT,
    )
    max_body_bytes: int = option(16 * 2**20, "The most bytes of one request body.", _LIMIT, ge=1)
    max_queued_bytes: int = option(
        128 * 2**20,
        "The most bytes of all request bodies that are arriving or not yet answered, without the "
        "first 64 KiB of each; at least max_body_bytes.",
        _LIMIT,
        ge=1,
    )
    max_queue: int = option(
        512,
        "The most requests that are accepted and not yet answered; further ones get 429.",
        _LIMIT,
        ge=1,
    )
    max_queued_documents: int = option(
        20_000, "The most documents of all accepted requests.", _LIMIT, ge=1
    )
    batch_wait_ms: float = option(
        3.0,
        "Milliseconds that a request may wait for others to share a forward pass with.",
        _LIMIT,
        ge=0,
        le=1000,
    )
    max_connections: int = option(
        768,
        "The most connections at once; fewer if the process may open fewer files. A further one "
        "replaces the connection that has waited longest for its client.",
        _LIMIT,
        ge=1,
    )
    head_timeout: float = option(
        10.0, "Seconds that the head of a request may take to arrive.", _LIMIT, **_SECONDS
    )
    body_timeout: float = option(
        30.0,
        "Seconds that a request body may take to arrive, or a client to read 64 KiB of its reply.",
        _LIMIT,
        **_SECONDS,
    )
    request_timeout: float = option(
        300.0, "Seconds from the arrival of a request to its reply.", _LIMIT, **_SECONDS
    )
    shutdown_delay: float = option(
        0.0,
        "Seconds after SIGTERM in which requests are still accepted while readiness already fails, "
        "so that load balancers stop sending.",
        About("Shutdown"),
        ge=0,
        allow_inf_nan=False,
    )
    shutdown_grace: float = option(
        60.0,
        "Seconds that accepted requests then have to finish; the others get 503.",
        About("Shutdown"),
        ge=0,
        allow_inf_nan=False,
    )
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "The lowest level that is logged.", About("Logs")
    )
    log_format: Literal["json", "text"] = option(
        "json", "The format of the log: json, one object per line, or text.", About("Logs")
    )
    log_documents: bool = option(
        False,
        "Write queries and documents to the audit log, too.",
        About("Logs"),
    )

    @field_validator("serve_keys")
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
    def _check_options_of_rerankers(self) -> ServiceSettings:
        """Refuse a key for a server where there is none, which was meant for callers, and more."""
        if "api_key" in self.model_fields_set and self.api_key is not None and not self.is_remote:
            raise ValueError(
                "api_key is the key that goes out, to a server behind this one, and there is none: "
                "to let callers in, give --require-key, or QWEN3_RERANK_SERVE_KEYS"
            )
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
        """The name of the model in replies: of a folder its last part, so that no path is shown."""
        if self.served_model_name is not None:
            return self.served_model_name
        return Path(self.model).name if Path(self.model).is_dir() else self.model

    def all_keys(self) -> tuple[str, ...]:
        """Return the keys in the settings and those in ``serve_key_file``.

        Raises:
            ConfigurationError: The file cannot be read, or has no key.
        """
        keys = [key.get_secret_value() for key in self.serve_keys]
        if self.serve_key_file is not None:
            keys += _keys_in(Path(self.serve_key_file))
        return tuple(dict.fromkeys(keys))

    def shown(self) -> dict[str, Any]:
        """Return the settings without secrets, as plain JSON values."""
        shown = self.model_dump(mode="json")
        shown["serve_keys"] = f"{len(self.serve_keys)} given, not shown"
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
