"""Everything that goes wrong on the wire, over every dialect: a right ranking or a clear error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from support.remote_cases import DIALECT_CASES, Case, Line, Lines
from support.reply_shapes import has_index, rows_in, spoil_score
from support.rerank_server import Answer, Fault, Mishap, Seen
from tenacity import wait_random_exponential

from shared_core import InvalidReplyError, RerankError, ServerStatusError, ServerUnreachableError
from shared_core.scorers.remote import http, reply

QUERY, DOCUMENTS = "red planet", ["Mars is red.", "Venus is not.", "Saturn has rings."]
SOON = {"retry-after": "0.01"}

cases = pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF", wait_random_exponential(multiplier=0.001, max=0.01))


def first(count: int, mishap: Mishap) -> Fault:
    """Something else for so many requests, then the right answer."""
    left = count

    def fault(seen: Seen, answer: Answer) -> Mishap:
        nonlocal left
        left -= 1
        return mishap if left >= 0 else answer

    return fault


def always(mishap: Mishap) -> Fault:
    return lambda seen, answer: mishap


def changed(change: Callable[[Any], Any]) -> Fault:
    """The right answer with its decoded body changed in place, or to what is returned."""

    def fault(seen: Seen, answer: Answer) -> Mishap:
        body = copy.deepcopy(answer.body)
        replaced = change(body)
        return answer.but(body=body if replaced is None else replaced)

    return fault


def scores(line: Line) -> list[float]:
    return line.reranker.score(QUERY, DOCUMENTS)


def failures(line: Line, faults: Mapping[Any, Fault]) -> dict[Any, RerankError]:
    """Return what each fault leads to; those that lead to no error are not in it."""
    found = {}
    for name, fault in faults.items():
        line.server.fault = fault
        line.server.seen.clear()
        try:
            scores(line)
        except RerankError as error:
            found[name] = error
    return found


@cases
def test_what_may_pass_is_tried_again(case: Case, lines: Lines) -> None:
    line = lines(case)
    expected = scores(line)
    requests = len(line.server.posts)
    for status in (408, 425, 429, 502, 503, 504):
        line.server.seen.clear()
        line.server.fault = first(2, Answer({"error": "Loading model"}, status, SOON))
        assert scores(line) == expected
        assert len(line.server.posts) == requests + 2


@cases
def test_what_stays_is_told_with_the_servers_words(case: Case, lines: Lines) -> None:
    line = lines(case)
    line.server.fault = always(Answer({"error": {"message": "busy"}}, 503, SOON))
    with pytest.raises(ServerStatusError, match=r"answered 503: busy \[retry after 0.01 s\]") as e:
        scores(line)
    assert (e.value.status, e.value.url) == (503, f"{line.server.url}{line.server.posts[0].path}")
    assert len(line.server.posts) >= 3


@cases
def test_what_will_not_pass_is_not_tried_again(case: Case, lines: Lines) -> None:
    line = lines(case)
    for status in {301, 400, 401, 403, 404, 405, 413, 422, 500, 501} - {of_its_backend(case)}:
        line.server.seen.clear()
        line.server.fault = always(Answer({"detail": "no"}, status, {"location": "/x"} | SOON))
        with pytest.raises(ServerStatusError, match=f"answered {status}"):
            line.reranker.score(QUERY, DOCUMENTS[:1])
        assert len(line.server.posts) == 1


def of_its_backend(case: Case) -> int | None:
    """The status by which a server says that what it asks itself has failed."""
    if case.name == "tei":
        return 424
    return 500 if case.name.startswith("litellm") else None


@cases
@pytest.mark.parametrize("status", [424, 500])
def test_a_backend_error_is_tried_again_where_a_status_means_one(
    status: int, case: Case, lines: Lines
) -> None:
    line = lines(case)
    answer = Answer({"error": "Backend", "error_type": "Backend"}, status, SOON)
    line.server.fault = first(1, answer)
    if status == of_its_backend(case):
        assert len(scores(line)) == len(DOCUMENTS)
    else:
        with pytest.raises(ServerStatusError, match=f"answered {status}"):
            scores(line)


@cases
def test_a_request_that_is_too_large_is_halved(case: Case, lines: Lines) -> None:
    line = lines(case)
    expected = scores(line)

    def fault(seen: Seen, answer: Answer) -> Mishap:
        is_too_large = answer.status == 200 and not is_about_one(answer.body)
        return Answer(b"<html>too large</html>", 413) if is_too_large else answer

    line.server.fault = fault
    assert scores(line) == pytest.approx(expected, abs=1e-6)


def is_about_one(body: Any) -> bool:
    return len(rows_in(body)) == 1


SPOILED: dict[str, Callable[[Any], Any]] = {
    "a row is missing": lambda body: rows_in(body).pop() and None,
    "a row too many": lambda body: rows_in(body).append(copy.deepcopy(rows_in(body)[0])),
    "no rows": lambda body: rows_in(body).clear(),
    "NaN": lambda body: spoil_score(body, float("nan")),
    "infinity": lambda body: spoil_score(body, float("inf")),
    "minus infinity": lambda body: spoil_score(body, float("-inf")),
    "null": lambda body: spoil_score(body, None),
    "a list in place of a number": lambda body: spoil_score(body, [0.5]),
    "a string": lambda body: spoil_score(body, "0.5"),
    "true": lambda body: spoil_score(body, True),
    "an integer beyond floats": lambda body: spoil_score(body, 10**400),
    "another object": lambda body: {"message": "hello"},
    "an empty object": lambda body: {},
    "an empty list": lambda body: [],
    "a bare string": lambda body: "ok",
    "rows that are strings": lambda body: rows_in(body).__setitem__(0, "x"),
}


@cases
def test_a_reply_that_is_no_ranking_is_an_error(case: Case, lines: Lines) -> None:
    line = lines(case)
    found = failures(line, {name: changed(change) for name, change in SPOILED.items()})
    assert set(found) == set(SPOILED)
    for error in found.values():
        assert isinstance(error, InvalidReplyError)
        assert error.status == 200
        assert line.server.url in str(error)


@cases
def test_a_wrong_index_is_an_error(case: Case, lines: Lines) -> None:
    """Also a duplicate: two rows are about document 1 then, and none about document 0."""
    line = lines(case)
    if not has_rows_with_index(line):
        return

    def spoiled(index: Any) -> Fault:
        def spoil(body: Any) -> None:
            next(row for row in rows_in(body) if row["index"] == 0)["index"] = index

        return changed(spoil)

    indices = [1, 3, -1, 0.5, "0", None, True, 10**400]
    found = failures(line, {repr(index): spoiled(index) for index in indices})
    assert set(found) == set(map(repr, indices))
    assert all(isinstance(error, InvalidReplyError) for error in found.values())


def has_rows_with_index(line: Line) -> bool:
    """Whether the replies of this dialect say which document a row is about."""
    found: list[bool] = []
    line.server.fault = changed(lambda body: found.append(has_index(body)))
    scores(line)
    return found[0]


@cases
def test_rows_may_come_in_any_order(case: Case, lines: Lines) -> None:
    line = lines(case)
    expected = scores(line)
    if has_rows_with_index(line):
        line.server.fault = changed(lambda body: rows_in(body).reverse())
        assert scores(line) == expected


TEXTS: dict[str, Answer] = {
    "truncated JSON": Answer(b'{"results": [{"index": 0, "relevance_sc'),
    "nothing": Answer(b""),
    "HTML of a proxy": Answer(
        b"<!DOCTYPE html><html><title>Sign in</title></html>", headers={"content-type": "text/html"}
    ),
    "no UTF-8": Answer(b'\xff\xfe{"a": 1}'),
    "deeply nested": Answer(b"[" * 100_000),
    "a huge number": Answer(b'{"results": ' + b"9" * 10_000 + b"}"),
}


@cases
def test_a_reply_that_is_no_json_is_an_error(case: Case, lines: Lines) -> None:
    found = failures(lines(case), {name: always(answer) for name, answer in TEXTS.items()})
    assert set(found) == set(TEXTS)
    for error in found.values():
        assert isinstance(error, InvalidReplyError)
        assert "not with JSON" in str(error)
    assert 'an HTML page titled "Sign in"' in str(found["HTML of a proxy"])


@cases
def test_a_broken_connection_is_tried_again(case: Case, lines: Lines) -> None:
    line = lines(case)
    expected = scores(line)
    mishaps: list[Mishap] = ["drop", "drop-in-body", b"SSH-2.0-OpenSSH_9.6\r\n"]
    for mishap in mishaps:
        line.server.fault = first(1, mishap)
        assert scores(line) == expected
    found = failures(line, {mishap: always(mishap) for mishap in mishaps})
    assert set(found) == set(mishaps)
    for error in found.values():
        assert isinstance(error, ServerUnreachableError)
        assert "no answer from" in str(error)


def test_a_date_to_wait_for_is_waited_for(lines: Lines) -> None:
    """A moment ago, here: waiting for one in the future would take whole seconds."""
    line = lines(DIALECT_CASES[0])
    expected = scores(line)
    then = format_datetime(datetime.now(timezone.utc) - timedelta(seconds=1), usegmt=True)
    line.server.fault = first(2, Answer({}, 429, {"retry-after": then}))
    assert scores(line) == expected


def test_a_cookie_is_not_sent_back(lines: Lines) -> None:
    """One that is no ASCII could not be: every request after it would fail."""
    line = lines(DIALECT_CASES[0])
    expected = scores(line)
    for cookie in ("session=1; Path=/", "\xe9=\x80; Path=/"):
        headers = {"set-cookie": cookie}
        line.server.fault = lambda seen, answer, headers=headers: answer.but(headers=headers)
        assert scores(line) == scores(line) == expected
    assert not any("cookie" in seen.headers for seen in line.server.seen)


def test_a_reply_without_end_is_not_read_to_its_end(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines(DIALECT_CASES[0])
    monkeypatch.setattr(reply, "_LEAST_BOUND", 10_000)
    line.server.fault = always(Answer(b" " * 100_000))
    with pytest.raises(InvalidReplyError, match=r"more than [0-9]+ bytes, which no ranking has"):
        scores(line)
    assert len(line.server.posts) == 1


def test_minus_infinity_as_vllm_writes_it_is_no_logit(lines: Lines) -> None:
    (case,) = [case for case in DIALECT_CASES if case.name == "vllm-completions"]
    line = lines(case)
    line.server.fault = changed(lambda body: spoil_score(body, -9999.0))
    with pytest.raises(InvalidReplyError, match="is minus infinity"):
        scores(line)
