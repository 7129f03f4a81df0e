"""Command line of the benchmark: ``python -m benchmarks.bench``, from a checkout."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from qwen3_rerank.cli.common import fail, reported
from shared_core.errors import MissingDependencyError
from shared_core.options import RerankerOptions

_DEFAULT_WORKLOADS = ["reference", "rag-10", "rag-50"]
_QUICK_WORKLOADS = ["reference", "8x4@60-150"]
_REPEATS = 3
_ROUNDS, _QUICK_ROUNDS = 5, 2


def bench(
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help="reference, rag-10, rag-20, rag-50, rag-200, many-queries, one-query, long, "
            "chinese, long-query, or QUERIESxDOCUMENTS@SHORTEST-LONGEST."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A folder, a hub name, or tiny.")] = "tiny",
    shape: Annotated[
        str | None, typer.Option(help="0.6b, 4b or 8b: a checkpoint with random values instead.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="With --shape: a folder with Qwen3's tokenizer; else the bundled small one.",
            envvar="QWEN3_TOKENIZER",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int | None, typer.Option(min=1, help="Turns of each contestant.")] = None,
    ours: Annotated[
        list[str] | None,
        typer.Option(help="More of ours: NAME=option=value,… with options of Reranker."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Who takes part: a name, or the beginning of several.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Who does not, likewise.")] = None,
    vllm_python: Annotated[
        str | None, typer.Option(help="An interpreter with vLLM, if not .venv-vllm's.")
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Batch sizes to try the peers with, instead of 1, 4, 16 and 32."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="OMP_NUM_THREADS of every contestant.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one call may take.")] = 1800.0,
    hub: Annotated[
        str, typer.Option(help="Where --model is looked up: huggingface or modelscope.")
    ] = "huggingface",
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Where the hub's files are kept, or the checkpoints of --shape."),
    ] = None,
    local_files_only: Annotated[
        bool, typer.Option("--local-files-only", help="Never ask a hub for --model.")
    ] = False,
    overhead: Annotated[
        bool, typer.Option(help="Also time tokenising, adapters, imports and loading.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write the result here, as JSON.")] = None,
    read: Annotated[
        Path | None, typer.Option(help="Measure nothing: show a result that was written before.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw pictures into this folder.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Put the tables into this page, between markers named as the result."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two rounds of two small workloads.")
    ] = False,
) -> None:
    """Measure this library and its alternatives, in turn, on the same texts.

    The model card's recipe, sentence-transformers and vLLM take part where they are installed. Each
    is a process of its own, and only one works at a time.
    """
    if any(importlib.util.find_spec(name) is None for name in ("matplotlib", "psutil", "torch")):
        fail(str(MissingDependencyError("the bench", "bench")))
    from benchmarks.bench.contestants import contestants
    from benchmarks.bench.markdown import put, render
    from benchmarks.bench.result import Result
    from benchmarks.bench.run import Plan, run

    # Ended by its caller, it ends its processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    progress = Console(stderr=True)
    with reported():
        if read is not None:
            result = Result.read(read)
        else:
            everybody = contestants(
                ours or [],
                vllm_python,
                device=device,
                threads=threads,
                batches=batch or [],
                only=only or [],
                without=without or [],
            )
            if shape is None:
                folder, name = _checkpoint(
                    RerankerOptions(
                        model=model,
                        hub=hub,
                        cache_dir=None if cache_dir is None else str(cache_dir),
                        local_files_only=local_files_only,
                    )
                )
            else:
                folder, name = _random_checkpoint(shape, tokenizer, dtype, cache_dir)
            plan = Plan(
                folder=folder,
                name=name,
                random=shape is not None,
                dtype=dtype,
                device=device,
                workloads=workload or (_QUICK_WORKLOADS if quick else _DEFAULT_WORKLOADS),
                rounds=rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
                everybody=everybody,
                command=["python", "-m", "benchmarks.bench", *_public(sys.argv[1:])],
                overhead_repeats=min(_REPEATS, rounds or _REPEATS) if overhead else 0,
                timeout=timeout,
            )
            result = run(
                plan,
                lambda line: progress.print(
                    escape(line), highlight=False, style="dim", soft_wrap=True
                ),
            )
        stem = (output or read or Path("bench")).stem
        if output is not None:
            result.write(output)
        if plots is not None:
            from benchmarks.bench.plots import draw

            for path in draw(result, plots, stem):
                progress.print(f"drew {path}")
        tables = render(result)
        if markdown is not None:
            put(markdown, stem, tables)
    print(tables, end="")


def _random_checkpoint(
    shape: str, tokenizer: Path | None, dtype: str, cache: Path | None
) -> tuple[Path, str]:
    """Return the folder of a checkpoint with random values, and its name in the result."""
    import shared_core
    from benchmarks.bench.shapes import make_checkpoint

    bundled = Path(shared_core.__file__).parent / "tiny"
    cache = cache or Path(tempfile.gettempdir()) / "qwen3-rerank-bench"
    return make_checkpoint(shape, dtype, tokenizer or bundled, cache), f"Qwen3-Reranker {shape}"


def _checkpoint(options: RerankerOptions) -> tuple[Path, str]:
    """Return the folder of a model, downloaded if necessary, and its name in the result."""
    from huggingface_hub import snapshot_download

    from shared_core.scorers.local.checkpoints.model_source import locate_model
    from shared_core.scorers.local.loading import resolve_source

    source, from_hub = resolve_source(locate_model(options))
    if Path(source).is_dir():
        return Path(source), Path(source).name
    return Path(snapshot_download(source, **from_hub)), source


def _public(arguments: list[str]) -> list[str]:
    """Return a command line with paths below the home or elsewhere cut to their last part."""
    return [
        argument
        if os.sep not in argument or not argument.startswith(os.sep)
        else Path(argument).name
        for argument in arguments
    ]


if __name__ == "__main__":
    typer.run(bench)
