"""The main measure by the length of queries, and by their script."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_rerank.evaluation.findings import Findings
from qwen3_rerank.evaluation.significance import Difference, Estimate, difference, estimate

_SCRIPTS = {"CJK": "Chinese characters", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}


@dataclass(frozen=True, slots=True)
class Group:
    """The queries of one kind.

    Attributes:
        queries: Their number.
        before: The main measure of the first stage.
        after: Letter → the main measure of the system.
        change: Letter → the difference to the first stage, in pairs.
    """

    kind: str
    queries: int
    before: Estimate
    after: Mapping[str, Estimate]
    change: Mapping[str, Difference]


def by_length(report: Findings) -> list[Group]:
    """Return the shortest, the middle and the longest third of the queries, by characters.

    Queries of equal length are in one group; a group may be missing.
    """
    texts = report.dataset.queries
    lengths = sorted(map(len, texts.values()))
    first, second = (lengths[(len(lengths) - 1) * third // 3] for third in (1, 2))
    kinds: dict[str, list[str]] = {
        f"up to {first} characters": [],
        f"{first + 1} to {second}": [],
        f"{second + 1} and more": [],
    }
    names = list(kinds)
    for query, text in texts.items():
        kinds[names[(len(text) > first) + (len(text) > second)]].append(query)
    return _groups(report, kinds)


def by_script(report: Findings) -> list[Group]:
    """Return the queries by the script of most of their letters, the most frequent first."""
    kinds: dict[str, list[str]] = {}
    for query, text in report.dataset.queries.items():
        kinds.setdefault(script_of(text), []).append(query)
    return _groups(report, dict(sorted(kinds.items(), key=lambda kind: -len(kind[1]))))


def script_of(text: str) -> str:
    """Return the script of most letters of a text; kana makes it Japanese.

    >>> [script_of(text) for text in ("How hot?", "水星？", "水星は？", "Сколько?", "42")]
    ['Latin', 'Chinese characters', 'Japanese', 'Cyrillic', 'no letters']
    """
    found = Counter(
        unicodedata.name(letter, "UNKNOWN").split()[0] for letter in text if letter.isalpha()
    )
    if found["HIRAGANA"] or found["KATAKANA"]:
        return "Japanese"
    if not found:
        return "no letters"
    ((script, _),) = found.most_common(1)
    return _SCRIPTS.get(script, script.capitalize())


def _groups(report: Findings, kinds: Mapping[str, Sequence[str]]) -> list[Group]:
    main = report.measures[0]
    before = report.before[main]

    def group(kind: str, queries: Sequence[str]) -> Group:
        old = [before[query] for query in queries]
        new = {
            system.letter: [system.values[main][query] for query in queries]
            for system in report.systems
        }
        return Group(
            kind,
            len(queries),
            estimate(old, report.seed),
            {letter: estimate(values, report.seed) for letter, values in new.items()},
            {letter: difference(old, values, report.seed) for letter, values in new.items()},
        )

    return [group(kind, queries) for kind, queries in kinds.items() if queries]
