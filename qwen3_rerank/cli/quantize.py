"""`qwen3-rerank quantize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qwen3_rerank.cli.common import fail, reported
from qwen3_rerank.cli.options import Options, with_options
from shared_core import RerankerOptions


@with_options(RerankerOptions, ("Model",), without=("instruction", "max_length"))
def quantize(
    model: Annotated[str, typer.Argument(help="A hub name, or a folder.")],
    folder: Annotated[Path, typer.Argument(help="A new folder for the result.")],
    *,
    options: Options,
) -> None:
    """Write a model in eight bits, once, so that it loads in seconds.

    The folder scores exactly as --quantize int8 of the model does, on CPUs, and takes about a
    quarter of the memory of float32.

    \b
      qwen3-rerank quantize Qwen/Qwen3-Reranker-4B reranker-4b-int8
      qwen3-rerank rank "a drink" tea bread --model ./reranker-4b-int8

    Exit code 0: it is written. 2: it could not be.
    """
    try:
        from shared_core.scorers.local.quantizing import quantize_checkpoint
    except ModuleNotFoundError:
        fail('a local model needs an extra: pip install "qwen3-rerank[local]"')
    with reported():
        quantize_checkpoint(
            RerankerOptions(model=model, **options), folder, show_progress=sys.stderr.isatty()
        )
    sys.stdout.write(f"{folder}\n")
