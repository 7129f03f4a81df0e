"""Many questions at once: concurrent calls on one model, and one call that packs them together."""

from __future__ import annotations

import asyncio
import os

from corpus import load_passages, load_questions

from qwen3_rerank import Reranker

MODEL = os.environ.get("QWEN3_RERANK_MODEL", "tiny")


async def main() -> None:
    questions = [question.text for question in load_questions()[:6]]
    passages = [passage.text for passage in load_passages()[:12]]
    async with Reranker(MODEL) as reranker:
        concurrent = await asyncio.gather(
            *(reranker.arerank(question, passages, top_k=1) for question in questions)
        )
        together = await reranker.arerank_many(questions, [passages] * len(questions), top_k=1)
    agree = [one.index for (one,) in concurrent] == [one.index for (one,) in together]
    print(f"both ways agree: {agree}")
    for question, (best,) in zip(questions, together, strict=True):
        print(f"{best.score:.4f}  {question}\n        {best.document[:70]}…")


if __name__ == "__main__":
    asyncio.run(main())
