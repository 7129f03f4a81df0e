"""A complete answer of a server, and reading it within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.failures import request_id, server_words

_LARGEST_REPLY = 64 * 2**20  # bytes; a thousand echoed documents are far below


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer with status 200 to 299."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    redact: Callable[[str], str] = str

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            InvalidReplyError: It is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "")
            words = self.redact(server_words(self.body, kind, self.redact))
            name = request_id(self.headers)
            raise InvalidReplyError(
                f"{self.url} answered 200, but not with JSON: {words or 'nothing'}. Is base_url "
                "the address of a rerank server?",
                url=self.url,
                status=200,
                request_id=self.redact(name) if name else None,
            ) from None


async def read_body(url: str, response: httpx.Response) -> bytes:
    """Return the body of a response as it streams in.

    Raises:
        InvalidReplyError: It is larger than any ranking.
    """
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST_REPLY:
            raise InvalidReplyError(
                f"{url} answers with more than {_LARGEST_REPLY} bytes, which no ranking has: is "
                "base_url the address of a rerank server?",
                url=url,
                status=response.status_code,
            )
    return bytes(body)
