"""The same query and documents under two instructions.

The real model follows an instruction; the bundled one only shows that it reaches the prompt.
"""

from __future__ import annotations

import os

from qwen3_rerank import Reranker

MODEL = os.environ.get("QWEN3_RERANK_MODEL", "tiny")
QUERY = "python sort a list"
DOCUMENTS = [
    "sorted(items) returns a new list; items.sort() sorts the list in place and returns None.",
    "def sort_list(items):\n    items.sort()\n    return items",
    "The ball python sorts through scents with its forked tongue to find prey.",
]
INSTRUCTIONS = [
    "Given a programming question, retrieve passages that explain the answer in words",
    "Given a programming question, retrieve code that does what is asked",
]


def main() -> None:
    with Reranker(MODEL) as reranker:
        for instruction in INSTRUCTIONS:
            print(instruction)
            for one in reranker.rerank(QUERY, DOCUMENTS, instruction=instruction):
                print(f"  {one.score:.4f} {one.document.splitlines()[0]}")


if __name__ == "__main__":
    main()
