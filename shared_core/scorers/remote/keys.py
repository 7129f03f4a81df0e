"""API keys: their source, and their removal from messages."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from urllib.parse import quote

import httpx

from shared_core.options.remote import RemoteOptions
from shared_core.scorers.remote.proxies import Proxy, is_loopback

logger = logging.getLogger("qwen3_rerank")
_warned_of: set[str] = set()
_SHORTEST = 4  # characters; anything shorter is in every other word


def api_key(options: RemoteOptions, variables: Iterable[str]) -> str | None:
    """Return the API key from the options or the environment variables of this server alone."""
    if options.api_key is not None:
        return options.api_key.get_secret_value()
    for name in ("QWEN3_RERANK_API_KEY", *variables):
        value = os.environ.get(name, "").strip()
        if value and value.isascii() and value.isprintable():
            return value
    return None


def warn_of_plain_http(address: httpx.URL, proxy: Proxy | None) -> None:
    """Warn once per host if a key would leave this machine unencrypted."""
    if address.scheme != "http" or (proxy is None and is_loopback(address.host)):
        return
    place = address.netloc.decode()
    if place not in _warned_of:
        _warned_of.add(place)
        logger.warning(
            "the key for http://%s is sent unencrypted, so that everybody on the way can read it: "
            "use https, or a tunnel to this machine",
            place,
        )


class Redactor:
    """Removes secrets from a server's texts, should it repeat them.

    Args:
        headers: Values of the headers that hold secrets, such as ``Bearer abc``.

    >>> Redactor(["Bearer sk-12345"])("no such key: sk-12345; yours begins with sk-12…")
    'no such key: ***; yours begins with ***'
    """

    def __init__(self, headers: Iterable[str]) -> None:
        secrets: set[str] = set()
        for header in headers:
            scheme, _, credentials = header.strip().partition(" ")
            is_scheme = scheme.lower() in ("bearer", "basic", "token", "apikey", "key")
            secrets.add(credentials.strip() if is_scheme and credentials else header.strip())
        # As an error body may hold them: as they are, or inside of a quoted string or an address.
        forms = {
            form
            for secret in secrets
            for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, ""))
            if len(secret) >= _SHORTEST
        }
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        if "…" in text:  # what was shortened may end within a secret
            for form in self._forms:
                for length in range(len(form) - 1, _SHORTEST - 1, -1):
                    text = text.replace(f"{form[:length]}…", "***")
        return text
