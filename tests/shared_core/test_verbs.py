"""Public verbs in input order, and extension points of one's own, used from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared_core import (
    Batch,
    ClosedError,
    Dialect,
    Judged,
    Parsed,
    QueryTooLongError,
    Reranker,
    Row,
    ScoreRequest,
    ScoringError,
    TokenCounter,
    TooManyWindowsError,
)

QUERY = "Which drink is brewed from leaves?"
DOCUMENTS = ["Coffee is brewed from beans.", "Tea is brewed from leaves.", "Bread is baked."]


def both(reranker: Reranker, verb: str, *arguments: Any, **options: Any) -> Any:
    """Return what a verb returns, having held that its async form returns the same."""
    result = getattr(reranker, verb)(*arguments, **options)
    again = asyncio.run(getattr(reranker, f"a{verb}")(*arguments, **options))
    if isinstance(result, list):
        assert _rounded(result) == _rounded(again)
    return result


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return (round(value.logit, 4), value.n_tokens, value.truncated, value.window)


class Counting:
    """A scorer of one's own that counts words as tokens and scores by length."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []
        self.life: list[str] = []
        self.is_loaded = False

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.asked.append((query, instruction, list(documents)))
        return [float(len(text)) for text in documents]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def load(self) -> None:
        self.life.append("load")
        self.is_loaded = True

    def unload(self) -> None:
        self.life.append("unload")
        self.is_loaded = False


def test_judgements_come_in_input_order_and_agree_with_the_ranking(reranker: Reranker) -> None:
    judged = both(reranker, "judge", QUERY, DOCUMENTS)
    ranking = {one.index: one for one in reranker.rerank(QUERY, DOCUMENTS)}
    for index, one in enumerate(judged):
        assert type(one) is Judged
        expected = ranking[index]
        assert one.score == pytest.approx(expected.score, abs=1e-6)
        assert one.logit == pytest.approx(expected.logit, abs=1e-5)
        assert (one.n_tokens, one.truncated) == (expected.n_tokens, False)
        assert (one.window, one.total_tokens) == (None, one.n_tokens)
    assert both(reranker, "judge", QUERY, []) == []


def test_pairs_are_grouped_inside_and_come_back_in_order(reranker: Reranker) -> None:
    pairs = [(query, text) for text in DOCUMENTS for query in (QUERY, "What is baked?")]
    expected = [reranker.judge(query, [text])[0].logit for query, text in pairs]
    judged = both(reranker, "score_pairs", pairs)
    assert [one.logit for one in judged] == pytest.approx(expected, abs=1e-5)
    own = Counting()
    Reranker(scorer=own).score_pairs([("a", "x"), ("b", "long"), ("a", "y")], instruction="Task")
    assert own.asked == [("b", "Task", ["long"]), ("a", "Task", ["x", "y"])]
    assert both(reranker, "score_pairs", []) == []


@pytest.mark.parametrize("pairs", ["ab", [("q",)], [("q", 1)], [(None, "d")], [3]])
def test_what_is_no_pair_is_refused(pairs: Any) -> None:
    with pytest.raises(TypeError, match="pair"):
        Reranker(scorer=Counting()).score_pairs(pairs)


def test_requests_have_instructions_of_their_own() -> None:
    own = Counting()
    requests = [ScoreRequest("q", "First task", ["a", "bb"]), ScoreRequest("r", "Second", ["ccc"])]
    judged = both(Reranker(scorer=own, instruction="Another"), "judge_many", requests)
    assert [[one.logit for one in answer] for answer in judged] == [[1.0, 2.0], [3.0]]
    assert {instruction for _, instruction, _ in own.asked} == {"First task", "Second"}
    with pytest.raises(TypeError, match="request 0 is str"):
        Reranker(scorer=own).judge_many(["q"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="no option 'instruction'"):
        Reranker(scorer=own).judge_many([], instruction="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "call",
    [
        lambda r: r.judge("q", ["d"]),
        lambda r: r.judge_many([ScoreRequest("q", "Task", ["d"])]),
        lambda r: r.score_pairs([("q", "d")]),
        lambda r: asyncio.run(r.ajudge("q", ["d"])),
        lambda r: asyncio.run(r.ascore_pairs([("q", "d")])),
    ],
)
def test_judging_raises_though_rankings_pass_through(call: Callable[[Reranker], Any]) -> None:
    class Failing:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            raise ConnectionError("the line is dead")

    reranker = Reranker(scorer=Failing(), on_error="passthrough")
    assert reranker.rerank("q", ["d"])[0].error
    with pytest.raises(ScoringError, match="the line is dead"):
        call(reranker)


def test_the_life_of_a_scorer_of_ones_own() -> None:
    own = Counting()
    reranker = Reranker(scorer=own)
    assert not reranker.is_loaded
    both(reranker, "load")
    assert reranker.is_loaded
    both(reranker, "unload")
    assert not reranker.is_loaded
    both(reranker, "warm_up")
    assert own.life == ["load", "load", "unload", "unload", "load", "load"]
    assert [len(documents) for _, _, documents in own.asked] == [4, 4]
    reranker.close()
    for verb in ("load", "warm_up"):
        with pytest.raises(ClosedError):
            both(reranker, verb)
    assert not reranker.is_loaded


def test_loading_and_warming_up_a_model() -> None:
    with Reranker("tiny", device="cpu") as reranker:
        reranker.load()
        assert reranker.is_loaded
        asyncio.run(reranker.aunload())
        assert not reranker.is_loaded
        asyncio.run(reranker.awarm_up())
        assert reranker.is_loaded
    with (
        pytest.raises(QueryTooLongError),
        Reranker("tiny", device="cpu", max_length=20) as short,
    ):
        short.warm_up()


def test_a_token_counter_of_ones_own_measures_windows() -> None:
    own = Counting()
    assert isinstance(own, TokenCounter)
    text = "One two three four. " * 12
    options: dict[str, Any] = {"long_documents": "windows", "window_tokens": 16}
    reranker = Reranker(scorer=own)
    (one,) = reranker.judge("q", [text], **options)
    (_, instruction, windows), *_ = own.asked
    assert one.window is not None
    assert len(windows) > 1
    assert max(own.count_tokens(windows)) <= 16
    request = ScoreRequest("q", instruction, [text])
    plan = asyncio.run(reranker.asplit([request], **options))
    assert list(dict.fromkeys(plan.requests[0].documents)) == windows
    judged = reranker.judge_many(plan.requests, long_documents="truncate")
    assert plan.fold(judged)[0][0].window == one.window
    with pytest.raises(TooManyWindowsError):
        asyncio.run(reranker.asplit([request], most=1, **options))


class Bare(Dialect):
    """A dialect of one's own: texts in, a bare list of logits out."""

    name = "bare"
    path = "/bare"
    scale = "logit"
    documented = "server-fixed"

    def build(self, batch: Batch) -> dict[str, Any]:
        return {"q": batch.query, "texts": list(batch.documents)}

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        return Parsed([Row(index, value) for index, value in enumerate(reply["logits"])])


def test_a_dialect_of_ones_own_speaks_to_a_real_server() -> None:
    import json
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, body))
            reply = json.dumps({"logits": [len(text) - 5.5 for text in body["texts"]]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with Reranker(base_url=url, dialect=Bare(), template="server-fixed") as reranker:
            judged = reranker.judge("q", ["four", "eleven char"])
    finally:
        server.shutdown()
        server.server_close()
    assert [one.logit for one in judged] == [-1.5, 5.5]
    assert seen == [("/bare", {"q": "q", "texts": ["four", "eleven char"]})]
