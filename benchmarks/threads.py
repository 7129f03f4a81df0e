"""Threads of the bundled model, on a machine as it is and on a busy one.

    python benchmarks/threads.py

Prints the seconds of one call with each number of threads, taken in turn, and their ratio to one
thread; then the same beside as many busy processes as there are CPUs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

# Torch takes its most threads from here, when it is imported.
os.environ["OMP_NUM_THREADS"] = str(os.cpu_count() or 1)

from shared_core import Reranker

QUERY = "Which drink is brewed from leaves?"
DOCUMENTS = [f"Tea number {n} is brewed from leaves that were dried. " * 4 for n in range(40)]


def spin() -> None:
    """Keep a CPU busy."""
    while True:
        sum(range(100_000))


def measure(rerankers: dict[str, Reranker], rounds: int) -> dict[str, float]:
    """Return the median seconds of a call of each, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in rerankers}
    for _ in range(rounds):
        for name, reranker in rerankers.items():
            started = time.perf_counter()
            reranker.score(QUERY, DOCUMENTS)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def show(title: str, seconds: dict[str, float]) -> None:
    """Print a table of them."""
    print(f"\n{title}\n")
    print("| threads | seconds | to one thread |")
    print("|---|---|---|")
    for name, taken in seconds.items():
        print(f"| {name} | {taken:.3f} | {taken / seconds['1']:.2f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args(arguments)
    cpus = os.cpu_count() or 1
    numbers = [1, *(n for n in (2, 4, 8, 16, 32) if n < cpus), *([cpus] if cpus > 1 else [])]
    with ExitStack() as stack:
        rerankers = {
            "chosen" if n is None else str(n): stack.enter_context(
                Reranker(given.model, device="cpu", threads=n)
            )
            for n in [*numbers, None]
        }
        measure(rerankers, 2)  # loads
        show(f"As it is, {cpus} CPUs", measure(rerankers, given.rounds))
        context = multiprocessing.get_context("spawn")
        busy = [context.Process(target=spin, daemon=True) for _ in range(cpus)]
        for process in busy:
            process.start()
        time.sleep(2)
        show(f"Beside {cpus} busy processes", measure(rerankers, given.rounds))
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
