"""Seconds from the start of a process, beside what ``import torch`` alone takes.

    python -m benchmarks.startup [--rounds 5] [--model tiny]

Every command is a new process, taken in turn; the table has the medians and their ratios. The
files are in the system's cache after a first round, which is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

SCORE = "from shared_core import Reranker; Reranker({model!r}).score('a drink', ['tea'])"


def commands(model: str) -> dict[str, list[str]]:
    """Return the commands by what they do; the first is what the others are held against."""
    python = sys.executable
    rank = ["rank", "a drink", "tea", "bread", "--model", model]
    return {
        "`import torch`": [python, "-c", "import torch"],
        "first score": [python, "-c", SCORE.format(model=model)],
        "`qwen3-rerank rank`": [python, "-m", "qwen3_rerank", *rank],
        "`qwen3-rerank --help`": [python, "-m", "qwen3_rerank", "--help"],
    }


def seconds(command: Sequence[str]) -> float:
    """Return the seconds that a command takes.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own command
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    taken: dict[str, list[float]] = {name: [] for name in commands(given.model)}
    for number in range(given.rounds + 1):
        for name, command in commands(given.model).items():
            found = seconds(command)
            if number:
                taken[name].append(found)
    medians = {name: statistics.median(found) for name, found in taken.items()}
    alone = next(iter(medians.values()))
    print("| new process | seconds | to `import torch` |")
    print("|---|---:|---:|")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {median / alone:.2f} |")


if __name__ == "__main__":
    main()
