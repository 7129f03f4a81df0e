"""Rankings of the inputs of the page, and its error messages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from qwen3_rerank.page.cards import note
from qwen3_rerank.page.exports import Ranking
from qwen3_rerank.page.images import image_documents
from qwen3_rerank.page.inputs import PageError, documents_of, query_of
from qwen3_rerank.page.models import Models, RankRefusedError
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.page.tasks import TASKS
from qwen3_rerank.page.texts import Language, say
from qwen3_rerank.reading.document_files import Split
from shared_core.errors import (
    ClosedError,
    DeviceMemoryError,
    QueryTooLongError,
    RemoteError,
    RerankError,
    ServerUnreachableError,
)
from shared_core.images.content import Content
from shared_core.options.windows import LongDocuments

_BY_STATUS = {
    422: "limit",
    429: "queue_full",
    502: "server_failed",
    503: "unavailable",
    504: "no_reply",
    507: "no_memory",
}
_BY_TYPE: tuple[tuple[type[Exception], str], ...] = (
    (QueryTooLongError, "query_too_long"),
    (DeviceMemoryError, "no_memory"),
    (ServerUnreachableError, "no_reply"),
    (RemoteError, "server_failed"),
    (ClosedError, "unavailable"),
    (ValueError, "wrong_input"),
)


async def ranked(
    models: Models,
    uploads: Kept[Upload],
    name: str,
    query: str,
    instruction: str,
    documents: str,
    split: Split,
    file: str | None,
    top_k: float | None,
    way: LongDocuments,
    window_tokens: float | None,
    evidence: bool | None,
    most: float | None,
    budget: float | None,
    pictures: str | None,
    asked: str | None,
    language: Language,
) -> Ranking:
    """Return the ranking that was asked for.

    Args:
        uploads: The files that were added, of which ``file`` names one, if it is not empty, and
            ``pictures`` (documents) and ``asked`` (of the question) one a line.
        name, query, …: What was put into the page.

    Raises:
        PageError: Something is missing, or wrong.
    """
    upload = _kept(uploads, file, language) if file else None
    added, of_query = (
        [_kept(uploads, place, language) for place in (places or "").splitlines()]
        for places in (pictures, asked)
    )
    question = query_of(query or "", language, images=len(of_query))
    texts = await documents_of(documents or "", split, upload, language, images=len(added))
    read = await image_documents([*of_query, *added], models[name], language)
    shown_beside, images = read[: len(of_query)], read[len(of_query) :]
    sources = [source for image in shown_beside for source in image.content.images]
    task = (instruction or "").strip() or TASKS["web"][2]
    started = time.perf_counter()
    found = await models[name].rank(
        Content(question, sources) if sources else question,
        [*texts, *(image.content for image in images)],
        instruction=task,
        top_k=int(top_k) if top_k and top_k > 0 else None,
        max_candidates=int(most) if most and most > 0 else None,
        time_budget=budget if budget and budget > 0 else None,
        long_documents=way,
        window_tokens=int(window_tokens) if window_tokens and way == "windows" else None,
        evidence=bool(evidence),
    )
    seconds = time.perf_counter() - started
    shown_as = dict(enumerate(images, len(texts)))
    return Ranking(
        question,
        task,
        name,
        len(texts) + len(images),
        seconds,
        found.with_documents(
            replace(result, document=shown_as[result.index].name)
            if result.index in shown_as
            else result
            for result in found
        ),
        {index: image.thumbnail for index, image in shown_as.items()},
        {image.name: image.thumbnail for image in shown_beside},
    )


def _kept(uploads: Kept[Upload], place: str, language: Language) -> Upload:
    """Return a file that was added, by its token and name."""
    upload = uploads.get(place.partition("/")[0])
    if upload is None:
        raise PageError(say("file_gone", language))
    return upload


async def shown(
    coming: Awaitable[tuple[Ranking, ...]],
    language: Language,
    kept: Kept[tuple[Ranking, ...]],
    show: Callable[[tuple[Ranking, ...], Language], str],
) -> tuple[str, str]:
    """Return the token of what is awaited, with its HTML; or none, and what went wrong."""
    try:
        rankings = await coming
    except (PageError, RerankError, ValueError) as error:
        return "", note(problem(error, language), "problem")
    size = sum(len(result.text) for ranking in rankings for result in ranking.ranked)
    size += sum(
        len(image)
        for ranking in rankings
        for image in (*ranking.thumbnails.values(), *ranking.asked.values())
    )
    return kept.add(rankings, size), show(rankings, language)


def problem(error: Exception, language: Language) -> str:
    """Return an error in the language of the page, with the technical text where there is one.

    >>> problem(ValueError("top_k is 0"), "zh")
    '输入或选项不合要求，请修改后重试（详情：top_k is 0）'
    """
    if isinstance(error, PageError):
        return str(error)
    if isinstance(error, RankRefusedError):
        word = _BY_STATUS.get(error.status, "failed")
    else:
        word = next((word for kind, word in _BY_TYPE if isinstance(error, kind)), "failed")
    return say(word, language, reason=error)
