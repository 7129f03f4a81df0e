"""Comparison of scores that have to be equal, which shows who writes the prompt.

Token counts can be invented, and a status proves nothing; but equal prompts have equal scores. Two
plain pairs that differ in where the query ends are one prompt where the server writes
``<Query>: …\\n<Document>: …`` around them, and nowhere else. Two written pairs that are split at
different places are one prompt where the server joins them, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared_core.errors import ServerStatusError
from shared_core.known_pairs import PAIRS
from shared_core.prompt import DEFAULT_INSTRUCTION, HEAD
from shared_core.prompt.unwrapping import RESEMBLES
from shared_core.scorers.remote.dialects.base import Batch, Dialect, trait
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.reading import read_margins
from shared_core.scorers.remote.wrapping import wrapped_pair

INSTRUCTION = "Given a question, find the passage that answers it. " + "Read with great care. " * 8
LEAST_TOKENS = 60  # of a whole prompt: fewer than any tokenizer makes of its fixed parts
N_PAIRS = 4  # known pairs that are scored: garbage gets all of them right once in sixteen times

_KNOWN = PAIRS[:N_PAIRS]
_QUERY, *_DOCUMENTS = _KNOWN[0]
_BEFORE = "The mountain railway runs every hour from April to October."
_LABEL = "\n<Document>: "
_REFUSALS = (400, 422, 500, 501)


@dataclass(frozen=True, slots=True)
class Joined:
    """What shows whether a server joins pairs that are written here.

    Attributes:
        gap: Logits between one prompt split in two ways: noise if the server joins the parts.
        newlines: Logits between prompts with and without their last newlines: noise if the server
            strips them.
        n_right: Known pairs in the right order, of `N_PAIRS`.
        is_counted: Whether the server counts as many tokens as the prompts have at least.
    """

    gap: float
    newlines: float
    n_right: int
    is_counted: bool

    def problem(self, comparison: Comparison, there: float | None) -> str | None:
        """Return why no prompt can be written here for this server; ``None`` if one can.

        Args:
            comparison: How near equal scores are.
            there: The gap of `Comparison.written_there`.
        """
        if comparison.is_noise(self.newlines):
            return "it strips texts: prompts have the same scores without their last newlines"
        if not comparison.is_noise(self.gap, beside=there):
            return (
                "it puts something between query and document: one prompt, split in two ways, has "
                f"scores {self.gap:.2g} logits apart"
            )
        if self.n_right < N_PAIRS:
            return (
                f"with a prompt that is written here, only {self.n_right} of {N_PAIRS} known "
                "questions prefer the passage that answers them: it is no Qwen3-Reranker, or lacks "
                "its head, as some GGUF files do"
            )
        return None


class Comparison:
    """Scores known pairs in several forms at one server.

    Args:
        session: The way to the server.
        url: The route.
        dialect: The wire format.
        model: The name to send.
        label: What the prompt has between query and document.

    Attributes:
        noise: Logits between two replies to one request.
        is_ours: Whether a refusal was that of this project's service, which may be behind a proxy.
    """

    def __init__(
        self, session: HttpSession, url: str, dialect: Dialect, model: str, label: str = _LABEL
    ) -> None:
        self._label = label
        self._session = session
        self._url = url
        self._dialect = dialect
        self._plain = Batch(model, _QUERY, _DOCUMENTS)
        self._seen: list[float] = []
        self.noise = 0.0
        self.is_ours = False

    @property
    def tolerance(self) -> float:
        """The most logits that equal prompts may be apart, by noise and by the range of all scores.

        Half precision rounds a logit of 10 to 0.06, and does so otherwise in another batch.
        """
        return 5 * self.noise + 0.02 * self.spread

    @property
    def spread(self) -> float:
        """The range of all margins so far."""
        return max(self._seen) - min(self._seen) if self._seen else 0.0

    async def plain(self, instruction: str | None = None) -> tuple[list[float], int | None]:
        """Return the margins of plain texts, and the tokens counted per document. One request."""
        return await self.ask(replace(self._plain, instruction=instruction))

    async def written_there(self) -> float | None:
        """Return logits between two pairs that are one prompt if the server writes it; 3 requests.

        ``None`` is for a server that refuses a query with a label of the prompt in it.
        """
        longer = replace(self._plain, query=f"{_QUERY}{self._label}{_BEFORE}")
        documents = [f"{_BEFORE}{self._label}{document}" for document in _DOCUMENTS]
        try:
            first, _ = await self.ask(longer)
            other, _ = await self.ask(replace(self._plain, documents=documents))
            again, _ = await self.ask(longer)
        except ServerStatusError as error:
            if error.status not in _REFUSALS:
                raise
            self.is_ours = RESEMBLES in str(error)
            return None
        self.noise = max(self.noise, gap(first, again))
        return gap(other, again)

    async def joined_there(self) -> Joined | None:
        """Return what shows whether the server joins written pairs; a few requests.

        ``None`` is for a server that refuses such a query.
        """
        try:
            pairs = [await self.ask(self._wrapped(pair)) for pair in _KNOWN[1:]]
            whole = self._wrapped(_KNOWN[0])
            bare = [str(document).rstrip("\n") for document in whole.documents]
            both = replace(whole, documents=[*whole.documents, *bare])
            seen, tokens = await self.ask(both)
            moved = [
                str(whole.query).removeprefix(HEAD) + str(document) for document in both.documents
            ]
            other, _ = await self.ask(replace(both, query=HEAD, documents=moved))
        except ServerStatusError as error:
            if error.status not in _REFUSALS:
                raise
            return None
        known = [seen[: len(_DOCUMENTS)], *(margins for margins, _ in pairs)]
        return Joined(
            gap=gap(seen, other),
            newlines=gap(seen[: len(_DOCUMENTS)], seen[len(_DOCUMENTS) :]),
            n_right=sum(good > bad for good, bad in known),
            is_counted=tokens is not None and tokens >= LEAST_TOKENS,
        )

    def is_noise(self, found: float | None, beside: float | None = None) -> bool:
        """Return whether a gap is noise, and small beside another one that should be none."""
        if found is None or self.spread == 0:
            return False
        return found <= self.tolerance and (beside is None or found <= 0.2 * beside)

    def _wrapped(self, pair: tuple[str, str, str]) -> Batch:
        query, *documents = pair
        wrapped = [wrapped_pair(DEFAULT_INSTRUCTION, query, document) for document in documents]
        return replace(
            self._plain, query=wrapped[0][0], documents=[document for _, document in wrapped]
        )

    async def ask(self, batch: Batch) -> tuple[list[float], int | None]:
        """Return the margins of a batch, and the tokens counted per document. One request."""
        dialect = self._dialect
        reply = await self._session.post(self._url, dialect.build(batch), trait(dialect, "retried"))
        margins, tokens = read_margins(reply, dialect, batch)
        self._seen += margins
        if tokens is None or counts_characters(tokens, batch):
            return margins, None
        return margins, tokens // len(batch)


def counts_characters(counted: int, batch: Batch) -> bool:
    """Return whether a count of a request is that of its characters, stripped, as Infinity's is."""
    if not isinstance(batch.query, str):
        return False
    query = len(batch.query.strip())
    texts = [document.strip() for document in batch.documents if isinstance(document, str)]
    return counted == sum(query + len(text) for text in texts)


def gap(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the largest difference of two lists of margins."""
    return max(abs(a - b) for a, b in zip(left, right, strict=True))
