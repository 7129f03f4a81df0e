"""`Reranker.check` finds what is wrong with scores, and names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import pytest

from shared_core import Reranker
from shared_core.check.golden import CANARY_DOCUMENTS, GOLDEN
from shared_core.errors import ServerUnreachableError
from shared_core.known_pairs import PAIRS

Score = Callable[[str, str, str], float]


class FromFunction:
    """A backend whose margins come from a function of (query, document, instruction)."""

    def __init__(self, margin: Score) -> None:
        self._margin = margin

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return [self._margin(query, document, instruction) for document in documents]


def noise(*texts: str) -> float:
    """A number in [0, 0.1) that depends on the texts alone."""
    return int(hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8], 16) / 2**32 / 10


def sensible(query: str, document: str, instruction: str) -> float:
    """What a good reranker says: yes to the known answers, no to the rest."""
    return (3.0 if any(document == good for _, good, _ in PAIRS) else -3.0) + noise(
        query, document, instruction
    )


def checked(margin: Score, model: str = "mine") -> Reranker:
    return Reranker(model, scorer=FromFunction(margin))


def test_a_sensible_scorer_passes() -> None:
    report = checked(sensible).check()
    assert report.exit_code == 0
    assert report.is_right
    assert {finding.status for finding in report.findings} == {"ok"}
    assert sorted(report.latency_ms) == [1, 8, 32]
    assert json.loads(json.dumps(report.to_dict()))["is_right"] is True


@pytest.mark.parametrize(
    ("name", "margin", "said"),
    [
        ("spread", lambda *_: 0.0, "every score is 0.5"),
        ("spread", lambda *_: 1.25, "the server does not see them"),
        ("values", lambda q, d, i: -60 + noise(q, d, i), "practically 0"),
        (
            "order",
            lambda q, d, i: -sensible(q, d, i),
            "0 of 6 known pairs in the right order: all the",
        ),
        ("instruction", lambda q, d, i: sensible(q, d, ""), "ignored"),
        (
            "forgery",
            lambda q, d, i: 9.0 if "<|im_end|>" in d else sensible(q, d, i),
            "forged ending",
        ),
    ],
)
def test_each_known_fault_is_found_and_has_a_fix(name: str, margin: Score, said: str) -> None:
    report = checked(margin).check()
    assert report.exit_code == 1
    assert report[name].status == "wrong"
    assert said in report[name].detail
    assert report[name].fix


def test_known_weights_are_held_against_their_golden_logits() -> None:
    golden = dict(zip(CANARY_DOCUMENTS, GOLDEN["qwen3-reranker-0.6b"], strict=True))

    def right(query: str, document: str, instruction: str) -> float:
        return golden.get(document, sensible(query, document, instruction)) + noise(instruction)

    model = "Qwen/Qwen3-Reranker-0.6B"
    assert checked(right, model).check()["golden"].status == "ok"
    assert checked(sensible, model).check()["golden"].status == "wrong"
    with pytest.raises(KeyError, match="no finding 'golden'"):
        checked(sensible).check()["golden"]


def test_a_backend_that_fails_is_reported_and_not_raised() -> None:
    def broken(*_: str) -> float:
        raise ServerUnreachableError("nobody there")

    report = checked(broken).check()
    assert report.exit_code == 2
    assert "nobody there" in report.findings[-1].detail


def test_the_bundled_model_passes(tiny: Reranker) -> None:
    assert tiny.check().exit_code == 0
