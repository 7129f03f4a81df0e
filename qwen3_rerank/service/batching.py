"""Dynamic batching: requests that wait at the same time share a forward pass.

One task hands batches to the model, each of about one forward's tokens. What arrives while one is
being scored waits for the next; when nothing is, a request waits a few milliseconds for company. A
submission too large for one batch is scored slice by slice, in turn with the others
(fair_queue.py), so that a thousand documents or queries do not keep everybody waiting. A batch that
nobody waits for any more is cancelled: a local model stops before its next pack, and a server's
requests are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from qwen3_rerank.service.costs import Costs
from qwen3_rerank.service.fair_queue import FairQueue, Job, Slice, Submission
from qwen3_rerank.service.metrics import Metrics
from shared_core.errors import ClosedError
from shared_core.scoring import Scored, ScoreRequest

Score = Callable[[Sequence[ScoreRequest]], Awaitable[Sequence[Sequence[Scored]]]]


class QueueFullError(Exception):
    """There is no room; try again in ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Scheduler:
    """Collects jobs into batches and gives each its answer.

    Args:
        wait: Seconds that a job may wait for company while the model is idle.
        max_queue: The most submissions accepted and unanswered.
        max_documents: The most documents of them; a submission alone may have more.
        parallel: Batches under way at once: 1 for a model here, more for a server.
    """

    def __init__(
        self,
        score: Score,
        metrics: Metrics,
        *,
        wait: float,
        max_queue: int,
        max_documents: int,
        parallel: int = 1,
    ) -> None:
        self.budget = 4096
        self._score = score
        self._metrics = metrics
        self._wait = wait
        self._max_queue = max_queue
        self._max_documents = max_documents
        self._parallel = parallel
        self._waiting = FairQueue()
        self._arrived = asyncio.Event()
        self._submissions = 0
        self._documents = 0
        self._by_key: dict[str | None, tuple[int, int]] = {}  # submissions, documents
        self._costs = Costs(parallel)
        self._batches: dict[asyncio.Task[None], list[Slice]] = {}
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to score."""
        self._loop = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop scoring; waiting requests fail."""
        tasks = [*self._batches, *([self._loop] if self._loop is not None else [])]
        for task in tasks:
            task.cancel()
        for job in self._waiting:
            if not job.answer.done():
                job.answer.set_exception(ClosedError("the service was stopped"))
        self._waiting.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(
        self, requests: Sequence[ScoreRequest], key: str | None = None, *, share: float = 1.0
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request; cancelled, free the place at once.

        Args:
            requests: The requests to score; they share one turn.
            key: The key that sent them; keys take turns.
            share: The share of the queue that a key may fill.

        Raises:
            QueueFullError: There is no room.
            RerankError: These requests, and no others, could not be scored.
        """
        n_documents = sum(len(request.documents) for request in requests)
        if self._is_full(n_documents, self._submissions, self._documents, 1.0) or self._is_full(
            n_documents, *self._by_key.get(key, (0, 0)), share
        ):
            raise QueueFullError(self._costs.seconds_for(self._documents))
        self._count(key, 1, n_documents)
        future = asyncio.get_running_loop().create_future
        now = time.monotonic()
        jobs = [Job.of(request, future(), now) for request in requests]
        waiting = [job for job in jobs if job.request.documents]
        for job in jobs:
            if not job.request.documents:
                job.answer.set_result([])
        try:
            self._waiting.add(key, waiting)
            if waiting:
                self._arrived.set()
            answers = await asyncio.gather(*(job.answer for job in jobs))
        except BaseException:
            self._forget(jobs)
            raise
        finally:
            self._count(key, -1, -n_documents)
        return [
            job.in_order_of(request, scored)
            for request, job, scored in zip(requests, jobs, answers, strict=True)
        ]

    def _forget(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.answer.cancel()
        self._waiting.remove(jobs)
        for task, batch in self._batches.items():
            if all(part.job.answer.done() for part in batch):
                task.cancel()

    def _is_full(self, more: int, submissions: int, documents: int, share: float) -> bool:
        """Return whether some documents more are too many for a share of the queue."""
        return submissions >= max(1, share * self._max_queue) or (
            documents > 0 and documents + more > share * self._max_documents
        )

    def _count(self, key: str | None, submissions: int, documents: int) -> None:
        self._submissions += submissions
        self._documents += documents
        of_key = self._by_key.get(key, (0, 0))
        self._by_key[key] = of_key[0] + submissions, of_key[1] + documents
        if not self._by_key[key][0]:
            del self._by_key[key]
        self._metrics.queued_requests.set(self._submissions)
        self._metrics.queued_documents.set(self._documents)

    async def _run(self) -> None:
        # One more than are under way: a full batch is handed over before the one in front of it
        # ends, so that the model never waits for the event loop.
        slots = asyncio.Semaphore(self._parallel + 1)

        def ended(task: asyncio.Task[None]) -> None:
            del self._batches[task]
            slots.release()
            self._arrived.set()

        while True:
            await self._arrived.wait()
            await slots.acquire()
            await self._wait_for_company()
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                slots.release()
                continue
            task = asyncio.get_running_loop().create_task(self._score_batch(batch))
            self._batches[task] = batch
            task.add_done_callback(ended)

    async def _wait_for_company(self) -> None:
        """Wait until there is work for a batch, or the model is free and the oldest job has waited
        long enough.
        """
        while self._waiting and self._estimate_of_waiting() < self.budget:
            left = None
            if len(self._batches) < self._parallel:
                oldest = min(job.arrived for job in self._waiting)
                left = oldest + self._wait - time.monotonic()
                if left <= 0:
                    return
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)
            self._arrived.set()

    def _estimate_of_waiting(self) -> float:
        total = 0.0
        for job in self._waiting:
            total += self._costs.of_prefix(job)
            for n_bytes in job.document_bytes[job.next :]:
                total += self._costs.of_document(n_bytes)
                if total >= self.budget:
                    return total
        return total

    def _take(self) -> list[Slice]:
        """Return the next batch: about one budget of tokens, at most half of it per turn."""
        slices: dict[int, Slice] = {}
        room = float(self.budget)
        while (submission := self._waiting.first()) is not None:
            share = min(room, self.budget / 2) if self._waiting.is_shared else room
            spent = self._fill(slices, submission, share, room)
            if not spent:
                break
            room -= spent
            self._waiting.end_turn()
        if slices:
            self._metrics.batch_fill.observe((self.budget - room) / self.budget)
        return list(slices.values())

    def _fill(
        self, slices: dict[int, Slice], submission: Submission, share: float, room: float
    ) -> float:
        """Add one turn of a submission to a batch, and return its estimated tokens.

        Its first document is taken if there is room for it, or nothing else in the batch; more of
        them as long as they fit into its share.
        """
        spent = 0.0
        while submission:
            job = submission[0]
            if job.answer.done():
                submission.popleft()
                continue
            while job.has_more:
                cost = self._costs.of_document(job.document_bytes[job.next])
                if id(job) not in slices:
                    cost += self._costs.of_prefix(job)
                if slices and spent + cost > (share if spent else room):
                    return spent
                if job.next == 0:
                    self._metrics.queue_seconds.observe(time.monotonic() - job.arrived)
                part = slices.setdefault(id(job), Slice(job, job.next, job.next))
                spent += cost
                job.next += 1
                part.stop = job.next
            submission.popleft()
        return spent

    async def _score_batch(self, batch: list[Slice]) -> None:
        """Score a batch; if it fails, each of its slices alone, so that only the culprit fails."""
        self._metrics.batch_requests.observe(len(batch))
        self._metrics.batch_documents.observe(sum(part.stop - part.start for part in batch))
        started = time.monotonic()
        try:
            answers = await self._score([part.request for part in batch])
        except asyncio.CancelledError:
            for part in batch:
                part.job.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, its callers are to hear it
            if len(batch) == 1:
                self._fail(batch[0].job, error)
            else:
                for part in batch:
                    if not part.job.answer.done():
                        await self._score_batch([part])
            return
        seconds = time.monotonic() - started
        self._metrics.count(answers)
        self._metrics.batch_seconds.observe(seconds)
        sizes = [size for part in batch for size in part.prompt_bytes]
        self._costs.learn(zip(sizes, chain.from_iterable(answers), strict=True), seconds)
        for part, scored in zip(batch, answers, strict=True):
            self._add(part, scored)

    def _fail(self, job: Job, error: Exception) -> None:
        self._metrics.errors.labels(type(error).__name__).inc()
        if not job.answer.done():
            job.answer.set_exception(error)

    def _add(self, part: Slice, scored: Sequence[Scored]) -> None:
        job = part.job
        job.scored.update(zip(range(part.start, part.stop), scored, strict=True))
        if len(job.scored) == len(job.request.documents) and not job.answer.done():
            job.answer.set_result([job.scored[index] for index in range(len(job.scored))])
