"""Sentence boundaries and other safe places to cut a text, never inside a character."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from itertools import chain

Span = tuple[int, int]
"""Characters ``start … end`` of a text, the end left out."""

# End a sentence whether or not a blank follows: Chinese and Japanese, the danda of Indian scripts,
# Arabic, Urdu, Armenian, Ethiopic, Khmer, Burmese and Tibetan. Thai has no such mark.
_FULL_STOPS = "。！？｡।॥۔؟։።፧፨។៕။།༎"
_CLOSERS = "\"'”’“»›)\\]}）］｝」』】》〉〕"
# Each branch begins where no other match could, and consumes what follows at once: linear time.
_ENDS = re.compile(
    rf"[{_FULL_STOPS}][{_FULL_STOPS}.!?…]*[{_CLOSERS}]*\s*"
    rf"|(?<![.!?…])[.!?…]+[{_CLOSERS}]*(?:\s+|\Z)"
    r"|\n\s*"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_WORD_BEFORE = re.compile(r"(\w+)\Z")
_ABBREVIATION = re.compile(
    "mrs?|ms|dr|prof|st|sr|jr|vs|etc|figs?|nos|vol|approx|dept|est|inc|ltd|corp|gen|col|sgt|capt|"
    "rev|hon|nr|bzw|usw|abb|bd|mme|mlle",
    re.IGNORECASE,
)
# German writes a full stop behind the number of a day: "am 27. Januar".
_MONTH = re.compile(
    r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember)"
    r"\b"
)
_CLAUSE_ENDS = re.compile(r"[,;:–—]\s+|[，、；：،؛]\s*")


def sentences(text: str) -> list[Span]:
    r"""Return the spans of the sentences in order, which cover the whole text.

    A sentence has the blanks that follow it. A line break ends one, too, unless the next line goes
    on in lower case. Abbreviations are told from ends as far as a list of them and the next letter
    do; a wrong cut costs a little context at the edge of a window, no more.

    >>> text = "Dr. Ito left. She came at 3.5 km/h!\n\n他走了。她来了？"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Dr. Ito left. ', 'She came at 3.5 km/h!\n\n', '他走了。', '她来了？']
    """
    spans = []
    start = 0
    for end in _sentence_ends(text):
        spans.append((start, end))
        start = end
    if start < len(text) or not spans:
        spans.append((start, len(text)))
    return spans


def _sentence_ends(text: str) -> Iterator[int]:
    for match in _ENDS.finditer(text):
        mark = match.group()
        place = match.end()
        goes_on = text[place : place + 1].islower() and not _BLANK_LINE.search(mark)
        if goes_on and mark[0] not in _FULL_STOPS:
            continue
        if mark[0] == "." and _is_abbreviation(text, match.start(), mark):
            continue
        if is_between_characters(text, place):
            yield place


def _is_abbreviation(text: str, place: int, mark: str) -> bool:
    """Return whether a full stop ends an initial, a known abbreviation or the day of a date."""
    if mark.rstrip(" ") != ".":
        return False
    word = _WORD_BEFORE.search(text, max(0, place - 12), place)
    if word is None:
        return False
    found = word.group()
    if found.isdecimal() and len(found) <= 2 and _MONTH.match(text, place + len(mark)):
        return True
    return (len(found) == 1 and found.isupper()) or bool(_ABBREVIATION.fullmatch(found))


def cut_into(text: str, span: Span, step: int) -> list[Span]:
    """Split a span without sentence ends into parts of at most ``step`` characters.

    Each is cut at the last line break in the second half of its step; where there is none, at the
    last end of a clause; at the last blank; else anywhere that is not inside a character.
    """
    start, end = span
    parts = []
    while end - start > step:
        place = _cut_place(text, start + step // 2, start + step)
        parts.append((start, place))
        start = place
    parts.append((start, end))
    return parts


def _cut_place(text: str, low: int, high: int) -> int:
    """Return the best position to cut, between ``low`` and ``high``."""
    newline = text.rfind("\n", low, high)
    if newline >= 0:
        return newline + 1
    clauses = [match.end() for match in _CLAUSE_ENDS.finditer(text, low, high)]
    if clauses and is_between_characters(text, clauses[-1]):
        return clauses[-1]
    places = range(high, low, -1)
    blanks = (place for place in places if text[place - 1].isspace())
    possible = filter(partial(is_between_characters, text), chain(blanks, places))
    return next(possible, high)


def is_between_characters(text: str, place: int) -> bool:
    r"""Return whether a cut at a position keeps user-visible characters whole.

    Follows the rules of Unicode's UAX #29 for accents and vowel signs, joined and coloured emoji,
    flags, Hangul letters, conjuncts and CR LF.

    >>> [is_between_characters(text, 1) for text in ("ab", "e\u0301", "\r\n", "🇫🇷", "👩\u200d🚀")]
    [True, False, False, False, False]
    """
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if unicodedata.category(after) in ("Mn", "Mc", "Me"):
        return False
    if before == "\u200d" or after in "\u200c\u200d" or before + after == "\r\n":
        return False
    if unicodedata.combining(before) == 9 and after.isalpha():  # a virama joins two consonants
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False
    if "\u1160" <= after <= "\u11ff":  # vowels and finals of Hangul written in letters
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        first = place
        while first > max(0, place - 64) and _is_flag_half(text[first - 1]):
            first -= 1
        return (place - first) % 2 == 0
    return True


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
