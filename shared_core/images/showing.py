"""How the source of an image is named in errors and reprs: by nothing that is secret."""

from __future__ import annotations

import re

_MOST = 200
_ADDRESS = re.compile(r"\s*(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):[/\\]+(?P<rest>[^?#]*)")
_PORT = re.compile(r"\[[^\]]*\](?::\d*)?|[^:]*(?::\d*)?")


def shown_address(text: str) -> str:
    """Return a path or an address without data, user, password, query and fragment.

    >>> shown_address("https://me:secret@host/chart.png?token=secret")
    'https://host/chart.png'
    """
    if text[:5].lower() == "data:":
        head, comma, _ = text[:_MOST].partition(",")
        return _printable(f"{head[:40]},…" if comma else "data:…")
    found = _ADDRESS.match(text)
    if found is None:
        return _printable(text[:_MOST])
    host, slash, path = found["rest"].partition("/")
    host = host.rpartition("@")[2]
    if _PORT.fullmatch(host) is None:  # the beginning of a password, which "/" or "#" has cut
        host, path = "…", ""
    return _printable(f"{found['scheme'].lower()}://{host}{slash}{path}"[:_MOST])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
