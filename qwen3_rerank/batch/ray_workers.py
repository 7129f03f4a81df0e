"""Ray actors that score blocks. If an actor dies, it is replaced and its block is done again.

Ray Data has an actor pool, too, but its blocks are cut anew in every run, by the memory at hand, so
that a restart could not tell by their names what is done; its checkpoints hold the ids of all rows
in memory, and need ids that are unique. Here an actor is given the place of a block, reads it and
writes it by itself: nothing but numbers goes through Ray's object store and the driver.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.errors import BatchError
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.known_pairs import Scoring, check_same, scoring_of
from qwen3_rerank.batch.output import BlockReport
from qwen3_rerank.batch.ray_options import RayOptions
from qwen3_rerank.batch.sampling import Sample, take_sample
from qwen3_rerank.batch.scoring import BlockScorer
from qwen3_rerank.batch.source import Source
from qwen3_rerank.batch.workers import OnChunk
from shared_core.errors import MissingDependencyError
from shared_core.jobs import with_key
from shared_core.reranker import Reranker

try:
    import ray
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise MissingDependencyError("a batch on Ray", "ray") from error

logger = logging.getLogger("qwen3_rerank")
_CONNECT_SECONDS = 10.0
_PATIENCE = 60.0  # seconds without a block done, after which the log says what is waited for


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in a worker, as text, since not every exception can be pickled."""

    kind: str
    message: str


class Worker:
    """The code of an actor. Its parts are unpickled by the first call, which can report errors.

    Args:
        reranker: Pickled. It is small, so that Ray hands it over in the call itself: an object of
            the store could be spilled to a disk, with the key in it.
        rest: Job and source, pickled.
    """

    def __init__(self, reranker: bytes, rest: bytes) -> None:
        self._given = reranker, rest
        self._made: tuple[Reranker, Source, BlockScorer] | None = None
        self._is_checked = False

    def sample(self, blocks: Sequence[Block], scores: bool) -> Sample | Failure:
        """Return the measurements of a sample of the job."""
        try:
            reranker, source, _ = self._make()
            return take_sample(reranker, source, blocks, scores)
        except Exception as error:  # noqa: BLE001  # raised again by the driver
            return Failure(type(error).__name__, str(error))

    def scoring(self) -> Scoring | Failure:
        """Return the identity of the model that scores."""
        try:
            return scoring_of(self._make()[0])
        except Exception as error:  # noqa: BLE001  # raised again by the driver
            return Failure(type(error).__name__, str(error))

    def run(self, block: Block, expected: Scoring | None) -> BlockReport | Failure:
        """Score a block, if this worker scores as expected."""
        try:
            reranker, _, scorer = self._make()
            if expected is not None and not self._is_checked:
                check_same(expected, scoring_of(reranker))
                self._is_checked = True
            return scorer.run(block)
        except Exception as error:  # noqa: BLE001  # raised again by the driver
            return Failure(type(error).__name__, str(error))

    def _make(self) -> tuple[Reranker, Source, BlockScorer]:
        if self._made is None:
            reranker, (job, source) = (ray.cloudpickle.loads(part) for part in self._given)
            self._made = reranker, source, BlockScorer(reranker, job, source)
        return self._made


class RayWorkers:
    """A pool of actors.

    Args:
        options: Where, how many, and what each is given.
        reranker: The backend that scores; every actor has a copy.
        blocks: The number of blocks to score; no more actors are started.

    Raises:
        BatchError: The cluster cannot be reached, or has not what a single worker needs.
    """

    def __init__(
        self, options: RayOptions, reranker: Reranker, job: Job, source: Source, blocks: int
    ) -> None:
        self._options = options
        self._began_ray = _connect(options.address)
        self.deaths = 0
        self.expected: Scoring | None = None
        try:
            self.count = min(blocks, self._count(reranker))
            self._actor = ray.remote(Worker).options(
                num_cpus=options.cpus,
                num_gpus=options.gpus,
                resources=dict(options.resources),
                max_restarts=0,  # replaced by us, so that its block is counted as begun again
                max_task_retries=0,
            )
            self._reranker = _pickled(with_key(reranker))
            self._rest = ray.put(_pickled((job, source)))
            self._actors = [self._new() for _ in range(self.count)]
        except BaseException:
            self.close()
            raise

    def scoring(self) -> Scoring:
        """Return the first actor's record of the model; every other actor is compared with it."""
        found: Scoring = self._by_the_first(lambda actor: actor.scoring.remote())
        return found

    def sample(self, blocks: Sequence[Block], scores: bool) -> Sample:
        """Return the measurements of a sample of the job, on the first actor."""
        sample: Sample = self._by_the_first(lambda actor: actor.sample.remote(list(blocks), scores))
        return sample

    def _by_the_first(self, call: Callable[[Any], Any]) -> Any:
        """Return the result of a call to the first actor, which is replaced if it dies."""
        for _ in range(self._options.max_deaths):
            reference = call(self._actors[0])
            while not ray.wait([reference], timeout=_PATIENCE)[0]:
                self._log_waiting(1)
            try:
                return _succeeded(ray.get(reference))
            except RayError as error:
                death = error
                self._replace(self._actors[0], error)
        raise BatchError(f"{self._options.max_deaths} workers died at the start: {death}")

    def run(self, blocks: Sequence[Block], on_chunk: OnChunk) -> Iterator[BlockReport]:
        """Yield the report of each block.

        Raises:
            BatchError: A worker failed for a reason that all would; or workers die one behind the
                other; or, when all others are done, one block has killed its workers.
        """
        del on_chunk
        most = self._options.max_deaths
        waiting = deque(blocks)
        idle = list(self._actors)
        busy: dict[Any, tuple[Any, Block]] = {}
        deaths: Counter[int] = Counter()
        in_a_row = 0
        set_aside: dict[int, str] = {}
        while waiting or busy:
            while idle and waiting:
                actor, block = idle.pop(), waiting.popleft()
                busy[actor.run.remote(block, self.expected)] = actor, block
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=_PATIENCE)
            if not ready:
                self._log_waiting(len(busy))
            for reference in ready:
                actor, block = busy.pop(reference)
                try:
                    report = _succeeded(ray.get(reference))
                except RayError as error:
                    idle.append(self._replace(actor, error))
                    deaths[block.number] += 1
                    in_a_row += 1
                    if deaths[block.number] < most:
                        waiting.appendleft(block)
                    else:
                        set_aside[block.number] = str(error)
                    if in_a_row > most * self.count:
                        raise BatchError(
                            f"{in_a_row} workers died and no block was done: {error}"
                        ) from error
                    continue
                in_a_row = 0
                idle.append(actor)
                yield report
        if set_aside:
            number, reason = min(set_aside.items())
            raise BatchError(
                f"{len(set_aside)} of {len(blocks)} blocks are not done, since each killed "
                f"{most} workers; all others are. The first is block {number}, whose rows are in "
                f"blocks.jsonl: {reason}"
            )

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        for actor in getattr(self, "_actors", []):
            ray.kill(actor)
        if self._began_ray:
            ray.shutdown()

    def _new(self) -> Any:
        return self._actor.remote(self._reranker, self._rest)

    def _replace(self, actor: Any, error: RayError) -> Any:
        """Return a new actor in the place of one that is gone, or cannot be reached."""
        logger.warning("a worker died and is replaced: %s", str(error).partition("\n")[0])
        self.deaths += 1
        ray.kill(actor)
        new = self._new()
        self._actors[self._actors.index(actor)] = new
        return new

    def _count(self, reranker: Reranker) -> int:
        """Return the number of workers."""
        options = self._options
        needs = {"CPU": options.cpus, "GPU": options.gpus, **options.resources}
        has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        fits = [int(has.get(name, 0) / need) for name, need in needs.items() if need]
        most = min(fits, default=1)
        if options.workers is not None:
            return options.workers  # a cluster that grows on demand may not have them yet
        if most < 1:
            wanted = ", ".join(f"{need:g} {name}" for name, need in needs.items() if need)
            raise BatchError(f"a worker needs {wanted}, and the whole cluster has {has}")
        return 1 if reranker.options.is_remote else most

    def _log_waiting(self, busy: int) -> None:
        logger.warning(
            "no block done for %.0f s; %d under way, or waiting for a place: the cluster has %s "
            "free",
            _PATIENCE,
            busy,
            ray.available_resources(),  # type: ignore[no-untyped-call]  # Ray's
        )


def _succeeded(found: Any) -> Any:
    """Return the result of a worker, or raise its failure."""
    if isinstance(found, Failure):
        raise BatchError(f"{found.kind} in a worker: {found.message}")
    return found


def _pickled(value: Any) -> bytes:
    """Return a value as bytes; Ray's pickle also takes functions, such as an instruction."""
    data: bytes = ray.cloudpickle.dumps(value)  # type: ignore[no-untyped-call]  # Ray's
    return data


def _connect(address: str) -> bool:
    """Connect to a cluster unless connected; return whether the connection is ours to end."""
    if ray.is_initialized():
        return False
    _check_address(address)
    is_local = address == "local"
    if is_local:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=False if is_local else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BatchError(f"no Ray cluster at {address!r}: {error}") from error
    return True


def _check_address(address: str) -> None:
    """Raise if nothing listens at ``host:port``: Ray itself would go on trying for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise BatchError(f"no Ray cluster at {address!r}: {error}") from error
