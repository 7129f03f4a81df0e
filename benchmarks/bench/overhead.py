"""Times of what surrounds the model: tokenising, adapters, imports and loading."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.bench.contestants import OURS, RECIPE, Contestant
from benchmarks.bench.imports import import_times
from benchmarks.bench.players.base import Setup
from benchmarks.bench.process import ContestantError, WorkerProcess, can_import
from benchmarks.bench.summary import spread
from benchmarks.bench.workloads import Workload
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.encoding import PairEncoder

_ADAPTER_DOCUMENTS = 200
_ADAPTER_CALLS = 30


def overhead(
    workloads: Sequence[Workload],
    encoder: PairEncoder,
    everybody: Sequence[Contestant],
    setup: Setup,
    say: Callable[[str], None],
    *,
    repeats: int,
    timeout: float,
) -> dict[str, Any]:
    """Return the times of everything outside the model.

    ``tokenising``: seconds by workload. ``adapters``: µs per document that a framework's call takes
    over a `Reranker`'s own, with a backend that costs nothing. ``imports``: see
    `benchmarks.bench.imports`. ``loading``: seconds to read the checkpoint, and of the first call
    after it, for this library and the model card's recipe.
    """
    say("around the model: tokenising, adapters, imports, loading")
    return {
        "tokenising": {work.name: _tokenising_seconds(work, encoder) for work in workloads},
        "adapters": _adapters(),
        "imports": import_times(repeats),
        "loading": loading(everybody, setup, repeats, timeout),
    }


def _tokenising_seconds(workload: Workload, encoder: PairEncoder) -> float:
    def encode() -> None:
        for request in workload.requests:
            encoder.encode(DEFAULT_INSTRUCTION, request.query, request.documents)

    return statistics.median(_seconds(encode) for _ in range(5))


def _adapters() -> dict[str, dict[str, float]]:
    """Return µs per document for each framework that is installed, median and quartiles."""
    found = {}
    if can_import(sys.executable, "langchain_core"):
        found["langchain"] = _overhead(_langchain_call)
    if can_import(sys.executable, "llama_index.core"):
        found["llama-index"] = _overhead(_llama_index_call)
    return found


class _FreeScorer:
    """A backend that answers at once, to time what surrounds it."""

    def score(
        self,
        query: str,  # noqa: ARG002  # the protocol's
        documents: Sequence[str],
        *,
        instruction: str,  # noqa: ARG002  # the protocol's
    ) -> list[float]:
        return [float(len(document) % 7) for document in documents]


def _overhead(make: Callable[[Any, list[str]], Callable[[], Any]]) -> dict[str, float]:
    from shared_core import Reranker

    texts = [
        f"{number}: " + "a sentence of some words. " * 30 for number in range(_ADAPTER_DOCUMENTS)
    ]
    reranker = Reranker("tiny", scorer=_FreeScorer())
    adapter = make(reranker, texts)

    def plain() -> None:
        reranker.rerank("question", texts)

    adapter()
    plain()
    pairs = [(_seconds(adapter), _seconds(plain)) for _ in range(_ADAPTER_CALLS)]
    over = [(mine - own) / _ADAPTER_DOCUMENTS * 1e6 for mine, own in pairs]
    return spread(over).model_dump()


def _langchain_call(reranker: Any, texts: list[str]) -> Callable[[], Any]:
    from langchain_core.documents import Document

    from langchain_qwen3_rerank import Qwen3Rerank

    adapter = Qwen3Rerank(reranker=reranker, top_k=None)
    documents = [Document(text, metadata={"source": "here", "page": 1}) for text in texts]
    return lambda: adapter.compress_documents(documents, "question")


def _llama_index_call(reranker: Any, texts: list[str]) -> Callable[[], Any]:
    from llama_index.core.schema import NodeWithScore, TextNode

    from llama_index_qwen3_rerank import Qwen3Rerank

    adapter = Qwen3Rerank(reranker=reranker, top_k=None)
    nodes = [
        NodeWithScore(node=TextNode(text=text, metadata={"source": "here", "page": 1}), score=0.5)
        for text in texts
    ]
    return lambda: adapter.postprocess_nodes(nodes, query_str="question")


def loading(
    everybody: Sequence[Contestant], setup: Setup, repeats: int, timeout: float
) -> dict[str, dict[str, Any]]:
    """Return seconds of loading and of the first call, each time in a fresh process."""
    playing = [peer for peer in everybody if peer.name in (OURS, RECIPE) and not peer.absent]
    samples: dict[str, list[Mapping[str, float]]] = {peer.name: [] for peer in playing}
    for _ in range(repeats):
        for contestant in playing:
            worker = WorkerProcess(
                contestant.python, contestant.kind, setup, contestant.environment, timeout
            )
            try:
                worker.ask(do="import")
                samples[contestant.name].append(
                    worker.ask(do="load", variant=dict(contestant.variants[0]))
                )
            except ContestantError:
                continue
            finally:
                worker.end()
    return {
        name: {
            part: spread([sample[part] for sample in some]).model_dump()
            for part in ("seconds", "first_call")
        }
        for name, some in samples.items()
        if some
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
