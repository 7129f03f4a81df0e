"""A model that nobody has used for a while is freed, never in use, and loaded again."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import write_checkpoint
from support.waiting import until

from shared_core import Reranker
from shared_core.backend.idle import IdleClock

QUERY, DOCUMENTS = "Which drink?", ["tea", "coffee " * 40]
PATIENCE = 60

SCRIPT = """
import os, sys, time
from shared_core import Reranker

def mebibytes():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

def until(state):
    while reranker.is_loaded != state:
        time.sleep(0.02)
    reranker.scorer._worker.run(nothing())  # which runs what is freed to its end

def nothing():
    return None
    yield

Reranker("tiny").score("query", ["a document"])  # so that nothing is left to import
reranker = Reranker(sys.argv[1], dtype="float32", device="cpu", unload_after=0.3)
before = mebibytes()
expected = reranker.score("query", ["a document"])
loaded = mebibytes()
until(False)
freed = mebibytes()
again = reranker.score("query", ["a document"])
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    assert reranker.score("query", ["a document"]) == expected
    until(False)
    assert reranker.score("query", ["a document"]) == expected
    os._exit(0)
until(False)
print(loaded - before, freed - before, again == expected)
"""


class Freed:
    """Something that an idle clock frees."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def free(self) -> None:
        self.event.set()


class Held:
    """A scorer whose calls last until they are let go, and that counts what is freed in one."""

    def __init__(self) -> None:
        self.is_loaded = False
        self.loads = self.in_use = self.calls = 0
        self.go, self.freed = threading.Event(), threading.Event()

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.loads += not self.is_loaded
        self.is_loaded = True
        self.calls += 1
        assert self.go.wait(PATIENCE)
        self.calls -= 1
        return [0.0] * len(documents)

    def unload(self) -> None:
        self.in_use += self.calls
        self.is_loaded = False
        self.freed.set()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which has /proc")
def test_the_memory_goes_back_to_the_system(tmp_path: Path, small_tokenizer: Any) -> None:
    """Here and in a forked child, which loads and frees by itself."""
    shape = {"hidden_size": 512, "intermediate_size": 1536, "head_dim": 64}
    heads = {"num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4}
    write_checkpoint(tmp_path, small_tokenizer, **shape, **heads)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    loaded, freed, same = done.stdout.split()
    assert float(loaded) > 60  # of 75 MiB of layers, and the rows of the table that occur
    assert float(freed) < 15
    assert same == "True"


def test_it_is_loaded_again_by_the_next_call(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qwen3_rerank")

    def times(said: str) -> int:
        return sum(said in record.getMessage() for record in caplog.records)

    def wait_until_unloaded(expected: int) -> None:
        until(lambda: times("is unloaded: not used for 0.2 s") == expected)
        assert (reranker.is_loaded, times("is loaded")) == (False, expected)

    with Reranker(str(checkpoint), dtype="float32", device="cpu", unload_after=0.2) as reranker:
        expected = reranker.score(QUERY, DOCUMENTS)
        for unloads in (1, 2):
            wait_until_unloaded(unloads)
            with ThreadPoolExecutor(4) as pool:
                scores = list(pool.map(lambda _: reranker.score(QUERY, DOCUMENTS), range(4)))
            assert scores == [expected] * 4
        wait_until_unloaded(3)
        asyncio.run(reranker.ascore(QUERY, ["tea " * 900], long_documents="windows"))
        wait_until_unloaded(4)


def test_no_call_loses_its_model() -> None:
    scorer = Held()
    with Reranker(scorer=scorer, unload_after=0.05) as reranker:
        threads = [
            threading.Thread(target=reranker.score, args=(f"query {n}", ["a"])) for n in range(3)
        ]
        for thread in threads:
            thread.start()
        until(lambda: scorer.calls == len(threads))
        assert not scorer.freed.wait(0.3)
        scorer.go.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert scorer.freed.wait(PATIENCE)
        assert (scorer.in_use, scorer.is_loaded) == (0, False)
        loads = scorer.loads
        reranker.score("again", ["a"])
        assert scorer.loads == loads + 1


def test_a_closed_reranker_frees_nothing_more() -> None:
    scorer = Held()
    scorer.go.set()
    reranker = Reranker(scorer=scorer, unload_after=0.05)
    reranker.score(QUERY, DOCUMENTS)
    reranker.close()
    scorer.is_loaded, scorer.freed = True, threading.Event()  # its user goes on using it
    assert not scorer.freed.wait(0.3)


def test_the_clock_starts_after_the_last_of_overlapping_uses() -> None:
    freed = Freed()
    clock = IdleClock(0.05, freed.free)
    first, second = clock.used(), clock.used()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not freed.event.wait(0.3)
    second.__exit__(None, None, None)
    assert freed.event.wait(PATIENCE)


def test_the_clock_keeps_nothing_alive() -> None:
    freed = Freed()
    event = freed.event
    clock = IdleClock(0.2, freed.free)
    with clock.used():
        pass
    del freed
    gc.collect()
    assert not event.wait(0.5)


def test_without_it_no_thread_is_started() -> None:
    freed = Freed()
    clock = IdleClock(None, freed.free)
    before = threading.active_count()
    with clock.used():
        pass
    assert threading.active_count() == before
