"""Reranking through a server that fails: is every answer right, and does every call get one?

    python -m benchmarks.faults --requests 10000 --plot benchmarks/results/faults.png
    PYTHONPATH=tests python -m benchmarks.faults --server llamacpp --requests 10000

A client asks for rankings, 32 at a time, and compares each with that of the same model in its own
process. Between the two are a relay that can cut replies in the middle, nginx, which buffers
replies, and a server as a process, all real and all on loopback: the service of this project,
llama.cpp's, or LiteLLM's proxy in front of the service (`make test-servers` installs both). In
turn: quiet; replies are cut; the server is stopped for a second, again and again, so that it is
slow; it is killed and started again, and then the server behind it, if there is one; there is room
for 4 requests, so that 429 comes, with ``Retry-After`` and without, from the service's own queue,
or, as llama.cpp's server takes any number, from nginx.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fault_processes import Process, make
from benchmarks.fault_servers import Nginx, Relay
from shared_core import Reranker, RerankError

_WORDS = ["the", "red", "planet", "is", "cold", "and", "moons", "are", "small", "火星", "月亮"]
_DISTINCT = 200  # requests at most, which come again in turn
_AT_ONCE = 32
_PAUSES, _KILLS = 30, 12  # of a phase


@dataclass
class Phase:
    """What happened in one phase.

    Attributes:
        seconds: Of each call that was answered.
        errors: Calls that raised, by the error's class.
        wrong: Answers that are not the right ranking.
        finished: When each answered call ended, in seconds after the run began.
        connections: The most that the client held at once.
        memory: MiB, the client's and the server's, at the end of the phase.
        events: How often it failed.
    """

    name: str
    started: float = 0.0
    ended: float = 0.0
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    finished: list[float] = field(default_factory=list)
    connections: int = 0
    memory: dict[str, float] = field(default_factory=dict)
    events: int = 0

    def row(self) -> str:
        """Return a line of the table in docs/reliability.md."""
        ordered = sorted(self.seconds) or [0.0]
        middle, late = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
        cells = [
            self.name,
            self.events or "",
            len(self.seconds) + self.errors.total(),
            self.wrong,
            self.errors.total(),
            f"{middle:.2f} s",
            f"{late:.2f} s",
            f"{ordered[-1]:.1f} s",
            self.connections,
            f"{self.memory['client']:.0f}, {self.memory['server']:.0f} MiB",
        ]
        return "| " + " | ".join(map(str, cells)) + " |"


@dataclass(frozen=True)
class Question:
    """A request, and its right answer as (index, logit), best first."""

    query: str
    documents: list[str]
    answer: list[tuple[int, float]]

    def is_answered_by(self, found: list[tuple[int, float]], tolerance: float) -> bool:
        """Return whether a ranking is the right one, with logits as near as that."""
        return [index for index, _ in found] == [index for index, _ in self.answer] and all(
            abs(a - b) <= tolerance for (_, a), (_, b) in zip(found, self.answer, strict=True)
        )


def make_questions(model: str, count: int) -> list[Question]:
    """Return distinct requests of two documents, with what the model says in this process."""
    chance = random.Random(0)

    def text(length: int) -> str:
        return " ".join(chance.choices(_WORDS, k=length))

    asked = [(f"{n}: {text(4)}?", [text(6), text(9)]) for n in range(count)]
    with Reranker(model, dtype="float32", device="cpu") as reranker:
        ranked = reranker.rerank_many(*zip(*asked, strict=True))
    return [
        Question(query, documents, [(row.index, row.logit or 0.0) for row in rows])
        for (query, documents), rows in zip(asked, ranked, strict=True)
    ]


class Run:
    """The servers, the client, and what was measured so far.

    Args:
        server: What is asked, not started yet.
        model: The model that it serves.
        n_requests: Rankings, of all phases together.
        has_full_queue: Whether the server is also tried without room.
    """

    def __init__(
        self, server: Process, model: str, n_requests: int, *, has_full_queue: bool = True
    ) -> None:
        self._server = server
        self._has_full_queue = has_full_queue
        self._each = max(1, n_requests // (7 if server.behind else 6))
        self._questions = make_questions(model, min(self._each, _DISTINCT))
        self._nginx = Nginx([server.port])
        self._relay = Relay(self._nginx.port)
        self._asked = 0
        self._began = time.monotonic()
        self.phases: list[Phase] = []

    async def all_phases(self) -> None:
        """Run one phase after the other."""
        await self._relay.start()
        options: dict[str, Any] = {"max_retries": 100, "total_timeout": 1800.0, "timeout": 120.0}
        options |= {"base_url": f"http://127.0.0.1:{self._relay.port}"} | self._server.asked_with
        try:
            for server in self._servers:
                server.start()
            await self._until_ready()
            self._began = time.monotonic()
            with Reranker(max_concurrency=_AT_ONCE, **options) as client:
                await self._trouble(client)
        finally:
            await self._relay.stop()
            self._nginx.stop()
            for server in self._servers:
                server.kill()

    @property
    def _servers(self) -> list[Process]:
        behind = self._server.behind
        return [behind, self._server] if behind else [self._server]

    async def _until_ready(self) -> None:
        for server in self._servers:
            await asyncio.to_thread(server.wait_until_ready)

    async def _trouble(self, client: Reranker) -> None:
        await self._phase(client, "quiet")
        self._relay.cut_every = 20
        await self._phase(client, "replies cut")
        self._relay.cut_every = 0
        await self._phase(client, "stopped for 1 s", self._pauses)
        await self._phase(client, "killed, restarted", partial(self._kills, self._server))
        if behind := self._server.behind:
            await self._phase(client, "server behind killed", partial(self._kills, behind))
        if self._has_full_queue:
            self._server.fill()
            await self._until_ready()
            nginx, has_queue = self._nginx, self._server.has_queue
            await self._relay.turn_to(nginx.port if has_queue else nginx.full_port)
            await self._phase(client, "429 + Retry-After")
            await self._relay.turn_to(nginx.silent_port if has_queue else nginx.silent_full_port)
            await self._phase(client, "429 without")

    async def _phase(
        self,
        client: Reranker,
        name: str,
        trouble: Callable[[Phase], Awaitable[None]] | None = None,
    ) -> Phase:
        phase = Phase(name, started=time.monotonic() - self._began)
        self._relay.most_open, n_faults = self._relay.open, self._relay.n_faults
        making = asyncio.ensure_future(trouble(phase)) if trouble else None
        left = iter(range(self._each))

        async def ask_on() -> None:
            for _ in left:
                await self._ask(client, phase)

        await asyncio.gather(*(ask_on() for _ in range(_AT_ONCE)))
        if making is not None:
            making.cancel()
            with suppress(asyncio.CancelledError):
                await making
            await self._until_ready()
        phase.ended = time.monotonic() - self._began
        phase.events += self._relay.n_faults - n_faults
        phase.connections = self._relay.most_open
        phase.memory = {"client": _megabytes(None), "server": _megabytes(self._server.pid)}
        self.phases.append(phase)
        print(phase.row(), flush=True)
        return phase

    async def _ask(self, client: Reranker, phase: Phase) -> None:
        question = self._questions[self._asked % len(self._questions)]
        self._asked += 1
        started = time.monotonic()
        try:
            rows = await client.arerank(question.query, question.documents)
        except RerankError as error:
            if not phase.errors[type(error).__name__]:
                print(f"{phase.name}: {error}", file=sys.stderr)
            phase.errors[type(error).__name__] += 1
            return
        phase.wrong += not question.is_answered_by(
            [(x.index, x.logit or 0.0) for x in rows], self._server.tolerance
        )
        phase.seconds.append(time.monotonic() - started)
        phase.finished.append(time.monotonic() - self._began)

    async def _pauses(self, phase: Phase) -> None:
        while True:
            self._server.send(signal.SIGSTOP)
            phase.events += 1
            try:
                await asyncio.sleep(1)
            finally:
                self._server.send(signal.SIGCONT)
            await self._answers(phase, self._each // _PAUSES)

    async def _kills(self, server: Process, phase: Phase) -> None:
        while True:
            phase.events += 1
            server.kill()
            server.start()
            await asyncio.to_thread(server.wait_until_ready)
            await self._answers(phase, self._each // _KILLS)

    async def _answers(self, phase: Phase, count: int) -> None:
        """Return when so many more calls were answered, so that no machine sees other faults."""
        until = len(phase.seconds) + max(_AT_ONCE // 2, count)
        while len(phase.seconds) < until:
            await asyncio.sleep(0.02)


def _megabytes(pid: int | None) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    return float("nan")


def draw(phases: Sequence[Phase], path: Path) -> None:
    """Write the plot: answers a second over time, and the seconds that they took."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5))
    rate, waits = figure.subplots(2, 1, sharex=True)
    end = max(phase.ended for phase in phases)
    times = sorted(time for phase in phases for time in phase.finished)
    rate.hist(times, bins=range(int(end) + 2), color="#0b6e4f")
    rate.set_ylabel("answers a second")
    for number, phase in enumerate(phases):
        waits.scatter(phase.finished, phase.seconds, s=3, color="#1d6f8a", linewidths=0)
        for axes in (rate, waits):
            axes.axvspan(phase.started, phase.ended, color="#000000", alpha=0.05 * (number % 2))
        middle = (phase.started + phase.ended) / 2
        label = phase.name.replace(" ", "\n", 1)
        rate.text(middle, rate.get_ylim()[1], label, ha="center", va="bottom", fontsize=6.5)
    waits.set_yscale("log")
    waits.set_ylabel("seconds of a call")
    waits.set_xlabel("seconds")
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 if an answer was wrong or a call raised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--server", choices=["ours", "llamacpp", "litellm"], default="ours")
    given = parser.parse_args(arguments)
    names = "phase,faults,calls,wrong,errors,median,99 %,longest,connections,memory".split(",")  # noqa: SIM905
    print("| " + " | ".join(names) + " |")
    print("|---" * len(names) + "|")
    run = Run(make(given.server, given.model), given.model, given.requests)
    asyncio.run(run.all_phases())
    if given.plot:
        draw(run.phases, given.plot)
    return int(any(phase.wrong or phase.errors for phase in run.phases))


if __name__ == "__main__":
    raise SystemExit(main())
