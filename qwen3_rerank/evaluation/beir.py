"""Reader of BEIR folders: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``.

Source of the format: github.com/beir-cellar/beir, ``beir/datasets/data_loader.py``. As there, a
document is its title and its text with a space between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qwen3_rerank.evaluation.dataset import Dataset, checked
from qwen3_rerank.evaluation.fields import id_of, text_of
from qwen3_rerank.reading.text import InputError, numbered_lines, parse_json

_DEFAULT_SPLIT = "test"


def read_beir(folder: Path, split: str | None = None) -> Dataset:
    """Return the dataset in a BEIR folder.

    Args:
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
    for number, line in numbered_lines(path):
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
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except InputError as error:
            raise error.at(str(path), number) from None
        if not isinstance(row, dict):
            raise InputError(f'{where}: expected an object such as {{"_id": "7", "text": "…"}}')
        name, text = id_of(row, ("_id",), where), text_of(row, ("text",), where)
        if name in seen:
            raise InputError(f"{where}: the id {name!r:.80} is there twice")
        seen.add(name)
        title = text_of(row, ("title",), where) if with_title and row.get("title") else ""
        yield name, " ".join(part for part in (title, text) if part)
