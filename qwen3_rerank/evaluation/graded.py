"""Readers of graded passages: a table of question, passage and label, and MTEB's reranking tasks.

Both bring the candidates of every question along, in no order that means anything: they are put in
one that does not depend on their labels.

Source of MTEB's older layout, lines of ``{"query", "positive", "negative"}``: github.com/
embeddings-benchmark/mteb, ``AbsTaskReranking``. The newer one is in mteb.py.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.dataset import Dataset, checked, mixed
from qwen3_rerank.reading.tables import column_of, csv_rows
from qwen3_rerank.reading.text import InputError, check_text, decode, decode_any, json_lines

_QUESTION = ("question", "query", "问题", "查询")
_PASSAGE = ("passage", "document", "text", "content", "段落", "文档", "文本", "内容")
_LABEL = ("label", "relevance", "relevant", "grade", "score", "标签", "相关性")
_WORDS = {"yes": 1, "true": 1, "relevant": 1, "no": 0, "false": 0, "irrelevant": 0}


@dataclass(frozen=True, slots=True)
class _Graded:
    """One question with one passage, and how relevant that is."""

    question: str
    passage: str
    grade: int


def read_table(path: Path) -> Dataset:
    """Return the questions and passages of a CSV.

    The first line names the columns: question (or query), passage (document, text, content), label
    (relevance, grade): a whole number, above 0 is relevant, or yes and no, true and false.

    Raises:
        InputError: A column is missing, or a line is wrong; the message names it.
    """
    rows = csv_rows(decode_any(path.read_bytes(), str(path)), str(path), _QUESTION)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path} is empty: expected the columns question, passage and label")
    places = [column_of(first[1], names) for names in (_QUESTION, _PASSAGE, _LABEL)]
    kinds = ("question", "passage", "label")
    missing = [kind for kind, place in zip(kinds, places, strict=True) if place is None]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {' and no column '.join(missing)} (there are: "
            f"{', '.join(first[1]):.80}); expected question, passage and label"
        )
    found = []
    for line, cells in rows:
        try:
            question, passage, label = (cells[place or 0] for place in places)
        except IndexError:
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells, expected {len(first[1])}"
            ) from None
        found.append(_Graded(question, passage, _grade(label, f"{path}, line {line}")))
    return _dataset(path.name, found)


def read_reranking(path: Path) -> Dataset:
    """Return the questions and passages of a reranking task of MTEB, in its older layout.

    Raises:
        InputError: A line is wrong; the message names it.
    """
    raw = path.read_bytes()
    text = decode(gzip.decompress(raw) if path.suffix == ".gz" else raw, str(path))
    return _dataset(path.name, _lines(text, path))


def _lines(text: str, path: Path) -> Iterator[_Graded]:
    for number, value in json_lines(text, str(path)):
        where = f"{path}, line {number}"
        if not isinstance(value, dict):
            raise InputError(f'{where}: expected {{"query": …, "positive": […], "negative": […]}}')
        for question in _texts(value, "query", where):
            for name, grade in (("positive", 1), ("negative", 0)):
                for passage in _texts(value, name, where):
                    yield _Graded(question, passage, grade)


def _texts(value: dict[str, Any], name: str, where: str) -> list[str]:
    """Return a text, or several, as a list."""
    found = value.get(name)
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        there = ", ".join(map(str, value)) or "none"
        raise InputError(f'{where}: no "{name}" of texts (there are: {there:.80})')
    try:
        check_text("".join(texts))
    except InputError as error:
        raise InputError(f"{where}: {name}: {error}") from None
    return texts


def _grade(label: str, where: str) -> int:
    text = label.strip().casefold()
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0 or value != int(value):
        raise InputError(
            f"{where}: the label is {label!r:.40}, expected a whole number from 0, yes or no"
        )
    return int(value)


def _dataset(name: str, graded: Iterable[_Graded]) -> Dataset:
    """Return a data set in which equal texts are one; of several grades the highest counts."""
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    differing = 0
    for pair in graded:
        query = queries.setdefault(pair.question, f"q{len(queries) + 1}")
        document = documents.setdefault(pair.passage, f"d{len(documents) + 1}")
        grades = relevant.setdefault(query, {})
        differing += grades.get(document, pair.grade) != pair.grade
        grades[document] = max(pair.grade, grades.get(document, 0))
    notes = [f"{differing} passages have several labels, of which the highest counts"]
    data = checked(
        name,
        {number: text for text, number in documents.items()},
        {number: text for text, number in queries.items()},
        relevant,
        notes if differing else (),
    )
    candidates = {query: mixed(relevant[query], query) for query in data.queries}
    return replace(data, candidates=candidates)
