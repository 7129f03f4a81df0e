"""Server replies, read within bounds of size and depth."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.failures import request_id, server_words, shortened

_LEAST_BOUND = 2**20  # bytes; a reply of two thousand rows has a quarter
_LONGEST_ERROR = 32 * 1024  # bytes of an error's body; the rest is not read


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply with status 200 to 299."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    redact: Callable[[str], str] = str
    way: str = ""

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            InvalidReplyError: The body is not JSON, or has a name twice with different values.
        """
        try:
            return json.loads(self.body, object_pairs_hook=_unambiguous)
        except (ValueError, RecursionError) as error:
            if isinstance(error, _AmbiguousError):
                raise InvalidReplyError(
                    f"{self.url}{self.way}: {shortened(self.redact(str(error)))}",
                    url=self.url,
                    status=200,
                ) from None
            kind = self.headers.get("content-type", "")
            excerpt = self.redact(server_words(self.body, kind, self.redact))
            name = request_id(self.headers)
            raise InvalidReplyError(
                f"{self.url}{self.way} answered 200, but not with JSON: {excerpt or 'nothing'}. Is "
                "base_url the address of a rerank server?",
                url=self.url,
                status=200,
                request_id=self.redact(name) if name else None,
            ) from None


class _AmbiguousError(ValueError):
    """An object has a name twice with different values, so that its meaning is ambiguous."""


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise _AmbiguousError(f"the reply has {name!r} twice in one object")
    return found


def longest_reply(sent: int) -> int:
    """Return the size limit of a reply, by the size of its request.

    A row per document is less than the request has for it, or the first term is enough for all;
    some servers echo the documents, with up to three bytes for one.
    """
    return _LEAST_BOUND + 4 * sent


def read_headers(response: httpcore.Response) -> dict[str, str]:
    """Return the headers of a response, their names in lower case."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }


async def read_body(
    url: str, response: httpcore.Response, headers: Mapping[str, str], longest: int
) -> bytes:
    """Return the decoded body of a response as it streams in.

    Args:
        url: The URL of the request.
        response: The response.
        headers: The headers of the reply.
        longest: The most bytes to take, as they come and as they are decoded.

    Raises:
        InvalidReplyError: The body is larger than any ranking, or in an unexpected encoding.
    """

    def refusal(problem: str) -> InvalidReplyError:
        return InvalidReplyError(
            f"{url} answers {response.status} with {problem}: is base_url the address of a rerank "
            "server?",
            url=url,
            status=response.status,
        )

    is_error = not 200 <= response.status < 300
    longest = min(longest, _LONGEST_ERROR) if is_error else longest
    coding = headers.get("content-encoding", "identity").strip().lower()
    decode = _decoder(coding, longest)
    if decode is None and is_error:
        return b""
    if decode is None:
        raise refusal(f"the content encoding {shortened(coding, 40)!r}, which was not asked for")
    body = bytearray()
    n_read = 0
    async for chunk in response.aiter_stream():
        n_read += len(chunk)
        try:
            body += decode(chunk)
        except zlib.error:
            raise refusal(f"what is not encoded as {coding}") from None
        if max(n_read, len(body)) > longest:
            if is_error:
                break
            raise refusal(f"more than {longest} bytes, which no ranking has")
    return bytes(body)


def _decoder(coding: str, longest: int) -> Callable[[bytes], bytes] | None:
    """Return a decoder of the pieces of a body, which stops one byte beyond the limit.

    Only what a careless gateway does unasked is decoded; ``None`` for all else.
    """
    if coding in ("", "identity"):
        return bytes
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    expander = zlib.decompressobj(zlib.MAX_WBITS | 32)  # which sees for itself whose frame it is
    return lambda chunk: expander.decompress(chunk, longest + 1)
