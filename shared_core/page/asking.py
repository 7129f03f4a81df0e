"""From what was put into the page to what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from shared_core.document_files import Split
from shared_core.errors import RerankError
from shared_core.long_documents.options import LongDocuments
from shared_core.page.cards import note
from shared_core.page.exports import Ranking
from shared_core.page.given import PageError, documents_of, query_of
from shared_core.page.models import Models
from shared_core.page.tasks import TASKS
from shared_core.page.words import Language, say


async def ranked(
    models: Models,
    name: str,
    query: str,
    instruction: str,
    documents: str,
    split: Split,
    path: str | None,
    top_k: float | None,
    way: LongDocuments,
    window_tokens: float | None,
    language: Language,
) -> Ranking:
    """Return the ranking that was asked for.

    Raises:
        PageError: Something is missing, or wrong.
    """
    asked = query_of(query or "", language)
    texts = documents_of(documents or "", split, path, language)
    task = (instruction or "").strip() or TASKS["web"][2]
    started = time.perf_counter()
    found = await models[name](
        asked,
        texts,
        instruction=task,
        top_k=int(top_k) if top_k and top_k > 0 else None,
        long_documents=way,
        window_tokens=int(window_tokens) if window_tokens and way == "windows" else None,
    )
    seconds = time.perf_counter() - started
    return Ranking(asked, task, name, len(texts), seconds, found)


async def shown(
    coming: Any, language: Language, show: Callable[[Any, Language], str]
) -> tuple[Any, str]:
    """Return what is awaited with its HTML, or nothing and what went wrong."""
    try:
        made = await coming
    except PageError as error:
        return None, note(str(error), "problem")
    except (RerankError, ValueError) as error:
        return None, note(say("failed", language, reason=error), "problem")
    return made, show(made, language)
