"""Names of hosts and path prefixes: their form, and whether one is allowed."""

from __future__ import annotations

import re
from collections.abc import Collection

PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def checked_names(names: Collection[str]) -> tuple[str, ...]:
    """Return allowed names in small letters: a name, ``*.name`` with all below it, or ``*``.

    >>> checked_names(["Rerank.Example.com", "*.svc.cluster.local"])
    ('rerank.example.com', '*.svc.cluster.local')

    Raises:
        ValueError: One of them is no such name.
    """
    found = tuple(name.strip().lower().rstrip(".") for name in names)
    for name in found:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not the name of a host: give rerank.example.com, *.example.com or *, "
                "without http:// and port"
            )
    return found


def name_of(host: str) -> str | None:
    """Return the name in a ``Host`` header, without the port; ``None`` if it is not valid.

    >>> name_of("Example.com:8000"), name_of("[::1]:80"), name_of("a@b")
    ('example.com', '::1', None)
    """
    match = _HOST.fullmatch(host.strip().lower())
    return None if match is None else match[1].strip("[]").rstrip(".")


def is_named(name: str, allowed: Collection[str]) -> bool:
    """Return whether a name is among those allowed.

    >>> is_named("a.b.c", ["*.b.c"]), is_named("b.c", ["*.b.c"]), is_named("xb.c", ["*.b.c"])
    (True, False, False)
    """
    return any(
        pattern in ("*", name) or (pattern[:2] == "*." and name.endswith(pattern[1:]))
        for pattern in allowed
    )


def checked_prefix(prefix: str) -> str:
    """Return a prefix without its last slash; "" is none.

    >>> checked_prefix("/rerank-app/"), checked_prefix("/")
    ('/rerank-app', '')

    Raises:
        ValueError: The prefix is not a path.
    """
    found = prefix.strip().rstrip("/")
    if found and (not PREFIX.fullmatch(found) or ".." in found):
        raise ValueError(f"{prefix!r} is not the beginning of a path: give one such as /rerank-app")
    return found
