"""The cache: exact keys, bounded, least recently used first out."""

from __future__ import annotations

from shared_core.backend.score_cache import ScoreCache
from shared_core.scoring import Scored


def test_a_key_tells_apart_what_concatenation_would_not() -> None:
    keys = {
        ScoreCache.key("ab", "c"),
        ScoreCache.key("a", "bc"),
        ScoreCache.key("abc", ""),
        ScoreCache.key("abc", None),
        ScoreCache.key(None, "abc"),
        ScoreCache.key("abc"),
    }
    assert len(keys) == 6


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = ScoreCache(2)
    first, second, third = (ScoreCache.key(name) for name in "abc")
    cache.put(first, Scored(1.0))
    cache.put(second, Scored(2.0))
    assert cache.get(first) == Scored(1.0)
    cache.put(third, Scored(3.0))
    assert (cache.get(first), cache.get(second)) == (Scored(1.0), None)
    assert len(cache) == 2
