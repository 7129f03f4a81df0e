"""The order of work on a device: planned ahead, read late, and nothing started that nobody awaits.

What happens is noted by a forward on the CPU, whose device is called by another name: so the scorer
takes it for one that computes while it does other things.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared_core import Reranker
from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.inputs import Inputs
from shared_core.scorers.local.packing import Pack

DOCUMENTS = ["a " * 30, "b " * 20, "c " * 10]  # in the order of their packs
ONE_AFTER_ANOTHER = [
    *("plan 0", "start 0"),
    *("plan 1", "read 0", "start 1"),
    *("plan 2", "read 1", "start 2"),
    "read 2",
]


class Margins(Tensor):
    """Margins that note when they are read."""

    noted: Callable[[], None]

    def tolist(self) -> Any:
        self.noted()
        return super().tolist()


class Noting:
    """A forward that notes what happens.

    Attributes:
        events: What happened to which pack of which query, in order.
        at_start: Called when a pack starts.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._numbers: dict[str, int] = {}
        self.events: list[str] = []
        self.at_start: Callable[[], object] = lambda: None

    def _note(self, what: str, pack: Pack) -> None:
        """Packs are numbered by their lengths, as they come."""
        number = self._numbers.setdefault(str(pack.ids), len(self._numbers))
        self.events.append(f"{what} {number}")

    def plan(self, pack: Pack) -> Inputs:
        self._note("plan", pack)
        return self._backbone.plan(pack)

    def last_hidden(self, pack: Pack) -> Tensor:
        self._note("start", pack)
        self.at_start()
        hidden = self._backbone.last_hidden(pack)
        note = lambda: self._note("read", pack)  # noqa: E731
        margins = type("OfThePack", (Margins,), {"noted": staticmethod(note)})
        return hidden.as_subclass(margins)


@pytest.fixture(params=["cpu", "another"])
def noting(request: pytest.FixtureRequest, checkpoint: Path) -> Any:
    """A reranker of one document a pack, and the notes of its forward."""
    with Reranker(str(checkpoint), dtype="float32", device="cpu", max_batch_tokens=1) as reranker:
        scorer: Any = reranker.scorer
        loaded = scorer.load()
        noted = Noting(loaded.backbone)
        name = "cpu" if request.param == "cpu" else "meta"
        scorer._loaded = replace(loaded, forward=noted, device=torch.device(name))
        yield reranker, noted


def test_a_pack_is_planned_before_the_one_in_front_is_read(noting: Any, reranker: Reranker) -> None:
    expected = reranker.score("query", DOCUMENTS)
    mine, noted = noting
    assert mine.score("query", DOCUMENTS) == pytest.approx(expected, abs=1e-6)
    assert noted.events == ONE_AFTER_ANOTHER


def test_a_query_is_encoded_while_the_one_in_front_is_computed(noting: Any) -> None:
    """On a device that computes meanwhile; on a CPU all are, so that mistakes come first."""
    mine, noted = noting
    scorer = mine.scorer
    begin = scorer._loaded.begin

    def beginning() -> Any:
        call = begin()
        encode = call.encode

        def encoding(*arguments: Any) -> Any:
            noted.events.append("encode")
            return encode(*arguments)

        call.encode = encoding
        return call

    scorer._loaded = replace(scorer._loaded, begin=beginning)
    queries = ["one", "two", "and three"]
    judged = mine.score_pairs([(query, DOCUMENTS[0]) for query in queries])
    on_cpu = scorer._loaded.device.type == "cpu"
    last = ONE_AFTER_ANOTHER[2:]
    assert noted.events == (
        [*["encode"] * 3, *ONE_AFTER_ANOTHER]
        if on_cpu
        else ["encode", "encode", "plan 0", "start 0", "encode", *last]
    )
    for query, found in zip(queries, judged, strict=True):
        (score,) = mine.score(query, DOCUMENTS[:1])
        assert found.score == pytest.approx(score, abs=1e-6)


async def test_a_cancelled_call_starts_no_pack_more(noting: Any) -> None:
    mine, noted = noting
    started, cancelled = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        assert cancelled.wait(60)

    noted.at_start = wait
    call = asyncio.create_task(mine.ascore("query", DOCUMENTS))
    await asyncio.to_thread(started.wait, 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    cancelled.set()
    await mine.ascore("another", ["d"])  # which comes after all that is left of the other
    assert [event for event in noted.events if event.startswith("start")] == [
        "start 0",
        noted.events[-2],
    ]
    assert noted.events[-1].startswith("read")
    noted.at_start = lambda: None
    assert len(await mine.ascore("query", DOCUMENTS)) == 3


async def test_what_another_call_needs_is_planned_before_the_first_is_read(noting: Any) -> None:
    """On a device that computes meanwhile; a CPU computes one pack after the other anyway."""
    mine, noted = noting
    started, submitted = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        assert submitted.wait(60)

    noted.at_start = wait
    first = asyncio.create_task(mine.ascore("query", DOCUMENTS[:1]))
    await asyncio.to_thread(started.wait, 60)
    second = asyncio.create_task(mine.ascore("another query", DOCUMENTS[:1]))
    while len(mine.scorer._worker._jobs) < 2:  # until it waits for its turn
        await asyncio.sleep(0.001)
    submitted.set()
    await asyncio.gather(first, second)
    overlapping = ["plan 0", "start 0", "plan 1", "start 1", "read 0", "read 1"]
    in_turn = ["plan 0", "start 0", "read 0", "plan 1", "start 1", "read 1"]
    on_cpu = mine.scorer.load().device.type == "cpu"
    assert noted.events == (in_turn if on_cpu else overlapping)
