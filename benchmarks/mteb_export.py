"""Writes a task of MTEB as `qwen3-rerank evaluate` reads it: a BEIR folder and a TREC run file.

    pip install "mteb[bm25s]>=2.1"
    python benchmarks/mteb_export.py AskUbuntuDupQuestions OUT/
    python benchmarks/mteb_export.py NFCorpus OUT/ --first-stage bm25s --top-n 10

Reranking tasks come with their candidates. For retrieval tasks, ``--first-stage`` names a model of
MTEB that finds them. The run file is ``OUT/candidates.run``; see docs/evaluation.md for what to do
with it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def load(name: str, subset: str, split: str) -> tuple[Any, Any]:
    """Return a task and the data of one split."""
    import mteb

    task = mteb.get_task(name, eval_splits=[split])
    task.load_data()
    return task, task.dataset[subset][split]


def first_stage(task: Any, model: str, subset: str, split: str) -> Mapping[str, Any]:
    """Return query id → document id → score, as a model of MTEB finds them."""
    import mteb

    with tempfile.TemporaryDirectory() as folder:
        mteb.evaluate(mteb.get_model(model), task, prediction_folder=folder, cache=None)
        (path,) = Path(folder).rglob(f"{task.metadata.name}_predictions.json")
        found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))[subset][split]
        return found


def write(out: Path, split: str, data: Mapping[str, Any]) -> None:
    """Write corpus, queries and judgements."""
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = (
        {"_id": row["id"], "title": row.get("title") or "", "text": row["text"]}
        for row in data["corpus"]
    )
    queries = ({"_id": row["id"], "text": row["text"]} for row in data["queries"])
    for name, rows in (("corpus", corpus), ("queries", queries)):
        with (out / f"{name}.jsonl").open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with (out / "qrels" / f"{split}.tsv").open("w", encoding="utf-8") as stream:
        stream.write("query-id\tcorpus-id\tscore\n")
        for query, grades in data["relevant_docs"].items():
            stream.writelines(f"{query}\t{one}\t{grade}\n" for one, grade in grades.items())


def run_lines(candidates: Mapping[str, Any], top_n: int) -> Iterable[str]:
    """Yield a TREC run; candidates are lists, best first, or document ids with scores."""
    for query, given in candidates.items():
        scored = given if isinstance(given, dict) else {one: -i for i, one in enumerate(given)}
        best = sorted(scored, key=lambda one: scored[one], reverse=True)[:top_n]
        for place, document in enumerate(best, 1):
            yield f"{query} Q0 {document} {place} {scored[document]} mteb\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="such as AskUbuntuDupQuestions or NFCorpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--subset", default="default", help="the language, of tasks with several")
    parser.add_argument("--split", default="test")
    parser.add_argument("--first-stage", help="such as bm25s or Qwen/Qwen3-Embedding-0.6B")
    parser.add_argument("--top-n", type=int, default=1000)
    arguments = parser.parse_args()
    task, data = load(arguments.task, arguments.subset, arguments.split)
    write(arguments.out, arguments.split, data)
    candidates = data.get("top_ranked")
    if arguments.first_stage:
        candidates = first_stage(task, arguments.first_stage, arguments.subset, arguments.split)
    if candidates:
        with (arguments.out / "candidates.run").open("w", encoding="utf-8") as stream:
            stream.writelines(run_lines(candidates, arguments.top_n))
    print(f"{arguments.out}: main score of {arguments.task} is {task.metadata.main_score}")


if __name__ == "__main__":
    main()
