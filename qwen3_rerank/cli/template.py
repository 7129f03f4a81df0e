"""`qwen3-rerank template`."""

from __future__ import annotations

import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

TEMPLATE = "qwen3_reranker.jinja"


def template(
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the file instead.")
    ] = False,
) -> None:
    """Print the chat template for servers that write the prompt, such as vLLM and SGLang.

    Its suffix is exact to the byte: vllm serve … --chat-template "$(qwen3-rerank template --path)"
    """
    with as_file(files("shared_core.prompt") / TEMPLATE) as file:
        sys.stdout.write(f"{file}\n" if path else Path(file).read_text("utf-8"))
