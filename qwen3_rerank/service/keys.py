"""The API keys that let a request in. They can be replaced while the service runs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers


class Keys:
    """Keys, kept as digests.

    Args:
        keys: The keys; none lets everybody in.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests: list[bytes] = []
        self.replace(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def __len__(self) -> int:
        return len(self._digests)

    def replace(self, keys: Sequence[str]) -> None:
        """Replace all keys."""
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def number_of(self, headers: Headers) -> int | None:
        """Return which key a request brings, counted from 1, in a time that tells nothing of it.

        A key comes as ``Authorization: Bearer …``, bare as TEI's clients send it, as the password
        of ``Basic`` (so that a browser can ask for it), or as ``X-API-Key``.
        """
        found = None
        for candidate in _candidates(headers):
            digest = hashlib.sha256(candidate.encode("utf-8", "surrogateescape")).digest()
            for number, accepted in enumerate(self._digests, start=1):
                if hmac.compare_digest(digest, accepted):
                    found = number
        return found


def _candidates(headers: Headers) -> list[str]:
    candidates = []
    if "x-api-key" in headers:
        candidates.append(headers["x-api-key"].strip())
    header = headers.get("authorization", "").strip()
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        candidates.append(rest.strip())
    elif scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            decoded = ""
        candidates.append(decoded.partition(":")[2])
    elif header:
        candidates.append(header)
    return candidates
