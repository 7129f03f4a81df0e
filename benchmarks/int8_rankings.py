"""Effect of quantize="int8" on rankings: the same candidates ordered in float32 and in int8.

    pip install "qwen3-rerank[evaluate,local]"
    python benchmarks/int8_rankings.py demo xquad.es.json scifact/ --queries 300 --out OUT/

Each task is what `qwen3-rerank evaluate` reads, or ``demo``: the demo corpus with its English and
with its Chinese questions. Prints a row per task for docs/performance.md; the full reports are in
``OUT/TASK/``. Started again, it scores what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from scipy.stats import kendalltau

from qwen3_rerank.evaluation import Dataset, Report, evaluate, read_dataset
from shared_core import Reranker

MRR = "RR@10"
DEMO = Path(__file__).parents[1] / "examples" / "data"


def tasks(names: Iterable[str]) -> list[Dataset]:
    """Return the tasks to run; the demo is two tasks over one corpus."""
    found = []
    for name in names:
        found += [demo("en"), demo("zh")] if name == "demo" else [read_dataset(name)]
    return found


def demo(language: str) -> Dataset:
    """Return the demo corpus with the questions of one language."""
    passages, questions = (
        [json.loads(line) for line in (DEMO / name).read_text("utf-8").splitlines()]
        for name in ("passages.jsonl", "questions.jsonl")
    )
    asked = [one for one in questions if one["lang"] == language and not one.get("cross_lingual")]
    return Dataset(
        name=f"demo.{language}",
        documents={one["id"]: f"{one['title']} {one['text']}" for one in passages},
        queries={one["id"]: one["question"] for one in asked},
        relevant={one["id"]: dict.fromkeys(one["relevant"], 1) for one in asked},
    )


def row(report: Report) -> str:
    """Return a task's row: both means, the difference with its interval, and Kendall's tau."""
    plain, int8 = report.systems
    change = report.comparison(MRR, "A", "B").difference
    low, high = change.estimate.low, change.estimate.high
    cells = (
        report.dataset.name,
        len(report.dataset.queries),
        f"{plain.figures[MRR].mean:.4f}",
        f"{int8.figures[MRR].mean:.4f}",
        f"{change.estimate.mean:+.4f} ({low:+.4f} to {high:+.4f})",
        f"{change.p:.2f}",
        f"{change.better}, {change.worse}",
        f"{tau(report):.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def tau(report: Report) -> float:
    """Return Kendall's tau between the two orders, the mean over queries."""
    found = []
    for query in report.dataset.queries:
        plain, int8 = (dict(one.order[query]) for one in report.systems)
        if len(plain) > 1:
            found.append(kendalltau(list(plain.values()), [int8[one] for one in plain]).statistic)
    return fmean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", help="demo, a file of SQuAD's format, a BEIR folder")
    parser.add_argument("--out", type=Path, required=True, help="where reports and scores go")
    parser.add_argument("--model", default="tiny", help="a hub name, a folder, or tiny")
    parser.add_argument("--queries", type=int, help="how many of each task; all by default")
    parser.add_argument("--top-n", type=int, default=20, help="candidates a query, by BM25")
    given = parser.parse_args()
    print("| task | queries | MRR@10, float32 | int8 | difference (95 %) | p | up, down | τ |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for data in tasks(given.tasks):
        with (
            Reranker(given.model, device="cpu", dtype="float32") as plain,
            Reranker(given.model, device="cpu", dtype="float32", quantize="int8") as int8,
        ):
            report = evaluate(
                {"float32": plain, "int8": int8},
                data,
                top_n=given.top_n,
                queries=given.queries,
                out=given.out / data.name,
            )
        print(row(report), flush=True)


if __name__ == "__main__":
    main()
