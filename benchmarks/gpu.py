"""Speed on a CUDA device, beside the model card's recipe and sentence-transformers.

One command measures every row of the table, all contestants in turn in one run::

    python -m benchmarks.gpu --tokenizer FOLDER

FOLDER has Qwen3's tokenizer; without it the bundled small one is used. The models have the true
shapes and random values. What was measured goes to ``benchmarks/results``: a JSON file per model,
which ``python -m benchmarks.bench --read`` shows in full, and ``gpu.md`` with the table.

Without a CUDA device this runs with ``--device cpu --quick`` alone, over the bundled model.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bench.contestants import (
    OURS,
    RECIPE,
    SENTENCE_TRANSFORMERS,
    Contestant,
    contestants,
)
from benchmarks.bench.overhead import loading
from benchmarks.bench.players.base import Setup
from benchmarks.bench.result import Result
from benchmarks.bench.run import MAX_LENGTH, Plan, run
from benchmarks.bench.shapes import make_checkpoint
from benchmarks.bench.summary import Row, rows

_RESULTS = Path(__file__).parent / "results"
_BUNDLED = Path(__file__).parents[1] / "shared_core" / "tiny"
_TIMEOUT = 900.0
# The model card's own batch, and those that were the best ones of the peer on an H100.
_RECIPE_BATCHES, _PEER_BATCHES = (8,), (16, 32, 64, 128)
# Ours without what a device has beside the plain forward, to see what each part gains.
_WITHOUT = {"no graphs": ["graphs"], "no graphs, no kernels": ["graphs", "kernels"]}
_FIRST, _FIRST_OF_ALL = "first call", "first call on this machine"


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table.

    Attributes:
        work: The work in words.
        workload: Its specification; see `benchmarks.bench.workloads`.
        goal: Milliseconds that are aimed at on an H100.
    """

    work: str
    workload: str
    goal: float | None = None


CASES = {
    "0.6b": [
        Case("100 × ~300", "1x100@240-350", 78),
        Case("16 × 1,024", "1x16@1024-1024", 55),
        Case("20 × ~120", "1x20@80-160", 9.5),
        Case("1 × 200", "1x1@200-200", 3.5),
        Case("32 queries × 20 × ~120", "32x20@80-160", 240),
    ],
    "4b": [Case("100 × ~300", "1x100@240-350", 430), Case("1 × 200", "1x1@200-200", 8)],
    "tiny": [Case("4 × ~30", "1x4@20-40"), Case("2 queries × 3 × ~20", "2x3@15-25")],
}


def measured(model: str, given: argparse.Namespace) -> Result:
    """Return the measurements of one model.

    Args:
        model: A key of `CASES`.
    """
    is_tiny = model == "tiny"
    cache = given.cache_dir or Path(tempfile.gettempdir()) / "qwen3-rerank-bench"
    folder = (
        _BUNDLED
        if is_tiny
        else make_checkpoint(model, given.dtype, given.tokenizer or _BUNDLED, cache)
    )
    playing = everybody(given.device, quick=given.quick)
    plan = Plan(
        folder=folder,
        name="tiny" if is_tiny else f"Qwen3-Reranker {model}",
        random=not is_tiny,
        dtype=given.dtype,
        device=given.device,
        workloads=[case.workload for case in CASES[model]],
        rounds=given.rounds,
        everybody=playing,
        command=["python", "-m", "benchmarks.gpu", *given.command],
        timeout=_TIMEOUT,
    )
    result = run(plan, _say)
    result.overhead["chosen"] = chosen(folder, given)
    setup = Setup(str(folder), given.dtype, given.device, MAX_LENGTH)
    (ours,) = (contestant for contestant in playing if contestant.name == OURS)
    with tempfile.TemporaryDirectory() as empty:
        # As on a machine that has compiled none of the kernels yet.
        fresh = replace(ours, environment={**ours.environment, "TRITON_CACHE_DIR": empty})
        for name, contestant in ((_FIRST_OF_ALL, fresh), (_FIRST, fresh)):
            _say(f"{model}: {name}")
            result.overhead[name] = loading([contestant], setup, 1, _TIMEOUT).get(OURS, {})
    return result


def everybody(device: str, *, quick: bool) -> list[Contestant]:
    """Return the contestants, with the batch sizes that they are tried with."""
    batches = {RECIPE: _RECIPE_BATCHES, SENTENCE_TRANSFORMERS: _PEER_BATCHES}
    playing = [
        replace(contestant, variants=[{"batch": size} for size in sizes[: 1 if quick else None]])
        if (sizes := batches.get(contestant.name))
        else contestant
        for contestant in contestants([], None, device=device, threads=None, only=[*batches, OURS])
    ]
    return playing + [
        Contestant(f"{OURS}: {name}", "ours", settings={"without": parts})
        for name, parts in _WITHOUT.items()
    ]


def chosen(folder: Path, given: argparse.Namespace) -> str:
    """Return what of ours is in use on this device, in words; a trial may have left parts out."""
    from shared_core import Reranker
    from shared_core.scorers.local.graphs import Graphs

    with Reranker(str(folder), device=given.device, dtype=given.dtype) as reranker:
        for _ in range(3):
            reranker.score("What is warm?", ["Tea is.", "Ice is not."])
        loaded = reranker.scorer.load()  # type: ignore[attr-defined]
        parts = loaded.backbone.attention, loaded.backbone.elementwise
        kinds = [type(part).__name__ for part in parts]
        graphs = loaded.forward
        works = isinstance(graphs, Graphs) and graphs.is_usable
        return ", ".join([*kinds, "graphs" if works else "no graphs"])


def table(results: Sequence[tuple[str, Result]]) -> str:
    """Return the results of all models as one Markdown table, milliseconds."""
    model = results[0][1].model
    lines = [
        "| work | prompt tokens, those that differ | recipe | sentence-transformers | ours "
        "| recipe ÷ ours | sentence-transformers ÷ ours | of peak | goal (H100) "
        f"| ours, {' | '.join(_WITHOUT)} |",
        f"|---|---|{'---:|' * (7 + len(_WITHOUT))}",
    ]
    for name, result in results:
        measured_rows = rows(result)
        for case, facts in zip(CASES[name], result.workloads, strict=True):
            row = {one.contestant: one for one in measured_rows if one.workload == case.workload}
            ours = row.get(OURS)
            cells = [
                f"{name}, {case.work}",
                f"{facts.prompt_tokens:,}, {facts.unique_tokens:,}",
                *(_time(row.get(who)) for who in (RECIPE, SENTENCE_TRANSFORMERS, OURS)),
                *(_ratio(row.get(who)) for who in (RECIPE, SENTENCE_TRANSFORMERS)),
                "" if ours is None or ours.share_of_peak is None else f"{ours.share_of_peak:.0%}",
                "" if case.goal is None else f"≤ {case.goal:g}",
                *(_time(row.get(f"{OURS}: {name}")) for name in _WITHOUT),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {name}, in use: {result.overhead['chosen']}." for name, result in results]
    notes += [
        f"- {name}, {which}: {found['first_call']['median']:.2f} s, after loading in "
        f"{found['seconds']['median']:.2f} s."
        for name, result in results
        for which in (_FIRST, _FIRST_OF_ALL)
        if (found := result.overhead.get(which))
    ]
    notes += [
        f"- {name}, {facts.name}: {facts.status}: {facts.reason}"
        for name, result in results
        for facts in result.contestants
        if facts.status != "ran"
    ]
    notes += [f"- {name}: {reason}" for name, result in results for reason in result.skipped]
    first = results[0][1]
    device = first.machine.get("accelerator") or first.machine["processor"]
    packages = ", ".join(f"{package} {version}" for package, version in first.versions.items())
    peaks = ", ".join(f"{name} {result.peak_flops / 1e12:,.3g}" for name, result in results)
    head = (
        f"{device}; {model.dtype}, {first.rounds} rounds, medians in milliseconds, "
        f"{first.made[:10]}. Matrix products at best, TFLOP/s: {peaks}. {packages}."
    )
    parts = [head, f"```\n{first.command}\n```", "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _time(row: Row | None) -> str:
    """Return milliseconds, with the batch size that was the best, and whether scores differ."""
    if row is None:
        return ""
    batch = f", batch {row.variant['batch']}" if "batch" in row.variant else ""
    wrong = "" if row.agrees is not False else " **differs**"
    return f"{1e3 * row.seconds.median:,.3g}{batch}{wrong}"


def _ratio(row: Row | None) -> str:
    return f"{row.faster[OURS].median:.2f}" if row is not None and OURS in row.faster else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status, 1 if a score of ours differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="the bundled model, one round")
    parser.add_argument("--dtype", default=None, help="bfloat16; with --quick float32")
    parser.add_argument("--model", action="append", choices=("0.6b", "4b"), help="both if not said")
    parser.add_argument("--rounds", type=int, default=None, help="7; with --quick 1")
    parser.add_argument("--tokenizer", type=Path, help="a folder with Qwen3's tokenizer")
    parser.add_argument("--cache-dir", type=Path, help="for the random checkpoints")
    parser.add_argument("--output", type=Path, help="benchmarks/results; with --quick nowhere")
    given = parser.parse_args(arguments)
    given.dtype = given.dtype or ("float32" if given.quick else "bfloat16")
    given.rounds = given.rounds or (1 if given.quick else 7)
    given.output = given.output or (None if given.quick else _RESULTS)
    said = sys.argv[1:] if arguments is None else arguments
    given.command = [Path(part).name if part.startswith("/") else part for part in said]
    refusal = _refusal(given.device, quick=given.quick)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    results = []
    for model in ["tiny"] if given.quick else given.model or ["0.6b", "4b"]:
        result = measured(model, given)
        results.append((model, result))
        if given.output is not None:  # what is measured is kept, whatever comes next
            result.write(given.output / f"gpu-{model}-{given.dtype}.json")
            (given.output / "gpu.md").write_text(table(results), "utf-8")
    print(table(results))
    return int(
        any(
            agreement.contestant == OURS and agreement.agrees is False
            for _, result in results
            for agreement in result.agreements
        )
    )


def _refusal(device: str, *, quick: bool) -> str:
    """Return why nothing is measured here; empty if it is."""
    import torch

    if device == "cpu":
        return "" if quick else "on a CPU there is --quick alone; see python -m benchmarks.bench"
    if torch.cuda.is_available():
        return ""
    built = "without CUDA" if torch.version.cuda is None else "with CUDA, but finds no device"
    return (
        f"no CUDA device: torch {torch.__version__} is built {built}. To try the script itself: "
        f"{shlex.join(['python', '-m', 'benchmarks.gpu', '--device', 'cpu', '--quick'])}"
    )


if __name__ == "__main__":
    sys.exit(main())
