"""What a client does on the thread of its event loop, counted: calls, never seconds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tokenizers import Tokenizer


async def tokenizer_calls_on_the_loop(work: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """Do the work; return the calls of tokenizers on this loop's thread, by method."""
    calls: Counter[str] = Counter()

    def note(_frame: object, event: str, called: Any) -> None:
        if event == "c_call" and isinstance(getattr(called, "__self__", None), Tokenizer):
            calls[called.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(before)
    return calls
