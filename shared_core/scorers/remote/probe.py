"""Detection of the template state by the prompt tokens that a server counts.

A short query and document are about ten tokens by themselves, and some seventy more inside of the
prompt. Nothing else on the wire tells: a 200 proves nothing, since most servers ignore what they
do not know.
"""

from __future__ import annotations

import re
from dataclasses import replace

from shared_core.errors import ConfigurationError
from shared_core.scorers.remote.dialects.base import Batch, Dialect, Template, trait
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.reading import read_margins
from shared_core.scorers.remote.wrapping import wrapped_pair

QUERY, DOCUMENT = "capital of France", "Paris"
INSTRUCTION = "Given a question, find the passage that answers it. " + "Read with great care. " * 8

_BARE = 40  # tokens: more than any tokenizer makes of the two texts
_TEMPLATED = 60  # tokens: fewer than any makes of the prompt


async def find_template(session: HttpSession, url: str, dialect: Dialect, model: str) -> Template:
    """Return a server's template state, by two or three requests of one pair.

    Raises:
        ConfigurationError: The template cannot be determined, or none would be right.
        RemoteError: A request failed, or was answered with something else than scores.
    """
    name = getattr(dialect, "name", type(dialect).__name__)
    choice = f"one of {', '.join(trait(dialect, 'templates'))}"
    plain = Batch(model, QUERY, [DOCUMENT])
    counted = await count_tokens(session, url, dialect, plain)
    if counted is None:
        raise ConfigurationError(
            f"{url} ({name}) does not count tokens, so that it cannot be told whether it writes "
            f"the Qwen3-Reranker prompt: give template=, {choice}"
        )
    if counted >= _TEMPLATED:
        if "server" not in trait(dialect, "templates"):
            return "server-fixed"
        instructed = await count_tokens(
            session, url, dialect, replace(plain, instruction=INSTRUCTION)
        )
        # The probe's instruction is some forty tokens longer than the default one.
        return "server" if instructed is not None and instructed >= counted + 15 else "server-fixed"
    if counted > _BARE:
        raise ConfigurationError(
            f"{url} ({name}) counts {counted} tokens for a pair that has about 10 without and 80 "
            f"with the prompt: give template=, {choice}"
        )
    if "client" in trait(dialect, "templates"):
        query, document = wrapped_pair("Answer", QUERY, DOCUMENT)
        wrapped = await count_tokens(session, url, dialect, Batch(model, query, [document]))
        if wrapped is not None and wrapped >= _TEMPLATED:
            return "client"
    raise ConfigurationError(
        f"{url} ({name}) does not write the Qwen3-Reranker prompt (it counts {counted} tokens for "
        "a pair), and cannot be sent a written one: its scores would be close to random. Start it "
        "with the template of `qwen3-rerank template`; docs/servers.md has the command. If it "
        'serves another kind of reranker, say so with template="server-fixed"'
    )


async def count_tokens(
    session: HttpSession, url: str, dialect: Dialect, batch: Batch
) -> int | None:
    """Return the prompt tokens that a server counts for a batch; ``None`` if it does not."""
    reply = await session.post(url, dialect.build(batch), trait(dialect, "retried"))
    _, counted = read_margins(reply, dialect, batch)
    header = reply.headers.get("x-compute-tokens", "")
    return int(header) if counted is None and re.fullmatch("[0-9]{1,9}", header) else counted
