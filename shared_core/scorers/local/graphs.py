"""Forwards of few documents as CUDA graphs: recorded once, then started as one piece of work.

A few documents are computed faster than Python can start their kernels, some 25 a layer. A graph
has fixed sizes, so a pack is filled up to the sizes of its bucket with tokens that nothing reads:
no query attends to them, and no answer is read from them. Packs of a bucket are filled up whether
they are replayed or not, so a document's margin is the same, bit by bit, either way.

Recording follows the rules of torch's notes on CUDA semantics: warmed up on a side stream, one
recording at a time in a process, memory of its own, nothing read by the host. All graphs share this
memory, which the notes allow: they run one after another, and what they return is outside of it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Protocol

import torch
from torch import Tensor

from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.buckets import Bucket, Filled, bucket_of, filled
from shared_core.scorers.local.flash import FlashAttention
from shared_core.scorers.local.inputs import Inputs
from shared_core.scorers.local.packing import Pack

logger = logging.getLogger("qwen3_rerank")

# Graphs that are kept, and the part of a device's memory that they may take.
_MOST_GRAPHS = 64
_SHARE_OF_MEMORY = 1 / 16
_WARM_UPS = 3
# A replay computes what was computed before it was recorded; a wrong one is off by whole ones.
_TOLERANCE = 0.05

Replay = Callable[[], None]
"""Does recorded work again, on the same memory."""


class Recorder(Protocol):
    """Records work on a device.

    Attributes:
        n_bytes: The memory that all recorded work takes.
    """

    n_bytes: int

    def __call__(self, work: Callable[[], None]) -> Replay:
        """Do the work once or more often, and return what does it again."""


class CudaRecorder:
    """Records CUDA graphs, which share their memory.

    Args:
        device: A CUDA device, the current one.
    """

    # torch allows one recording at a time in a process.
    _one_at_a_time = threading.Lock()

    def __init__(self, device: torch.device) -> None:
        self.n_bytes = 0
        self._device = device
        self._warming, self._recording = _side_streams(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Replay:
        """Return the replay of some work; see `Recorder.__call__`."""
        graph, present = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        # The outer context makes the present stream the current one again, whatever fails inside.
        with self._one_at_a_time, torch.cuda.stream(present):
            self._warming.wait_stream(present)
            with torch.cuda.stream(self._warming):
                for _ in range(_WARM_UPS):
                    work()
            present.wait_stream(self._warming)
            torch.cuda.empty_cache()  # as the next line does, so that the difference is the graph's
            before = torch.cuda.memory_reserved(self._device)
            # Other threads of the program may go on using the device meanwhile.
            with torch.cuda.graph(
                graph, self._pool, self._recording, capture_error_mode="thread_local"
            ):
                work()
            self.n_bytes += max(torch.cuda.memory_reserved(self._device) - before, 0)
        return graph.replay


@cache
def _side_streams(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """Return the streams of a device for warming up and for recording.

    cuBLAS keeps memory for each stream that it was used on. It is taken when it is first used; what
    is first used in a recording is in the memory of the graphs, where it cannot become another's.
    """
    warming, recording = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
    return warming, recording


class Graph:
    """The recorded forward of a bucket.

    Args:
        backbone: Computes it.
        example: A pack of the bucket, on the device.
        record: Records it.
    """

    def __init__(self, backbone: Backbone, example: Filled, record: Recorder) -> None:
        mine = replace(example, values=example.values.clone())
        hidden = backbone.hidden(mine.inputs())

        def work() -> None:
            hidden.copy_(backbone.hidden(mine.inputs()))

        self._values, self._hidden = mine.values, hidden
        self._replay = record(work)
        # What the next replay reads and returns must be its own.
        self._values.zero_()
        self._hidden.zero_()

    def __call__(self, pack: Filled) -> Tensor:
        """Return the last hidden states of the pack's documents, Shape (n, w) float32."""
        self._values.copy_(pack.values)
        self._replay()
        return self._hidden[: pack.n_documents].clone()


class Graphs:
    """The forwards of a backbone, replayed where a graph of their sizes is recorded.

    A graph is recorded when a bucket comes for the second time. The first that cannot be recorded,
    or whose replay computes something else, is the last that is tried.

    Args:
        backbone: Computes all forwards; its attention is by the variable-length kernel.
        make_recorder: Returns a recorder with memory of its own.
        most_bytes: The memory of graphs, from which on they are let go and recorded anew.
        most_graphs: Graphs that are kept; the one that was unused for longest is let go.
    """

    def __init__(
        self,
        backbone: Backbone,
        make_recorder: Callable[[], Recorder],
        most_bytes: int,
        most_graphs: int = _MOST_GRAPHS,
    ) -> None:
        self._backbone, self._make_recorder = backbone, make_recorder
        self._most_bytes, self._most_graphs = most_bytes, most_graphs
        self._record: Recorder | None = None
        self._seen: set[Bucket] = set()
        self._graphs: OrderedDict[Bucket, Graph] = OrderedDict()  # the latest used last
        self.is_usable = True

    def plan(self, pack: Pack) -> Inputs | Filled:
        """Return what the forward of a pack reads; see `Backbone.plan`."""
        bucket = bucket_of(pack) if self.is_usable else None
        if bucket is None:
            return self._backbone.plan(pack)
        return filled(pack, bucket).on(self._backbone.device)

    def last_hidden(self, pack: Pack) -> Tensor:
        """Return the normed last hidden state of each document, Shape (n, w) float32."""
        planned = pack.inputs or self.plan(pack)
        if isinstance(planned, Inputs):
            return self._backbone.hidden(planned)
        graph = self._graph(planned)
        return self._plainly(planned) if graph is None else graph(planned)

    def _plainly(self, pack: Filled) -> Tensor:
        return self._backbone.hidden(pack.inputs())[: pack.n_documents]

    def _graph(self, pack: Filled) -> Graph | None:
        """Return the graph of a pack, which may be recorded for it."""
        bucket = pack.bucket
        if bucket in self._graphs:
            self._graphs.move_to_end(bucket)
            return self._graphs[bucket]
        if not self.is_usable or bucket not in self._seen:
            self._seen.add(bucket)
            return None
        if self._record is None or self._record.n_bytes > self._most_bytes:
            self._graphs.clear()
            self._record = None  # and its memory, before there is other
        try:
            self._record = self._record or self._make_recorder()
            graph = Graph(self._backbone, pack, self._record)
            agrees = torch.allclose(graph(pack), self._plainly(pack), rtol=0, atol=_TOLERANCE)
        except Exception as error:  # noqa: BLE001  # whatever it is, the forward does without
            logger.debug("no CUDA graphs on %s: %s", self._backbone.device, error)
            self._give_up()
            return None
        if not agrees:
            logger.warning(
                "a CUDA graph on %s does not compute what was recorded, so there are none; scores "
                "are right, only few documents are slower",
                self._backbone.device,
            )
            self._give_up()
            return None
        self._graphs[bucket] = graph
        if len(self._graphs) > self._most_graphs:
            self._seen.discard(self._graphs.popitem(last=False)[0])
        return graph

    def _give_up(self) -> None:
        self.is_usable, self._record = False, None
        self._graphs.clear()


def with_graphs(backbone: Backbone) -> Backbone | Graphs:
    """Return a backbone with graphs where there are any: in half precision on CUDA."""
    if backbone.device.type != "cuda" or not isinstance(backbone.attention, FlashAttention):
        return backbone
    total = torch.cuda.get_device_properties(backbone.device).total_memory
    make_recorder = partial(CudaRecorder, backbone.device)
    return Graphs(backbone, make_recorder, int(_SHARE_OF_MEMORY * total))
