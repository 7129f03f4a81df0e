"""Removal of the model's prompt from texts that clients of a bare server have wrapped in it.

A query in the published wrapping is taken out of it: the instruction in it counts, and the label
and suffix of its documents go, too. A query that only resembles the wrapping is refused, since
wrapped once more it would score everything alike. Documents alone are never examined, so that a
document's author gains nothing by it; a query's author can set its instruction at most.

Sources: the README of QwenLM/Qwen3-Embedding at f4ad0c4; vllm ``examples/offline_inference/
qwen3_reranker.py`` and ``examples/pooling/score``; some of them have empty lines between the
fields, and ``<|im_end|>`` twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from shared_core.images.content import text_of, with_text
from shared_core.prompt import HEAD
from shared_core.scoring import ScoreRequest

_TASK_LABEL = re.compile(r"(?:<Instruct>|Instruct):[ \t]*")  # the latter is Qwen3-Embedding's
_DOCUMENT_LABEL = "<Document>: "
_WRAPPED = re.compile(
    rf"(?:{re.escape(HEAD)})?<Instruct>: (?P<instruction>.*?)\n\n?<Query>: (?P<query>.*?)\n{{0,2}}",
    re.DOTALL,
)
_SUFFIX = re.compile(
    r"(?:<\|im_end\|>\n){1,2}<\|im_start\|>assistant\n<think>\n\n</think>\n{0,3}\Z"
)
_LONGEST_SUFFIX = 100
# What only a prompt has: its first or last turn, a field's label at the beginning of a line, the
# sentence of the system message, or the wrapping of a query for Qwen3-Embedding.
_SIGN = re.compile(
    r"\A\s*<\|im_start\|>\s*(?:system|user)\b"
    r"|^[ \t]*<(?:Instruct|Query|Document)>[ \t]*[:：]"
    r"|\A\s*Instruct:[^\n]*\n\s*Query:"
    r"|<\|im_start\|>\s*assistant\s*(?:<think>\s*(?:</think>\s*)?)?\Z"
    r"|Judge whether the Document meets the requirements based on the Query and the Instruct",
    re.MULTILINE | re.IGNORECASE,
)


class Wrapped(NamedTuple):
    """The parts of a wrapped query."""

    instruction: str
    query: str


def unwrapped_query(query: str) -> Wrapped | None:
    """Return the parts of a query in the published wrapping, ``None`` for a plain query.

    Raises:
        ValueError: The text resembles the wrapping but differs from it, or holds a blank query.
    """
    sign = _SIGN.search(query)
    if sign is None:
        return None
    match = _WRAPPED.fullmatch(query)
    if match is None:
        raise ValueError(
            f"the query {RESEMBLES} and is not its published wrapping: at "
            f"character {sign.start()} it has {sign.group().strip()[:40]!r}. {_REMEDY}"
        )
    wrapped = Wrapped(match["instruction"], match["query"])
    for part in wrapped:
        sign = _SIGN.search(part)
        if sign is not None:
            raise ValueError(
                "the query is in the model's own prompt, which holds another part of it: "
                f"{sign.group().strip()[:40]!r}. {_REMEDY}"
            )
    if not wrapped.query.strip():
        raise ValueError(
            "the query is blank inside the model's own prompt: there is nothing to judge against"
        )
    return wrapped


RESEMBLES = "resembles the model's own prompt"
"""What the refusal of a query says, by which a client knows this project's service."""

_REMEDY = (
    "Send the question alone as the query and the task as the instruction: the prompt is put "
    "around them here."
)


def plain_instruction(instruction: str) -> str:
    """Return an instruction without the prompt's label in front of it.

    Raises:
        ValueError: The instruction holds other parts of the prompt.

    >>> plain_instruction("<Instruct>: Find the answer")
    'Find the answer'
    """
    label = _TASK_LABEL.match(instruction)
    task = instruction[label.end() :] if label else instruction
    sign = _SIGN.search(task)
    if sign is not None:
        raise ValueError(
            "the instruction holds a part of the model's own prompt: "
            f"{sign.group().strip()[:40]!r}. {_REMEDY}"
        )
    return task


def unwrapped(request: ScoreRequest) -> ScoreRequest:
    """Return a request with unwrapped texts.

    Raises:
        ValueError: As for `unwrapped_query`.
    """
    wrapped = unwrapped_query(text_of(request.query))
    if wrapped is None:
        return request
    texts = [(document, text_of(document)) for document in request.documents]
    return replace(
        request,
        query=with_text(request.query, wrapped.query),
        instruction=wrapped.instruction,
        documents=[with_text(document, text[slice(*_judged(text))]) for document, text in texts],
    )


def task_of(request: ScoreRequest) -> str:
    """Return the instruction that counts for a request: that in a wrapped query, if it is one.

    Raises:
        ValueError: As for `unwrapped_query`.
    """
    wrapped = unwrapped_query(text_of(request.query))
    return request.instruction if wrapped is None else wrapped.instruction


def cut_in_front(request: ScoreRequest) -> Sequence[int]:
    """Return the number of characters that `unwrapped` removes from the start of each document."""
    if unwrapped_query(text_of(request.query)) is None:
        return [0] * len(request.documents)
    return [_judged(text_of(document))[0] for document in request.documents]


def _judged(document: str) -> tuple[int, int]:
    """Return the span of a document inside its wrapping."""
    suffix = _SUFFIX.search(document, max(0, len(document) - _LONGEST_SUFFIX))
    end = len(document) if suffix is None else suffix.start()
    start = len(_DOCUMENT_LABEL) if document.startswith(_DOCUMENT_LABEL) else 0
    return min(start, end), end
