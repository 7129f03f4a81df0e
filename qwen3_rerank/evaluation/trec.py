"""TREC run files: ``query Q0 document rank score tag``, one candidate a line."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from qwen3_rerank.reading.text import InputError, numbered_lines

_SPACE = re.compile(r"\s")


@dataclass
class Run:
    """The contents of a run file.

    Attributes:
        ranked: Query id → document ids with scores, best first.
        unknown_queries: The number of queries that were skipped.
        unknown_documents: The number of lines that were skipped because of their document.
        example: One such document.
    """

    ranked: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    unknown_queries: int = 0
    unknown_documents: int = 0
    example: str = ""


def escaped(name: str) -> str:
    """Return an id as a run file can hold it: white space becomes ``%20`` and the like.

    >>> escaped("MED-10"), escaped("two words")
    ('MED-10', 'two%20words')
    """
    return _SPACE.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match.group().encode()), name
    )


def falling(scores: Sequence[float]) -> list[float]:
    """Return scores that fall strictly, also in float32, and differ from these as little as can be.

    trec_eval goes by the score alone, reads it as float32, and orders ties by document id: where
    two scores are one, the order that was meant would be lost.

    >>> falling([2.5, 1.0, 1.0])
    [2.5, 1.0, 0.9999999403953552]
    """
    written: list[float] = []
    last = np.float32(np.inf)
    for score in scores:
        rounded = np.float32(score)
        if rounded >= last:
            rounded = np.nextafter(last, np.float32(-np.inf), dtype=np.float32)
        written.append(float(rounded))
        last = rounded
    return written


def run_lines(ranked: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> Iterable[str]:
    """Yield the lines of a run file; scores are changed as in `falling`.

    Raises:
        InputError: Two ids are one when white space is escaped.
    """
    seen: dict[str, str] = {}
    for query, documents in ranked.items():
        scores = falling([score for _, score in documents])
        for place, ((document, _), score) in enumerate(zip(documents, scores, strict=True), 1):
            for name in (query, document):
                if seen.setdefault(escaped(name), name) != name:
                    raise InputError(
                        f"the ids {name!r} and {seen[escaped(name)]!r} are one in a TREC run file, "
                        "which cannot hold white space: rename one of them"
                    )
            yield f"{escaped(query)} Q0 {escaped(document)} {place} {score!r} {tag}\n"


def read_run(path: Path, queries: Container[str], documents: Container[str]) -> Run:
    """Return the candidates of known queries and documents.

    Ids that are known only with their ``%20`` read as white space are taken so.

    Raises:
        InputError: A line is wrong; the message names it.
    """
    run = Run()
    lines: dict[str, dict[str, tuple[float, float]]] = {}
    passed_over: set[str] = set()
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        query, document, rank, score = _cells(line.split(), where)
        if query not in queries:
            if unquote(query) not in queries:
                passed_over.add(query)
                continue
            query = unquote(query)
        if document not in documents:
            if unquote(document) not in documents:
                run.unknown_documents += 1
                run.example = run.example or document
                continue
            document = unquote(document)
        entries = lines.setdefault(query, {})
        if document in entries:
            raise InputError(f"{where}: document {document} is there twice for query {query}")
        entries[document] = (score, rank)
    for query, found in lines.items():
        order = sorted(found, key=lambda document: (-found[document][0], found[document][1]))
        run.ranked[query] = [(document, found[document][0]) for document in order]
    run.unknown_queries = len(passed_over)
    return run


def _cells(cells: list[str], where: str) -> tuple[str, str, float, float]:
    if len(cells) != 6:
        raise InputError(
            f"{where}: {len(cells)} words, expected 6: query, Q0, document, rank, score and tag "
            "(an id cannot hold white space; it is written %20)"
        )
    query, _, document, *numbers, _ = cells
    found = []
    for name, text in zip(("rank", "score"), numbers, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{where}: the {name} is {text!r:.40}, expected a number")
        found.append(value)
    return query, document, found[0], found[1]
