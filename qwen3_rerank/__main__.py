"""The command line: ``python -m qwen3_rerank``."""

from __future__ import annotations

from qwen3_rerank.cli import main

if __name__ == "__main__":
    main()
