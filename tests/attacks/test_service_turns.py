"""One caller with very many queries does not keep the others waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.services import Process

KEYS = {"many": "key-of-many", "few": "key-of-few"}
PAIRS = 900


@pytest.fixture(scope="module")
def process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(
        tmp_path_factory.mktemp("turns") / "log",
        *("--model", str(checkpoint), "--dtype", "float32", "--max-batch-tokens", "600"),
        QWEN3_RERANK_SERVE_KEYS=",".join(KEYS.values()),
    )
    process.wait_until_ready()
    yield process
    process.kill()


def batches(process: Process) -> int:
    """How many batches were scored since the start."""
    text = httpx.get(f"{process.url}/metrics", headers={"x-api-key": KEYS["few"]}).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    return int(float(values["qwen3_rerank_batch_seconds_count"]))


def ask_many(process: Process, key: str) -> None:
    """Ask for 900 pairs with as many queries."""
    queries = [f"question number {i}" for i in range(PAIRS)]
    body = {"text_1": queries, "text_2": [f"answer {i}" for i in range(PAIRS)]}
    headers = {"x-api-key": key}
    reply = httpx.post(f"{process.url}/score", json=body, headers=headers, timeout=120)
    assert len(reply.json()["data"]) == PAIRS


@pytest.mark.parametrize("key", KEYS)
def test_900_queries_at_once(process: Process, key: str) -> None:
    """Small requests wait for a few batches of many, with the same key and with another."""
    many = threading.Thread(target=ask_many, args=(process, KEYS["many"]))
    first = batches(process)
    many.start()
    while batches(process) < first + 3:
        assert many.is_alive()
    waited = []
    for number in range(4):
        before = batches(process)
        body = {"query": f"small {number}", "documents": ["one", "two"]}
        headers = {"x-api-key": KEYS[key]}
        reply = httpx.post(f"{process.url}/rerank", json=body, headers=headers, timeout=120)
        assert reply.status_code == 200
        waited.append(batches(process) - before)
    assert many.is_alive(), "the large request ended before the small ones were asked"
    many.join()
    # It is in one of the next two batches; the rest passes while the client connects and asks.
    total = batches(process) - first
    assert total > 100
    assert max(waited) < total / 2, (waited, total)
