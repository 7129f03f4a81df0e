"""Reader of the SQuAD format, paragraphs with their questions, also of XQuAD and CMRC 2018.

A question's right document is the paragraph it is asked about. Also read is the older layout of
CMRC 2018, a list of ``{"context_text", "qas": [{"query_id", "query_text"}]}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.dataset import Answers, Dataset, checked
from qwen3_rerank.evaluation.fields import id_of, text_of
from qwen3_rerank.reading.text import InputError, decode, parse_json

_EXPECTED = 'expected {"data": [{"paragraphs": [{"context": "…", "qas": […]}]}]}'


def read_squad(path: Path) -> Dataset:
    """Return the paragraphs of a file as documents, and its questions as queries.

    Identical paragraphs become one. Questions that SQuAD 2 marks impossible are left out.

    Raises:
        InputError: The file is not of that format; the message says where.
    """
    text = decode(path.read_bytes(), str(path))
    try:
        value = parse_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    names: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    answers: dict[str, Answers] = {}
    merged = impossible = 0
    for where, context, questions in _paragraphs(value, str(path)):
        merged += context in names
        document = names.setdefault(context, f"p{len(names) + 1}")
        for index, question in enumerate(questions):
            place = f"{where}, question {index + 1}"
            if not isinstance(question, dict):
                raise InputError(f"{place}: expected an object with id and question")
            if question.get("is_impossible") is True:
                impossible += 1
                continue
            name = id_of(question, ("id", "query_id"), place)
            if name in queries:
                raise InputError(f"{place}: the id {name!r:.80} is there twice")
            queries[name] = text_of(question, ("question", "query_text"), place)
            relevant[name] = {document: 1}
            spans = tuple(_answers(question, context))
            if spans:
                answers[name] = Answers(document, spans)
    notes = []
    if merged:
        notes.append(f"{merged} paragraphs are there more than once, and are one document each")
    if impossible:
        notes.append(f"left out: {impossible} questions that have no answer (is_impossible)")
    documents = {name: text for text, name in names.items()}
    return replace(checked(path.name, documents, queries, relevant, notes), answers=answers)


def _answers(question: dict[str, Any], context: str) -> Iterator[tuple[int, int]]:
    """Yield the characters of every answer that is in the paragraph.

    Where they are not what the file says, and in the layout that does not say, the first ones
    count that are equal.
    """
    listed = question.get("answers")
    for answer in listed if isinstance(listed, list) else ():
        known = answer if isinstance(answer, dict) else {"text": answer}
        text, start = known.get("text"), known.get("answer_start")
        if not isinstance(text, str) or not text:
            continue
        if not isinstance(start, int) or not context.startswith(text, max(0, start)):
            start = context.find(text)
        if start >= 0:
            yield start, start + len(text)


def _paragraphs(value: Any, name: str) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield place, text and questions of every paragraph."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        for number, article in enumerate(value["data"], 1):
            where = f"{name}, article {number}"
            paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
            if not isinstance(paragraphs, list):
                raise InputError(f"{where}: no list of paragraphs; {_EXPECTED}")
            for index, paragraph in enumerate(paragraphs, 1):
                yield _paragraph(paragraph, f"{where}, paragraph {index}")
    elif isinstance(value, list):
        for index, paragraph in enumerate(value, 1):
            yield _paragraph(paragraph, f"{name}, paragraph {index}")
    else:
        raise InputError(f"{name}: no list of articles; {_EXPECTED}")


def _paragraph(value: Any, where: str) -> tuple[str, str, list[Any]]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {_EXPECTED}")
    context = text_of(value, ("context", "context_text"), where)
    questions = value.get("qas")
    if not isinstance(questions, list):
        raise InputError(f'{where}: no list "qas"; {_EXPECTED}')
    return where, context, questions
