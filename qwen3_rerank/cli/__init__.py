"""The command `qwen3-rerank`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its extra, say how to install it."""
    try:
        from qwen3_rerank.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit('the command line needs an extra: pip install "qwen3-rerank[cli]"')
    app()
