"""Memory of a model over time: while it is loaded, and while it scores.

    python -m benchmarks.memory 0.6b:float32 0.6b:int8 --cache-dir /tmp/models --plot memory.png

Each case is a true shape (0.6b, 4b, 8b) with random values in bfloat16, or a folder, and what it is
computed in: float32, bfloat16 or int8. It runs in a process of its own that scores documents of one
prompt each of ``--tokens`` tokens. The columns, in MB of 10⁶ bytes:

- peak: the most that was resident at once, by the system's own count where it keeps one (VmHWM);
- anonymous peak: the same without pages of files, which the system takes back when it needs memory;
- loaded: what is resident when the model is loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench.shapes import make_checkpoint

_MB = 1e6
_PAUSE = 0.02
_TOKENIZER = Path(__file__).parents[1] / "shared_core" / "tiny"
_CHILD = """
import json, sys
from shared_core import Reranker
model, kind, tokens, documents = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
quantize, dtype = ("int8", "float32") if kind == "int8" else (None, kind)
reranker = Reranker(model, device="cpu", dtype=dtype, quantize=quantize, max_length=tokens)
reranker.load()
print("loaded", flush=True)
reranker.score("a drink", ["tea"])
print("scored", flush=True)
texts = [f"{number} tea, " + "bread and butter " * tokens for number in range(documents)]
ranking = reranker.rerank("a drink", texts)
assert all(ranked.n_tokens == tokens for ranked in ranking)
try:
    status = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
except OSError:
    peak = 0
print(json.dumps({"peak": peak}), flush=True)
"""


@dataclass(slots=True)
class Course:
    """The memory of one process.

    Attributes:
        seconds: Of each sample, since the start.
        resident: Bytes in memory.
        anonymous: Those of them that are no file's.
        events: When what was done, in seconds.
        peak: Bytes, by the system's count.
    """

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    anonymous: list[int] = field(default_factory=list)
    events: dict[str, float] = field(default_factory=dict)
    peak: int = 0

    def sample(self, process: psutil.Process, now: float) -> None:
        """Add what is in memory now."""
        memory: Any = process.memory_info()
        self.seconds.append(now)
        self.resident.append(memory.rss)
        self.anonymous.append(memory.rss - getattr(memory, "shared", 0))

    def at(self, event: str) -> int:
        """Return the bytes in memory at an event."""
        later = (
            r for s, r in zip(self.seconds, self.resident, strict=True) if s >= self.events[event]
        )
        return next(later, self.resident[-1])


def run(model: str, kind: str, tokens: int, documents: int) -> Course:
    """Return the course of a process that loads and scores.

    Raises:
        RuntimeError: It failed; its message is on the error output.
    """
    course = Course()
    started = time.perf_counter()
    command = [sys.executable, "-c", _CHILD, model, kind, str(tokens), str(documents)]
    with psutil.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # ours

        def note_all() -> None:
            for line in child.stdout:
                _note(line, time.perf_counter() - started, course)

        reader = threading.Thread(target=note_all)
        reader.start()
        while child.poll() is None:
            with suppress(psutil.Error):  # it has ended
                course.sample(child, time.perf_counter() - started)
            time.sleep(_PAUSE)
        reader.join()
    if child.returncode:
        raise RuntimeError(f"the process for {model} in {kind} ended with {child.returncode}")
    course.peak = course.peak or max(course.resident)
    return course


def _note(line: str, now: float, course: Course) -> None:
    if line.startswith("{"):
        course.peak = int(json.loads(line)["peak"])
        course.events["ended"] = now
    elif line:
        course.events[line.strip()] = now


def plot(courses: dict[str, Course], path: Path) -> None:
    """Draw memory over time, one panel per case."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(courses), figsize=(4.2 * len(courses), 3.2), squeeze=False, layout="constrained"
    )
    for axes, (name, course) in zip(panels[0], courses.items(), strict=True):
        resident = [value / _MB for value in course.resident]
        anonymous = [value / _MB for value in course.anonymous]
        axes.fill_between(course.seconds, resident, color="#c9d7e8", label="pages of files")
        axes.fill_between(course.seconds, anonymous, color="#2f5d8a", label="anonymous")
        for event in ("loaded", "scored"):
            axes.axvline(course.events[event], color="#888888", linewidth=0.8)
            axes.text(
                course.events[event],
                0,
                f" {event}",
                rotation=90,
                fontsize=8,
                va="bottom",
                color="white",
            )
        axes.set(
            title=f"{name}: peak {course.peak / _MB:,.0f} MB", xlabel="seconds", ylim=(0, None)
        )
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("MB in memory")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="SHAPE:KIND", help="e.g. 0.6b:int8")
    parser.add_argument("--cache-dir", type=Path, required=True, help="for the random checkpoints")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args(arguments)
    courses = {}
    print("| case | peak | anonymous peak | loaded | s until loaded | first score | s in all |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for case in given.cases:
        model, _, kind = case.rpartition(":")
        if not Path(model).is_dir():
            model = str(make_checkpoint(model, "bfloat16", _TOKENIZER, given.cache_dir))
        course = courses[case] = run(model, kind, given.tokens, given.documents)
        sizes = (course.peak, max(course.anonymous), course.at("loaded"))
        times = (course.events[event] for event in ("loaded", "scored", "ended"))
        columns = [f"{size / _MB:,.0f}" for size in sizes] + [f"{t:.1f}" for t in times]
        print(f"| {case} | {' | '.join(columns)} |", flush=True)
    if given.plot is not None:
        plot(courses, given.plot)


if __name__ == "__main__":
    main()
