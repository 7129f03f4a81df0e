"""The queue of the service: keys take turns, and so do the submissions of a key.

A submission may hold a thousand queries. If each of them had a turn, one caller would keep all
others waiting, so the turn belongs to the submission, and before that to the key that sent it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from shared_core.images.content import Content, size_of, text_of
from shared_core.scoring import Scored, ScoreRequest


@dataclass(slots=True, eq=False)
class Job:
    """One query with distinct documents, of which the first ``next`` were handed out.

    Attributes:
        request: The query and its distinct documents.
        answer: Receives one `Scored` per document.
        arrived: Seconds on the monotonic clock.
        prefix_bytes: The UTF-8 bytes of query and instruction.
        document_bytes: The UTF-8 bytes of each document.
        scored: The scores so far, by index of the document.
        next: The first document that was not handed out.
    """

    request: ScoreRequest
    answer: asyncio.Future[list[Scored]]
    arrived: float
    prefix_bytes: int
    document_bytes: list[int]
    scored: dict[int, Scored] = field(default_factory=dict)
    next: int = 0

    @classmethod
    def of(cls, request: ScoreRequest, answer: asyncio.Future[list[Scored]], now: float) -> Job:
        """Return the job of a request that arrives now."""
        distinct = list(dict.fromkeys(request.documents))
        return cls(
            ScoreRequest(request.query, request.instruction, distinct),
            answer,
            now,
            _n_bytes(request.query) + _n_bytes(request.instruction),
            [_n_bytes(document) for document in distinct],
        )

    def in_order_of(self, request: ScoreRequest, scored: Sequence[Scored]) -> list[Scored]:
        """Return the answer, of distinct documents, for each document of the whole request."""
        by_text = dict(zip(self.request.documents, scored, strict=True))
        return [by_text[document] for document in request.documents]

    @property
    def has_more(self) -> bool:
        """Whether a document was not handed out."""
        return self.next < len(self.request.documents)


@dataclass(slots=True)
class Slice:
    """Documents ``start … stop`` of a job, to be scored now."""

    job: Job
    start: int
    stop: int

    @property
    def prompt_bytes(self) -> list[int]:
        """The UTF-8 bytes of each document with its query and instruction."""
        own = self.job.document_bytes[self.start : self.stop]
        return [self.job.prefix_bytes + n_bytes for n_bytes in own]

    @property
    def request(self) -> ScoreRequest:
        whole = self.job.request
        return ScoreRequest(whole.query, whole.instruction, whole.documents[self.start : self.stop])


Submission = deque[Job]
"""The jobs of one request that have documents left, in order."""


class FairQueue:
    """Submissions by the key that sent them. ``None`` is the key of those without one."""

    def __init__(self) -> None:
        self._by_key: dict[str | None, deque[Submission]] = {}

    def __iter__(self) -> Iterator[Job]:
        """Yield all jobs, those whose turn comes first in front."""
        for submissions in self._by_key.values():
            for submission in submissions:
                yield from submission

    def __bool__(self) -> bool:
        return bool(self._by_key)

    @property
    def is_shared(self) -> bool:
        """Whether more than one submission waits."""
        return sum(map(len, self._by_key.values())) > 1

    def add(self, key: str | None, jobs: Collection[Job]) -> None:
        """Take in a submission; its turn comes after those of its key that wait already."""
        if jobs:
            self._by_key.setdefault(key, deque()).append(deque(jobs))

    def first(self) -> Submission | None:
        """Return the submission whose turn it is, without jobs that nobody waits for any more."""
        while self._by_key:
            submission = next(iter(self._by_key.values()))[0]
            while submission and submission[0].answer.done():
                submission.popleft()
            if submission:
                return submission
            self.end_turn()
        return None

    def end_turn(self) -> None:
        """Put the first submission, and its key, behind the others; drop what has no jobs left."""
        key = next(iter(self._by_key))
        submissions = self._by_key.pop(key)
        submission = submissions.popleft()
        if submission:
            submissions.append(submission)
        if submissions:
            self._by_key[key] = submissions

    def remove(self, jobs: Collection[Job]) -> None:
        """Take jobs out."""
        dropped = set(map(id, jobs))
        for key, submissions in list(self._by_key.items()):
            kept = [
                deque(job for job in submission if id(job) not in dropped)
                for submission in submissions
            ]
            self._by_key[key] = deque(submission for submission in kept if submission)
            if not self._by_key[key]:
                del self._by_key[key]

    def clear(self) -> None:
        """Forget all."""
        self._by_key.clear()


def _n_bytes(item: str | Content) -> int:
    seen = size_of(item) - len(text_of(item))
    return len(text_of(item).encode("utf-8", "surrogatepass")) + seen
