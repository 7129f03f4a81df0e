"""What ``backend="vllm"`` makes of a model that sees, as JSON, in a process of its own.

vLLM reads images with torchvision, whose builds on the package index are for CUDA. Beside a torch
for the CPU such a build lacks its compiled operators: none of them is used, and two have to be
known by name when it is imported. It lies apart, so that no other test imports it, and is on the
path of this script and of vLLM's processes alone: pytest imports this file, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

if __name__ in ("__main__", "__mp_main__"):
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(sys.prefix) / "vision")]
    if torch.version.cuda is None and "+cpu" not in version("torchvision"):
        for operator in ("nms", "qnms"):
            arguments = "(Tensor dets, Tensor scores, float iou_threshold)"
            torch.library.define(f"torchvision::{operator}", f"{arguments} -> Tensor")


async def prompts(loaded: Any) -> list[list[int]]:
    """Return the token ids that vLLM computes of the documents for the last query."""
    from support.vision import queries_and_documents

    from shared_core.images.reading import read_requests
    from shared_core.prompt import DEFAULT_INSTRUCTION
    from shared_core.scoring import ScoreRequest

    queries, documents = queries_and_documents()
    (request,) = read_requests([ScoreRequest(queries[-1], DEFAULT_INSTRUCTION, documents)])
    maker = loaded.begin()
    group = maker.encode(request.instruction, request.query, request.documents)
    given = [maker.prompt(group.prefix_ids + document.ids) for document in group.documents]
    rendered = await loaded.engine.renderer.render_cmpl_async(given)
    return [list(one["prompt_token_ids"]) for one in rendered]


def main() -> None:
    from support.vision import drawn, queries_and_documents
    from with_vllm.engines import vllm_reranker

    from shared_core import Content
    from shared_core.errors import ImageError

    queries, documents = queries_and_documents()
    many = Content(images=[drawn(1500, 1500, seed) for seed in range(3)])  # 5,292 tokens
    with vllm_reranker(sys.argv[1], max_length=4096) as reranker:
        judged = [reranker.judge(query, documents) for query in queries]
        scorer: Any = reranker.scorer
        ids = asyncio.run_coroutine_threadsafe(prompts(scorer.load()), scorer._host.loop).result()
        refusal = ""
        try:
            reranker.judge("query", [documents[0], documents[0], many])
        except ImageError as error:
            refusal = str(error)
    rows = [[(one.logit, one.n_tokens) for one in row] for row in judged]
    sys.stdout.write(json.dumps({"judged": rows, "ids": ids, "refusal": refusal}) + "\n")


if __name__ == "__main__":  # vLLM's processes import this file
    main()
