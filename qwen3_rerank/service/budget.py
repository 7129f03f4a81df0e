"""The time budget of a request: a field of the body, or a header that a gateway may set."""

from __future__ import annotations

import math

from qwen3_rerank.service.failures import RefusedError

BUDGET_HEADER = "X-Time-Budget"


def budget_of(field: float | None, header: str | None) -> float | None:
    """Return the seconds of a request, the lesser where both are given; ``None`` is no bound.

    Raises:
        RefusedError: The header is no number of seconds above 0.
    """
    if header is None:
        return field
    try:
        seconds = math.nan if "_" in header else float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RefusedError(
            422, f"{BUDGET_HEADER} is no number of seconds above 0: expected one such as 0.2"
        )
    return seconds if field is None else min(seconds, field)
