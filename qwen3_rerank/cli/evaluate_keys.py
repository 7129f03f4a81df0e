"""Options of what is compared; keys and headers are sent to one address only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import typer

from qwen3_rerank.cli.options import Options, headers_of

HERE = "local"
"""What stands for a model in this process, in the place of an address."""
_VARIABLE = "QWEN3_RERANK_API_KEY"


def options_of(
    options: Options,
    url: str | None,
    urls: Sequence[str],
    keys: Sequence[str],
    headers: Sequence[str],
) -> Options:
    """Return the options of one reranker; a model in this process gets no secrets.

    Without an address, a dialect stands for a hosted service, unless there are addresses of others.
    """
    if url is not None:
        servers = [other for other in urls if other != HERE]
        return {name: value for name, value in options.items() if name != "quantize"} | {
            "base_url": url,
            "api_key": key_for(url, servers, keys),
            "headers": headers_of(secrets_for(url, servers, headers, "--header")),
        }
    if urls:
        return {name: value for name, value in options.items() if name != "dialect"}
    return options | ({"api_key": next(iter(keys), None)} if "dialect" in options else {})


def secrets_for(
    address: str, addresses: Sequence[str], values: Sequence[str], option: str
) -> list[str]:
    """Return the values for one of several addresses.

    Args:
        addresses: All addresses that are compared.
        values: The values on the command line: bare if all addresses are of one server, else
            ``ADDRESS=secret``.

    Raises:
        typer.BadParameter: It does not say for which of several servers it is.

    >>> secrets_for("http://a", ["http://a", "http://b"], ["http://a=k1", "http://b=k2"], "--x")
    ['k1']
    """
    servers = {_origin(other) for other in addresses}
    found = []
    for secret in values:
        owners = [other for other in addresses if secret.startswith(f"{other}=")]
        owner = max(owners, key=len, default=None)
        if owner is None and len(servers) > 1:
            raise typer.BadParameter(
                f"would go to all of {', '.join(dict.fromkeys(addresses))}: say which one it is "
                f"for, as {option} '{address}=…'",
                param_hint=option,
            )
        if owner is None:
            found.append(secret)
        elif _origin(owner) == _origin(address):
            found.append(secret.removeprefix(f"{owner}="))
    return found


def key_for(address: str, addresses: Sequence[str], values: Sequence[str]) -> str | None:
    """Return the key for one of several addresses.

    Raises:
        typer.BadParameter: It is not said for which of several servers a key is; the one of the
            environment never is.
    """
    if len({_origin(other) for other in addresses}) > 1 and os.environ.get(_VARIABLE, "").strip():
        raise typer.BadParameter(
            f"{_VARIABLE} would go to all of {', '.join(dict.fromkeys(addresses))}: unset it, and "
            f"give --api-key '{address}=…' for the one it belongs to",
            param_hint="--api-key",
        )
    return next(iter(secrets_for(address, addresses, values, "--api-key")), None)


def _origin(address: str) -> tuple[str, str]:
    url = urlsplit(address.strip())
    return url.scheme.lower(), url.netloc.lower()
