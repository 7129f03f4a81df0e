"""Readers of folders as they are downloaded: MTEB's tasks (newer layout) and MIRACL.

Sources: the data sets ``mteb/…`` of the Hugging Face Hub, with folders ``corpus``, ``queries``,
``qrels`` and, for reranking, ``top_ranked``, each a table of parquet or JSON lines, with a language
in front where there are several; github.com/project-miracl/miracl, with ``topics*.tsv`` (query,
text), ``qrels*.tsv`` (TREC) and the corpus as ``docs*.jsonl.gz`` (``docid``, ``title``, ``text``).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.dataset import Dataset, checked, mixed
from qwen3_rerank.evaluation.fields import id_of, text_of
from qwen3_rerank.reading.text import InputError, decode, json_lines, numbered_lines
from shared_core.errors import MissingDependencyError

_IDS = ("_id", "id", "docid")


def is_mteb(folder: Path) -> bool:
    """Return whether a folder has the tables of an MTEB task."""
    return any(folder.glob("*corpus/*")) and any(folder.glob("*queries/*"))


def is_miracl(folder: Path) -> bool:
    """Return whether a folder has MIRACL's files, somewhere inside."""
    return any(folder.rglob("topics*.tsv"))


def read_mteb(folder: Path, split: str | None = None) -> Dataset:
    """Return the data set in a folder with MTEB's tables.

    Args:
        split: The language in front of the names of the tables, where there are several.

    Raises:
        InputError: A table is missing or wrong; the message names it.
        MissingDependencyError: A table is parquet, and pyarrow is not installed.
    """
    names = {part.name for part in folder.iterdir()}
    prefix = f"{split}-" if split is not None else ""
    if f"{prefix}corpus" not in names:
        there = sorted(name.removesuffix("-corpus") for name in names if name.endswith("-corpus"))
        raise InputError(
            f"{folder} has no {prefix}corpus: say which language, as --split "
            f"({', '.join(there) or 'there is none'})"
        )
    judgements = next((n for n in ("qrels", "default") if f"{prefix}{n}" in names), "qrels")
    documents = dict(_named(folder / f"{prefix}corpus"))
    queries = dict(_named(folder / f"{prefix}queries"))
    relevant: dict[str, dict[str, int]] = {}
    for where, row in _rows(folder / f"{prefix}{judgements}"):
        query, document = (id_of(row, (name,), where) for name in ("query-id", "corpus-id"))
        relevant.setdefault(query, {})[document] = _whole(row.get("score", 1), where)
    data = checked(folder.resolve().name, documents, queries, relevant)
    ranked = folder / f"{prefix}top_ranked"
    if not ranked.is_dir():
        return data
    candidates = {}
    for where, row in _rows(ranked):
        query, ids = id_of(row, ("query-id",), where), row.get("corpus-ids")
        if not isinstance(ids, list):
            raise InputError(f'{where}: no list "corpus-ids"')
        candidates[query] = mixed(map(str, ids), query)
    return replace(data, candidates=candidates)


def read_miracl(folder: Path, split: str | None = None) -> Dataset:
    """Return the data set in a folder with MIRACL's topics, qrels and corpus, somewhere inside.

    Args:
        folder: The folder. Of several languages, that of one.
        split: The end of the names of topics and qrels; ``None`` is ``dev``, or the only one.

    Raises:
        InputError: A file is missing or wrong; the message names it.
    """
    topics = _of_split(folder, "topics", split)
    qrels = _of_split(folder, "qrels", split)
    queries = dict(_cells(topics, 2))
    relevant: dict[str, dict[str, int]] = {}
    for query, _, document, grade in _cells(qrels, 4):
        relevant.setdefault(query, {})[document] = _whole(grade, str(qrels))
    corpus = sorted(path for path in folder.rglob("docs*.jsonl*") if path.is_file())
    if not corpus:
        raise InputError(f"{folder} has no docs*.jsonl.gz: expected MIRACL's corpus there, too")
    documents = {name: text for path in corpus for name, text in _named(path)}
    return checked(f"{folder.resolve().name}, {topics.stem}", documents, queries, relevant)


def _of_split(folder: Path, kind: str, split: str | None) -> Path:
    there = sorted(folder.rglob(f"{kind}*.tsv"))
    wanted = [path for path in there if path.stem.endswith(f"-{split or 'dev'}")]
    found = wanted if wanted or split is not None else there
    if len(found) != 1:
        names = ", ".join(path.name for path in there) or "none"
        raise InputError(
            f"{folder} has {len(found)} files {kind}*-{split or 'dev'}.tsv, expected one (there "
            f"are: {names:.200}); give one language, and its --split"
        )
    return found[0]


def _cells(path: Path, count: int) -> Iterator[list[str]]:
    for number, line in numbered_lines(path):
        cells = line.split("\t")
        if len(cells) != count:
            raise InputError(f"{path}, line {number}: {len(cells)} cells, expected {count}")
        yield [cell.strip() for cell in cells]


def _named(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the ids and texts of a table, a document's title in front of its text."""
    for where, row in _rows(path):
        parts = [row.get("title") or "", text_of(row, ("text", "query"), where)]
        yield id_of(row, _IDS, where), " ".join(part for part in parts if part)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and fields of every row of a table, a file or a folder of them."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        if file.suffix == ".parquet":
            yield from ((f"{file}, row {n}", row) for n, row in enumerate(_parquet(file), 1))
        elif file.name.endswith((".jsonl", ".jsonl.gz")):
            raw = file.read_bytes()
            text = decode(gzip.decompress(raw) if file.suffix == ".gz" else raw, str(file))
            for number, row in json_lines(text, str(file)):
                if not isinstance(row, dict):
                    raise InputError(f"{file}, line {number}: expected an object")
                yield f"{file}, line {number}", row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingDependencyError("a table of parquet", "batch") from error
    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def _whole(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: the grade is {value!r:.40}, expected a whole number") from None
