"""Reading of datasets in the formats of BEIR and SQuAD."""

from __future__ import annotations

from pathlib import Path

from qwen3_rerank.evaluation.beir import read_beir
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.squad import read_squad
from qwen3_rerank.reading.text import InputError


def read_dataset(path: str | Path, *, split: str | None = None) -> Dataset:
    """Return the dataset in a BEIR folder or a SQuAD-format file.

    Args:
        path: A folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/*.tsv``, or a ``.json``
            file in the format of SQuAD.
        split: Which file of ``qrels``; ``None`` is ``test``, or the only one there.

    Raises:
        InputError: A line is wrong; the message names it and says what was expected.
        OSError: A file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return read_beir(path, split)
    if not path.exists():
        raise InputError(f"{path} does not exist: expected a BEIR folder or a SQuAD-format file")
    if not path.name.lower().endswith(".json"):
        raise InputError(
            f"{path} is neither a folder (BEIR: corpus.jsonl, queries.jsonl, qrels/*.tsv) nor a "
            ".json file (SQuAD)"
        )
    if split is not None:
        raise InputError(f"{path} is one file, and has no split {split!r}: leave split out")
    return read_squad(path)
