"""What built-in BM25 counts: words, and in scripts written without spaces pairs of characters."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

# Written without spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer, Hiragana, Katakana,
# Bopomofo, Han. Hangul has spaces, but words grow endings; pairs are what Lucene's CJKAnalyzer
# takes there, too.
_UNSPACED = (
    (0x0E00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x3040, 0x312F),
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def terms(text: str) -> list[str]:
    """Return the lower-case words of a text, after Unicode's NFKC, without stemming.

    A run of a script that has no spaces becomes its pairs of neighbouring characters; a single
    character stays one.

    >>> terms("The Pre-Roman ÉCOLE, 2nd")
    ['the', 'pre', 'roman', 'école', '2nd']
    >>> terms("水星的温度 is 430°C"), terms("茶")
    (['水星', '星的', '的温', '温度', 'is', '430', 'c'], ['茶'])
    """
    found = []
    for match in _pattern().finditer(unicodedata.normalize("NFKC", text).lower()):
        word = match.group()
        if match.lastgroup == "unspaced" and len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            found.append(word)
    return found


@functools.cache
def _pattern() -> re.Pattern[str]:
    r"""Return what finds words.

    Python's ``\w`` lacks the vowel signs of Devanagari, Thai and others (categories Mn and Mc), at
    which it would break words apart.
    """
    unspaced = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
    marks = _ranges_of_marks()
    # Digits and marks among those ranges are part of the run.
    return re.compile(
        rf"(?P<unspaced>(?:(?=[\w{marks}])[{unspaced}])+)|(?P<word>(?:(?![{unspaced}])[\w{marks}])+)"
    )


def _ranges_of_marks() -> str:
    """Return all combining marks as the inside of a character class."""
    ranges = []
    first = None
    for code in range(0x300, sys.maxunicode + 2):
        is_mark = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == "M"
        if is_mark and first is None:
            first = code
        elif not is_mark and first is not None:
            ranges.append(f"{chr(first)}-{chr(code - 1)}")
            first = None
        if code == 0x1FFFF:  # beyond lie ideographs, private use, and the selectors of variants
            break
    return "".join(ranges)
