"""Reader of BEIR folders: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``.

Source of the format: github.com/beir-cellar/beir, ``beir/datasets/data_loader.py``. As there, a
document is its title and its text with a space between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.dataset import Dataset, checked
from qwen3_rerank.reading.text import InputError, check_text, parse_json

_DEFAULT_SPLIT = "test"


def read_beir(folder: Path, split: str | None = None) -> Dataset:
    """Return the dataset in a BEIR folder.

    Args:
        folder: The folder.
        split: The name of a file in ``qrels``, without ``.tsv``; ``None`` is ``test``, or the only
            one there.

    Raises:
        InputError: A file or line is wrong; the message names it.
    """
    _check_files(folder)
    judgements = _qrels_file(folder, split)
    documents, queries = _documents_and_queries(folder)
    name = f"{folder.resolve().name}, {judgements.stem}"
    return checked(name, documents, queries, read_qrels(judgements))


def read_unjudged_beir(folder: Path) -> Dataset:
    """Return the documents and queries of a BEIR folder, which need not have judgements.

    Raises:
        InputError: A file or line is wrong; the message names it.
    """
    _check_files(folder)
    documents, queries = _documents_and_queries(folder)
    kept = {name: text for name, text in queries.items() if text.strip()}
    if not documents or not kept:
        raise InputError(f"{folder} has {len(documents)} documents and {len(kept)} queries")
    return Dataset(folder.resolve().name, documents, kept, {})


def _check_files(folder: Path) -> None:
    missing = [name for name in ("corpus.jsonl", "queries.jsonl") if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {' and no '.join(missing)}: expected a BEIR folder with "
            "corpus.jsonl, queries.jsonl and qrels/*.tsv"
        )


def _documents_and_queries(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    documents = dict(_texts(folder / "corpus.jsonl", with_title=True))
    return documents, dict(_texts(folder / "queries.jsonl", with_title=False))


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Return query id → document id → grade of a tab-separated file.

    Raises:
        InputError: A line is not ``query id, document id, whole number``.
    """
    grades: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        cells = line.rstrip("\r\n").split("\t")
        where = f"{path}, line {number}"
        if len(cells) != 3:
            raise InputError(
                f"{where}: {len(cells)} cells between tabs, expected 3: query id, document id and "
                "grade"
            )
        query, document, grade = (cell.strip() for cell in cells)
        try:
            value = int(grade)
        except ValueError:
            if number == 1:
                continue  # the names of the columns
            raise InputError(f"{where}: the grade is {grade!r:.40}, expected a whole number") from (
                None
            )
        if not query or not document:
            raise InputError(f"{where}: an id is missing, expected query id, document id and grade")
        graded = grades.setdefault(query, {})
        if graded.setdefault(document, value) != value:
            raise InputError(
                f"{where}: document {document} is graded {value} for query {query}, and "
                f"{graded[document]} further up"
            )
    return grades


def _qrels_file(folder: Path, split: str | None) -> Path:
    there = sorted(folder.glob("qrels/*.tsv"))
    names = ", ".join(path.stem for path in there)
    if not there:
        raise InputError(f"{folder} has no qrels/*.tsv: expected the judgements of a split there")
    wanted = split if split is not None else _DEFAULT_SPLIT
    for path in there:
        if path.stem == wanted:
            return path
    if split is None and len(there) == 1:
        return there[0]
    raise InputError(f"{folder / 'qrels'} has no split {wanted!r} (there are: {names})")


def _texts(path: Path, *, with_title: bool) -> Iterator[tuple[str, str]]:
    """Yield id and text of every line."""
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            name, text = _entry(parse_json(line), with_title)
            if name in seen:
                raise ValueError(f"the id {name!r:.80} is there twice")
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        seen.add(name)
        yield name, text


def _entry(value: Any, with_title: bool) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise ValueError('expected an object such as {"_id": "7", "text": "…"}')
    name = value.get("_id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        there = ", ".join(map(str, value)) or "none"
        raise ValueError(f'no "_id", expected a string or a whole number (there are: {there:.80})')
    parts = [_string(value, "title")] if with_title and value.get("title") is not None else []
    parts.append(_string(value, "text"))
    return name, " ".join(part for part in parts if part)


def _string(value: dict[str, Any], field: str) -> str:
    text = value.get(field)
    if not isinstance(text, str):
        there = ", ".join(map(str, value))
        raise ValueError(f'no "{field}" that is a string (there are: {there:.80})')
    check_text(text)
    return text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank; no more than one is held."""
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number}: not UTF-8 (save it as UTF-8)") from None
            if line.strip():
                yield number, line
