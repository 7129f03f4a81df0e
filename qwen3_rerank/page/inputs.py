"""Inputs of the page as documents, bounded, since a page is for trying out."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from qwen3_rerank.page.store import Upload
from qwen3_rerank.page.texts import Language, file_problem, say
from qwen3_rerank.reading.document_files import Split, read_documents, split_text
from qwen3_rerank.reading.text import InputError, check_text

MOST_DOCUMENTS = 500
MOST_CHARACTERS = 1_000_000
# A character of UTF-8 takes four bytes at most.
MOST_FILE_BYTES = 4 * MOST_CHARACTERS
IMAGE_TYPES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FILE_TYPES = (".txt", ".md", ".jsonl", ".ndjson", ".csv", ".xlsx")
# A workbook takes seconds where it means harm: one file is read at a time, beside the event loop.
_READER = ThreadPoolExecutor(1, "qwen3-rerank-page-file")


class PageError(Exception):
    """An error to show on the page, in the user's language; not escaped."""


async def documents_of(
    text: str, split: Split, file: Upload | None, language: Language, *, images: int = 0
) -> list[str]:
    """Return the documents typed in, then those of the file.

    Args:
        images: The number of images beside them.

    Raises:
        PageError: There are none or too many, or the file cannot be read.
    """
    documents = split_text(text, split)
    if file is not None:
        read = partial(read_documents, file.content, file.name, split=split)
        try:
            entries = await asyncio.get_running_loop().run_in_executor(_READER, read)
        except InputError as error:
            raise PageError(file_problem(error, language)) from None
        documents += [entry.text for entry in entries]
    if not documents and not images:
        raise PageError(say("no_documents", language))
    if (count := len(documents) + images) > MOST_DOCUMENTS:
        raise PageError(say("too_many", language, count=count, most=MOST_DOCUMENTS))
    characters = sum(map(len, documents))
    if characters > MOST_CHARACTERS:
        raise PageError(say("too_long", language, count=characters, most=MOST_CHARACTERS))
    return documents


def query_of(text: str, language: Language, *, images: int = 0) -> str:
    """Return the text of the question.

    Args:
        text, language: What was put into the page.
        images: The number of images beside it, without which there has to be a text.

    Raises:
        PageError: There is none.
    """
    try:
        check_text(text)
    except InputError:
        raise PageError(say("bad_text", language)) from None
    if not text.strip() and not images:
        raise PageError(say("no_query", language))
    return text.strip()
