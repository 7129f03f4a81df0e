"""A batch on a Ray of two nodes on this machine, against one process: the same scores, row by row?

By default one worker is killed when a quarter is done, and the driver when half is, which is then
started again. With --no-kill nobody is, so that the times are those of undisturbed work::

    python benchmarks/batch_proof.py --pairs 20000
    python benchmarks/batch_proof.py --pairs 4000 --no-kill
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Before Ray is imported: no usage statistics, and addresses on loopback alone.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

WORDS = (
    *("tea", "water", "sun", "moon", "metal", "liquid", "freeze", "bread", "yeast", "green"),
    *("planet", "singer", "queen", "price"),
)
BLOCK = 250
MODEL = ("--model", "tiny", "--device", "cpu", "--dtype", "float32")


def write_input(path: Path, count: int) -> None:
    """Write pairs, some twenty documents a query, of 4 to 40 words each."""
    source = random.Random(0)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        query = f"what is {' '.join(source.choices(WORDS, k=4))} {len(rows)}?"
        for _ in range(source.randint(1, 40)):
            document = " ".join(source.choices(WORDS, k=source.randint(4, 40)))
            rows.append({"query": query, "document_id": len(rows), "document": document})
    pq.write_table(pa.Table.from_pylist(rows[:count]), path, row_group_size=5000)


def command(given: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of a batch."""
    program = "from qwen3_rerank.cli import main; main()"
    return [
        *(sys.executable, "-c", program, "batch", str(given), str(out)),
        *(*MODEL, "--block-rows", str(BLOCK), "--no-measure", *more),
    ]


def run(arguments: list[str], out: Path) -> dict[str, Any]:
    """Run a batch to its end and return its summary, with the seconds of the whole process."""
    begun = time.monotonic()
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)  # noqa: S603  # our own
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary | {"process_seconds": round(time.monotonic() - begun, 1)}


def wait_for(out: Path, parts: int, driver: subprocess.Popen[bytes]) -> None:
    """Wait until so many blocks are done."""
    while len(list(out.glob("scores/*"))) < parts:
        if driver.poll() is not None:
            sys.exit("the driver ended too early")
        time.sleep(0.05)


def kill_a_worker(cluster: Cluster) -> int:
    """Kill one of the actors' processes and return its number."""
    for node in cluster.list_all_nodes():
        for raylet in node.all_processes["raylet"]:
            for child in psutil.Process(raylet.process.pid).children(recursive=True):
                if "ray::Worker" in " ".join(child.cmdline()):
                    child.kill()
                    return child.pid
    sys.exit("no worker was at work")


def compare(one: Path, other: Path, count: int) -> dict[str, Any]:
    """Return the differences between two outputs."""
    first, second = (pq.read_table(out / "scores").to_pylist() for out in (one, other))
    return {
        "pairs": [len(first), len(second)],
        "rows_are_all_there_once_in_order": [row["row"] for row in second] == list(range(count)),
        "same_ids": [r["document_id"] for r in first] == [r["document_id"] for r in second],
        "greatest_difference_of_a_logit": max(
            abs(a["logit"] - b["logit"]) for a, b in zip(first, second, strict=True)
        ),
        "equal_logits": sum(a["logit"] == b["logit"] for a, b in zip(first, second, strict=True)),
    }


def on_ray(folder: Path, pairs: int, kills: bool) -> dict[str, Any]:
    """Run a batch on two nodes and return its summary, with what was done when it was killed."""
    size = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "temp_dir": str(folder / "t")})
    out = folder / "ray"
    found: dict[str, Any] = {}
    try:
        cluster.add_node(**size)
        more = ("--ray", cluster.address, "--workers", "2")
        arguments = command(folder / "in.parquet", out, *more)
        if kills:
            driver = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)  # noqa: S603  # our own
            wait_for(out, pairs // BLOCK // 4, driver)
            found["worker killed"] = kill_a_worker(cluster)
            wait_for(out, pairs // BLOCK // 2, driver)
            driver.kill()
            driver.wait()
            found["blocks done when the driver was killed"] = len(list(out.glob("scores/*")))
        return found | run(arguments, out)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20000)
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep all files there, for a second part")
    parser.add_argument("--only", choices=["one", "ray"], help="one process, or Ray behind it")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="qb"))
    folder.mkdir(exist_ok=True)
    report: dict[str, Any] = {"pairs": asked.pairs}
    if asked.only != "ray":
        write_input(folder / "in.parquet", asked.pairs)
        arguments = command(folder / "in.parquet", folder / "one")
        report["one process"] = run(arguments, folder / "one")
    if asked.only != "one":
        report["two workers on Ray"] = on_ray(folder, asked.pairs, not asked.no_kill)
        report["compared"] = compare(folder / "one", folder / "ray", asked.pairs)
    print(json.dumps(report, indent=2))
    if asked.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
