"""The demo corpus as a BEIR folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_rerank.evaluation import Dataset, read_dataset

DEMO = Path(__file__).parents[3] / "examples" / "data"


def rows(name: str) -> list[Any]:
    return [json.loads(line) for line in (DEMO / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 passages and 76 questions, written as BEIR has them."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "qrels").mkdir()
    corpus = [
        {"_id": one["id"], "title": one["title"], "text": one["text"]}
        for one in rows("passages.jsonl")
    ]
    questions = rows("questions.jsonl")
    queries = [{"_id": one["id"], "text": one["question"]} for one in questions]
    for name, lines in (("corpus", corpus), ("queries", queries)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    judged = [f"{one['id']}\t{name}\t1\n" for one in questions for name in one["relevant"]]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


@pytest.fixture(scope="session")
def demo(demo_folder: Path) -> Dataset:
    """Twelve of its questions."""
    return read_dataset(demo_folder).sample(12, seed=3)
