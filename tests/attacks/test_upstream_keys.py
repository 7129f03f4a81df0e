"""A key goes to one server, and says so where somebody on the way could read it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.upstreams import Request, Upstream, ranking, reply

from shared_core.scorers.remote import keys

KEY = "sk-of-the-first-server"


def right(request: Request) -> None:
    body = request.body
    numbered = {"documents": [f"{text} 0.{len(text) % 9}" for text in body["documents"]]}
    request.send(reply(ranking(numbered)))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    texts = ["Mars is red", "Venus is hot and bright", "Saturn has rings"]
    rows = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "Mars is hot rings"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
    return folder


def evaluate(dataset: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    start = "from qwen3_rerank.cli import main; main()"
    command: list[object] = [sys.executable, "-c", start, "evaluate", dataset]
    command += ["--out", dataset.parent / "out", "--model", "m", *options]
    command += ["--dialect", "compatible", "--template", "server-fixed"]
    root = str(Path(__file__).parents[2])
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=100,
        env=kept | {"PYTHONPATH": root, "COLUMNS": "400"} | variables,
    )  # fmt: skip


def keys_of(upstream: Upstream) -> set[str | None]:
    return {seen.headers.get("authorization") for seen in upstream.seen}


def test_a_key_for_one_of_two_servers_reaches_that_one_alone(dataset: Path) -> None:
    with Upstream(right) as first, Upstream(right) as second:
        urls = ("--base-url", first.url, "--base-url", second.url)
        tenants = ("--header", f"{second.url}=X-Tenant: t-of-the-second")
        done = evaluate(dataset, *urls, "--api-key", f"{first.url}={KEY}", *tenants)
    assert done.returncode == 0, done.stderr
    assert keys_of(first) == {f"Bearer {KEY}"}
    assert keys_of(second) == {None}
    assert {seen.headers.get("x-tenant") for seen in first.seen} == {None}
    assert {seen.headers.get("x-tenant") for seen in second.seen} == {"t-of-the-second"}
    written = [path for path in (dataset.parent / "out").rglob("*") if path.is_file()]
    assert written
    assert not any(KEY.encode() in path.read_bytes() for path in written)


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (("--api-key", KEY), {}),
        (("--header", f"X-Key: {KEY}"), {}),
        ((), {"QWEN3_RERANK_API_KEY": KEY}),
    ],
)
def test_a_key_that_would_go_to_two_servers_goes_to_none(
    options: tuple[str, ...], variables: dict[str, str], dataset: Path
) -> None:
    with Upstream(right) as first, Upstream(right) as second:
        urls = ("--base-url", first.url, "--base-url", second.url)
        done = evaluate(dataset, *urls, *options, **variables)
    assert done.returncode == 2
    assert "would go to all of" in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert first.seen == second.seen == []


def test_one_server_gets_its_key_as_ever(dataset: Path) -> None:
    with Upstream(right) as upstream:
        done = evaluate(dataset, "--base-url", upstream.url, QWEN3_RERANK_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert keys_of(upstream) == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://10.1.2.3:8000", True),
        ("http://vllm:8000", True),
        ("http://gpu.internal", True),
        ("http://[fd00::1]:8000", True),
        ("http://127.0.0.1.example.com", True),
        ("http://localhost:8000", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("https://10.1.2.3", False),
    ],
)
def test_a_key_over_plain_http_is_warned_of_once_a_host(
    url: str, warns: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared_core.options import RerankerOptions
    from shared_core.scorers.remote.setup import make_session

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "QWEN3_RERANK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keys, "_warned_of", set())
    caplog.set_level(logging.WARNING, "qwen3_rerank")
    make_session(RerankerOptions(base_url=url))
    assert caplog.records == []
    for options in ({"api_key": KEY}, {"api_key": KEY}, {"headers": {"x-key": KEY}}):
        make_session(RerankerOptions(base_url=url, **options))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warns
    assert all(url.removeprefix("http://") in text and KEY not in text for text in said)
