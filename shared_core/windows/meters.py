"""Token counters, exact by the model's tokenizer or estimated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shared_core.errors import QueryTooLongError, RerankError, ScoringError
from shared_core.options import RerankerOptions
from shared_core.prompt import HEAD, SUFFIX, render_fields
from shared_core.prompt.encodable import check_encodable
from shared_core.scoring import MeteringScorer, Scorer, TokenCounter, TokenMeter

if TYPE_CHECKING:
    from shared_core.prompt.encoding import PairEncoder

Count = Callable[[Sequence[str]], Sequence[int]]

_LETTERS_AND_BLANKS = re.compile(r"[A-Za-z\s]+")
# Scripts that Qwen's vocabulary has few words of, from Devanagari to Mongolian; it has Thai.
_DEAR = re.compile(r"[\u0900-\u0dff\u0e80-\u1fff]")
_PART = 2**16  # characters
_BEYOND_16_BITS = re.compile(r"[\U00010000-\U0010ffff]")


class EncoderMeter:
    """Counts tokens exactly, with the model's encoder.

    Args:
        encoder: Encodes as the backend does.
    """

    def __init__(self, encoder: PairEncoder) -> None:
        self._encoder = encoder
        self.count: Count = encoder.count

    def check(self, instruction: str, query: str, documents: Sequence[str]) -> None:
        """Raise `TextEncodingError` if a text has a lone surrogate."""
        check_encodable(render_fields(instruction, query), documents)

    def room(self, instruction: str, query: str) -> int:
        """Return the tokens that are left for a document.

        Raises:
            QueryTooLongError: None is.
        """
        group = self._encoder.encode(instruction, query, [""])
        fixed = len(group.prefix_ids) + len(self._encoder.suffix_ids)
        return self._encoder.max_length - fixed


class CountingMeter:
    """Counts tokens with a function or an estimate; the prompt's length is a bound.

    Args:
        count: Returns the tokens of each text.
        max_length: The most tokens of a whole prompt.
        checks: Whether lone surrogates are refused. A scorer of the user's may take them.
    """

    def __init__(self, count: Count, max_length: int, *, checks: bool) -> None:
        self.count = count
        self._max_length = max_length
        self._checks = checks

    def check(self, instruction: str, query: str, documents: Sequence[str]) -> None:
        """Raise `TextEncodingError` if a text has a lone surrogate that nothing here could take."""
        if self._checks:
            check_encodable(render_fields(instruction, query), documents)

    def room(self, instruction: str, query: str) -> int:
        """Return the tokens that are left for a document.

        Raises:
            QueryTooLongError: None is.
        """
        fixed = sum(self.count([HEAD, render_fields(instruction, query), SUFFIX]))
        if fixed >= self._max_length:
            raise QueryTooLongError(fixed, self._max_length)
        return self._max_length - fixed


def estimate_tokens(texts: Sequence[str]) -> list[int]:
    """Return an estimate of Qwen3's token counts, rather too high.

    Three ASCII letters or blanks are one token; four characters of Indic and other scripts with
    few words in the vocabulary are seven; one beyond the first 65,536 is three; every other one is
    one. docs/long_documents.md says how that compares, by language.

    >>> estimate_tokens(["Mercury freezes.", "水银在零下 39 度凝固。"])
    [6, 12]
    """
    return [_estimate(text) for text in texts]


def _estimate(text: str) -> int:
    thirds = others = 0.0
    # By parts: a search holds the interpreter's lock to its end.
    for start in range(0, len(text), _PART):
        part = text[start : start + _PART]
        rest = _LETTERS_AND_BLANKS.sub("", part)
        thirds += len(part) - len(rest)
        others += len(rest) + 0.75 * len(_DEAR.findall(rest))
        others += 2 * len(_BEYOND_16_BITS.findall(rest))
    return math.ceil(thirds / 3 + others)


def make_meter(scorer: Scorer, options: RerankerOptions) -> TokenMeter:
    """Return the token meter of a backend: its own meter, its own count, else the estimate."""
    if isinstance(scorer, MeteringScorer):
        return scorer.token_meter()
    if isinstance(scorer, TokenCounter):
        return CountingMeter(_checked(scorer), options.max_length, checks=False)
    return CountingMeter(estimate_tokens, options.max_length, checks=False)


def _checked(counter: TokenCounter) -> Count:
    """Return a user's counting function, with its failures as `RerankError`."""

    def count(texts: Sequence[str]) -> Sequence[int]:
        name = type(counter).__name__
        try:
            counts = list(counter.count_tokens(texts))
        except RerankError:
            raise
        except Exception as error:
            message = f"{name}.count_tokens failed: {type(error).__name__}: {error}"
            raise ScoringError(message) from error
        if len(counts) != len(texts) or any(count < 0 for count in counts):
            raise ScoringError(f"{name}.count_tokens returned no count for each of the texts")
        return counts

    return count
