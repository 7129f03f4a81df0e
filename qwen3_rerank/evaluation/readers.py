"""Reading of datasets, whichever of the known formats they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from qwen3_rerank.evaluation.beir import read_beir, read_unjudged_beir
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.graded import read_reranking, read_table
from qwen3_rerank.evaluation.published import is_miracl, is_mteb, read_miracl, read_mteb
from qwen3_rerank.evaluation.squad import read_squad
from qwen3_rerank.reading.text import InputError

_EXPECTED = (
    "expected a folder (BEIR: corpus.jsonl, queries.jsonl, qrels/*.tsv; an MTEB task; MIRACL), a "
    ".json file (SQuAD), a .csv (question, passage, label), or a .jsonl (MTEB's query, positive, "
    "negative)"
)


def read_dataset(path: str | Path, *, split: str | None = None) -> Dataset:
    """Return the dataset in a folder or a file.

    Args:
        path: A BEIR folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/*.tsv``; a folder
            with the tables of an MTEB task, or with MIRACL's files; a ``.json`` file in the format
            of SQuAD; a ``.csv`` of question, passage and label; a ``.jsonl`` of an MTEB reranking
            task.
        split: Which file of ``qrels``; ``None`` is ``test`` (``dev`` for MIRACL), or the only one
            there. Of an MTEB task in several languages, the language.

    Raises:
        InputError: A line is wrong; the message names it and says what was expected.
        OSError: A file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        if is_mteb(path):
            return read_mteb(path, split)
        return read_miracl(path, split) if is_miracl(path) else read_beir(path, split)
    if not path.exists():
        raise InputError(f"{path} does not exist: {_EXPECTED}")
    name = path.name.lower()
    read = next((read for end, read in _BY_END.items() if name.endswith(end)), None)
    if read is None:
        raise InputError(f"{path} is no file of a known kind: {_EXPECTED}")
    if split is not None:
        raise InputError(f"{path} is one file, and has no split {split!r}: leave split out")
    return read(path)


def read_unjudged(path: str | Path, *, split: str | None = None) -> Dataset:
    """Return the queries and documents of a data set for a judge; judgements are not needed.

    Args:
        path: As for `read_dataset`. A BEIR folder need not have ``qrels``.
        split: As for `read_dataset`.

    Raises:
        InputError: As for `read_dataset`.
    """
    path = Path(path)
    is_beir = path.is_dir() and not is_mteb(path) and not is_miracl(path)
    data = read_unjudged_beir(path) if is_beir else read_dataset(path, split=split)
    return replace(data, relevant={query: {} for query in data.queries})


_BY_END: dict[str, Callable[[Path], Dataset]] = {
    ".json": read_squad,
    ".csv": read_table,
    ".tsv": read_table,
    ".jsonl": read_reranking,
    ".jsonl.gz": read_reranking,
}
