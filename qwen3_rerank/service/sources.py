"""Settings from flags, environment variables or a file, in this order of precedence.

::

    qwen3-rerank serve --port 9000          a flag
    QWEN3_RERANK_PORT=9000                  the environment: the option's name in capitals
    port = 9000                             a TOML file (or JSON), given by --config
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from qwen3_rerank.service.settings import ServiceSettings, read_text
from shared_core.errors import ConfigurationError

ENVIRONMENT_PREFIX = "QWEN3_RERANK_"

# The scorer reads this one by itself: it is the key of the server behind, if there is one.
_READ_BY_SCORER = "api_key"
_RENAMED = {"API_KEYS": "SERVE_KEYS", "API_KEY_FILE": "SERVE_KEY_FILE"}
# No variable carries these: one with such a name is refused, as an unknown one is.
_NOT_FROM_ENVIRONMENT = frozenset({"headers", "on_error"})
# Kubernetes sets QWEN3_RERANK_PORT=tcp://10.0.0.1:80 for a Service that is named qwen3-rerank, and
# QWEN3_RERANK_SERVICE_HOST, QWEN3_RERANK_PORT_80_TCP_ADDR and more.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
_SERVICE_LINK_NAME = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_NAMES = {
    name.upper(): name for name in ServiceSettings.model_fields if name not in _NOT_FROM_ENVIRONMENT
}
# Where an empty one would mean "no keys": everybody would be let in.
_NEVER_EMPTY = frozenset({"serve_keys", "serve_key_file"})


def load_settings(
    flags: Mapping[str, Any],
    *,
    environment: Mapping[str, str] = os.environ,
    file: str | Path | None = None,
) -> ServiceSettings:
    """Return the settings in force.

    Args:
        flags: Options by name; ``None`` is one that was not given.
        environment: The environment variables, for ``QWEN3_RERANK_…``.
        file: A ``.toml`` or ``.json`` file with options by name.

    Raises:
        ConfigurationError: The file cannot be read, or a variable is nearly that of an option.
        pydantic.ValidationError: An option is unknown or out of range; the error names it.
    """
    options = {} if file is None else _options_in(Path(file))
    options |= _options_of(environment)
    options |= {name: value for name, value in flags.items() if value is not None}
    return ServiceSettings(**options)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of ``QWEN3_RERANK_…`` variables that are no options.

    Raises:
        ConfigurationError: One of them is nearly the name of an option.
    """
    unknown = []
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in _NAMES or _is_service_link(name, text):
            continue
        if name in _RENAMED:
            raise ConfigurationError(
                f"{variable} is now {ENVIRONMENT_PREFIX}{_RENAMED[name]}, for the keys that let "
                f"callers in; {ENVIRONMENT_PREFIX}API_KEY is the key that goes out"
            )
        if name.lower() in _NOT_FROM_ENVIRONMENT:
            raise ConfigurationError(
                f"{variable} has no effect: no environment variable gives {name.lower()}, but the "
                "file of --config may"
            )
        near = get_close_matches(name.upper(), _NAMES, n=2, cutoff=0.7)
        if near:
            raise ConfigurationError(
                f"the environment variable {variable} is no option of the service: did you mean "
                f"{' or '.join(ENVIRONMENT_PREFIX + name for name in near)}?"
            )
        unknown.append(variable)
    return unknown


def _options_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the options among environment variables; an empty one is one that is not set."""
    unknown_variables(environment)
    options = {}
    for variable, name in _NAMES.items():
        text = environment.get(ENVIRONMENT_PREFIX + variable)
        if text is None or name == _READ_BY_SCORER or _is_service_link(variable, text):
            continue
        if text or name in _NEVER_EMPTY:
            options[name] = text
    return options


def _is_service_link(name: str, text: str) -> bool:
    return bool(_SERVICE_LINK.match(text) or _SERVICE_LINK_NAME.fullmatch(name))


def _options_in(file: Path) -> dict[str, Any]:
    text = read_text(file)
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
