"""What all kinds of test servers share: routes, keys, and refusing what the real one refuses."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from support.remote_oracle import Oracle
from support.rerank_server import Answer, Seen

Route = Callable[[dict[str, Any]], Answer]


class Refused(Exception):  # noqa: N818  # it is an answer
    """An error status with the body that the real server sends with it."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.answer = Answer(body, status, headers or {})


class Served:
    """A kind of server that serves the oracle's model.

    Args:
        oracle: Scores.
        key: The key that its guarded routes want; ``None`` guards nothing.
    """

    model: ClassVar[str] = "reranker"
    public: ClassVar[Collection[str]] = ()
    unauthorized: ClassVar[Any] = {"error": "Unauthorized"}
    unknown: ClassVar[Any] = {"detail": "Not Found"}

    def __init__(self, oracle: Oracle, *, key: str | None = None) -> None:
        self.oracle = oracle
        self.key = key

    def routes(self) -> dict[str, Route]:
        """Return what answers a POST, by path."""
        return {}

    def pages(self) -> dict[str, Any]:
        """Return the JSON that answers a GET, by path."""
        return {}

    def is_guarded(self, path: str) -> bool:
        return path not in self.public

    def answer(self, seen: Seen) -> Answer:
        try:
            return self._answer(seen)
        except Refused as refused:
            return refused.answer

    def _answer(self, seen: Seen) -> Answer:
        is_right = seen.headers.get("authorization") == f"Bearer {self.key}"
        if self.key is not None and self.is_guarded(seen.path) and not is_right:
            raise Refused(401, self.unauthorized)
        if seen.method == "GET":
            page = self.pages().get(seen.path)
            if page is None:
                status = 405 if seen.path in self.routes() else 404
                raise Refused(status, self.unknown if status == 404 else {"detail": "Not Allowed"})
            return page if isinstance(page, Answer) else Answer(page)
        route = self.routes().get(seen.path)
        if route is None:
            raise Refused(404, self.unknown)
        return route(seen.body)


def take(
    body: dict[str, Any], required: dict[str, Any], optional: dict[str, Any] | None = None
) -> str | None:
    """Return what is wrong with a body's fields, if anything is: missing, of another type, extra.

    The real servers ignore fields that they do not know; these do not, since every field that is
    sent for nothing is a mistake of the client's.
    """
    known = required | (optional or {})
    for name in required:
        if name not in body:
            return f"missing field {name}"
    for name, value in body.items():
        if name not in known:
            return f"extra field {name}"
        if not isinstance(value, known[name]) or (known[name] is int and isinstance(value, bool)):
            return f"{name} is a {type(value).__name__}"
    return None


def texts_problem(query: Any, documents: Any, *, top_n: int | None = None) -> str | None:
    """Return what is wrong with a query and its documents, if anything is."""
    if not isinstance(query, str) or not query.strip():
        return "query must be a non-blank string"
    if not documents or not all(isinstance(document, str) for document in documents):
        return "documents must be a non-empty list of strings"
    if top_n is not None and top_n < 1:
        return "top_n must be at least 1"
    return None


def ranked(scores: list[float], top_n: int | None = None) -> list[tuple[int, float]]:
    """Return (index, score), best first, at most ``top_n`` of them."""
    return sorted(enumerate(scores), key=lambda pair: -pair[1])[:top_n]


def usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": count, "total_tokens": count}
