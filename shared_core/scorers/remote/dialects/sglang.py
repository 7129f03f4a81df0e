"""Dialects of SGLang, by the source of 0.5.23."""

from __future__ import annotations

from typing import Any

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.dialects.base import (
    USAGE,
    Batch,
    Dialect,
    Parsed,
    Row,
    field,
    items_body,
    number,
    rows,
    sequence,
    tokens,
)


class SglangScore(Dialect):
    """``/v1/score``: one prefix and many items, by token ids; the exact route."""

    name = "sglang-score"
    path = "/v1/score"
    templates = ("prompt",)
    documented = "prompt"
    takes_ids = True

    def build(self, batch: Batch) -> dict[str, Any]:
        return items_body(batch)

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002  # every dialect has both
        found = []
        for index, pair in enumerate(sequence(field(reply, "scores"))):
            values = sequence(pair)
            if len(values) != 2:
                raise InvalidReplyError(f"expected the scores of yes and no, got {len(values)}")
            found.append(Row(index, number(values[0], "scores")))
        return Parsed(found, tokens(reply, *USAGE))


class SglangRerank(Dialect):
    """``/v1/rerank``: templated by the server's ``--chat-template``; the reply is a bare list.

    Nothing on the wire tells whether the template is the right one, so that this route has to be
    asked for, with the template state.
    """

    name = "sglang-rerank"
    path = "/v1/rerank"
    images = "parts"
    templates = ("server", "server-fixed")

    def build(self, batch: Batch) -> dict[str, Any]:
        body: dict[str, Any] = {
            "query": batch.query,
            "documents": list(batch.documents),
            "return_documents": False,
        }
        if batch.instruction is not None:
            body["instruct"] = batch.instruction
        return body

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(reply, "score"))
