"""Keys and headers for the servers that are compared; each is sent to one address only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import typer

_VARIABLE = "QWEN3_RERANK_API_KEY"


def secrets_for(
    address: str, addresses: Sequence[str], values: Sequence[str], option: str
) -> list[str]:
    """Return the values for one of several addresses.

    Args:
        address: The address that the value is for.
        addresses: All addresses that are compared.
        values: The values on the command line: bare if all addresses are of one server, else
            ``ADDRESS=secret``.
        option: The name of the flag, for messages.

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
