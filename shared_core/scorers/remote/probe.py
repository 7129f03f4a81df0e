"""Detection of the template state, by comparing scores.

A server's word is not enough: most ignore fields that they do not know, and gateways make token
counts up. See `comparing` for why equal scores prove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared_core.errors import ConfigurationError, ServerStatusError
from shared_core.scorers.remote.comparing import (
    INSTRUCTION,
    LEAST_TOKENS,
    Comparison,
    gap,
)
from shared_core.scorers.remote.dialects.base import Dialect, Template, trait
from shared_core.scorers.remote.http import HttpSession
from shared_core.scoring import Scored


@dataclass(frozen=True, slots=True)
class Probed:
    """A server's template state.

    Attributes:
        template: The author of the prompt.
        counts: Whether the server counts the tokens of whole prompts.
    """

    template: Template
    counts: bool


async def find_template(session: HttpSession, url: str, dialect: Dialect, model: str) -> Probed:
    """Return a server's template state, by at most ten requests of two to four short pairs.

    Raises:
        ConfigurationError: The template cannot be determined, or none would be right.
        RemoteError: A request failed, or was answered with something else than scores.
    """
    name = getattr(dialect, "name", type(dialect).__name__)
    possible = trait(dialect, "templates")
    comparison = Comparison(session, url, dialect, model)
    margins, tokens = await comparison.plain()
    is_counted = tokens is not None and tokens >= LEAST_TOKENS
    there = await comparison.written_there()
    if there is None:  # it has only its count to show, or that it is ours
        writes = is_counted or comparison.is_ours
    else:
        writes = comparison.is_noise(there) and (tokens is None or is_counted)
    if writes and (is_counted or comparison.is_ours):
        return await _served(comparison, dialect, margins, tokens)
    joined = await comparison.joined_there() if "client" in possible else None
    problem = joined.problem(comparison, there) if joined is not None else None
    if joined is not None and problem is None and not writes:
        return Probed("client", joined.is_counted)
    if writes and (joined is None or not comparison.is_noise(joined.gap, beside=there)):
        return await _served(comparison, dialect, margins, tokens)
    place = f"{url} ({name})"
    if writes or (there is None and tokens is None):
        raise ConfigurationError(
            f"{place} shows neither by token counts nor by scores whether it writes the "
            f"Qwen3-Reranker prompt: give template=, one of {', '.join(possible)}"
        )
    if comparison.spread == 0:
        raise ConfigurationError(
            f"{place} gives all texts the same score: it does not see them, or has no head"
        )
    counted = "counts no tokens" if tokens is None else f"counts {tokens} tokens for a pair"
    refused = "a query with a label of the prompt is refused"
    seen = refused if there is None else f"two pairs that would be one are {there:.2g} logits apart"
    cannot = f"; nor can the prompt be written here: {problem}" if problem else ""
    raise ConfigurationError(
        f"{place} does not write the Qwen3-Reranker prompt (it {counted}, and {seen}){cannot}. "
        f"{_advice(dialect)}"
    )


async def _served(
    comparison: Comparison, dialect: Dialect, margins: list[float], tokens: int | None
) -> Probed:
    """Return the state of a server that writes the prompt."""
    honours = "server" in trait(dialect, "templates") and await _honours(
        comparison, margins, tokens
    )
    is_counted = tokens is not None and tokens >= LEAST_TOKENS
    return Probed("server" if honours else "server-fixed", is_counted)


def check_counted(url: str, dialect: Dialect, answers: Sequence[Scored]) -> None:
    """Raise if a server counted fewer tokens for a request than its prompts have.

    Raises:
        ConfigurationError: So it has judged something else.
    """
    counted = answers[0].counted if answers else None
    if counted is not None and counted.tokens < LEAST_TOKENS * counted.n_documents:
        raise ConfigurationError(
            f"{url} counts {counted.tokens} tokens for {counted.n_documents} documents, and a "
            f"Qwen3-Reranker prompt has more than {LEAST_TOKENS} for each: it does not write the "
            f"prompt, so that its scores mean nothing. {_advice(dialect)}"
        )


def _advice(dialect: Dialect) -> str:
    """Return what to do where a server does not score the published prompt."""
    return (
        f"{trait(dialect, 'remedy')} If it serves another kind of reranker, say so with "
        'template="server-fixed"'
    )


async def _honours(comparison: Comparison, margins: list[float], tokens: int | None) -> bool:
    """Return whether another instruction makes a difference."""
    try:
        instructed, longer = await comparison.plain(INSTRUCTION)
    except ServerStatusError as error:
        if error.status not in (400, 422, 500, 501):
            raise
        return False
    if tokens is not None and longer is not None and tokens >= LEAST_TOKENS:
        return longer >= tokens + 15  # it is some forty tokens longer than the default one
    return not comparison.is_noise(gap(margins, instructed))
