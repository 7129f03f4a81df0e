"""Running out of memory for real: a process whose address space is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared_core import Reranker

pytest.importorskip("resource", reason="needs a Unix system, to limit memory")
if sys.platform != "linux":
    pytest.skip("needs Linux, whose allocator keeps to limits", allow_module_level=True)

SCRIPT = """
import logging, resource, sys
from shared_core import DeviceMemoryError, Reranker

logging.basicConfig(format="%(message)s")
reranker = Reranker(sys.argv[1], dtype="float32", device="cpu", max_length=40960,
                    max_batch_tokens=10**9)
_, _, spare, count, words = sys.argv
documents = [f"word {number} " * int(words) for number in range(int(count))]
expected = [reranker.score("query", [document])[0] for document in documents[1:4]]
reranker.score("query", ["warm up"])

pages = int(open("/proc/self/statm").read().split()[0])
bound = pages * resource.getpagesize() + int(spare) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
try:
    scores = reranker.score("query", documents)
except DeviceMemoryError as error:
    print("single", error)
else:
    assert all(abs(one - other) < 1e-5 for one, other in zip(scores[1:4], expected))
    assert len(scores) == len(documents)
    print("all scored")
"""


def run(checkpoint: Path, *numbers: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(checkpoint), *map(str, numbers)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_packs_are_halved_until_they_fit(checkpoint: Path) -> None:
    spare_mebibytes = 400
    finished = run(checkpoint, spare_mebibytes, 120, 400)
    assert finished.stdout.strip() == "all scored", finished.stderr
    assert "out of memory on cpu" in finished.stderr


def test_a_single_document_that_does_not_fit_is_a_clear_error(checkpoint: Path) -> None:
    spare_mebibytes = 20
    finished = run(checkpoint, spare_mebibytes, 1, 18_000)
    assert finished.stdout.startswith("single a single document of"), finished.stderr
    assert "lower max_length" in finished.stdout


def test_after_one_failure_no_later_pack_is_as_large(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is half of what did not fit, for waiting packs and for later calls."""
    import torch

    from shared_core.scorers.local import scorer as scorer

    forward, sizes, fits = scorer._forward, [], 400

    def bounded_forward(loaded: scorer.LoadedModel, pack: scorer.Pack) -> list[float]:
        sizes.append(len(pack.ids))
        if len(pack.ids) > fits:
            raise torch.OutOfMemoryError("injected")
        return forward(loaded, pack)

    documents = [f"document number {number} of some length" for number in range(60)]
    with Reranker(str(checkpoint), dtype="float32", device="cpu", max_batch_tokens=700) as reranker:
        expected = reranker.score("query", documents)
        monkeypatch.setattr(scorer, "_forward", bounded_forward)
        assert reranker.score("query", documents) == pytest.approx(expected, abs=1e-5)
        failed = [size for size in sizes if size > fits]
        assert len(failed) == 1, sizes
        assert max(sizes[1:]) <= failed[0] // 2
        del sizes[:]
        reranker.score("another query", documents)
        assert max(sizes) <= failed[0] // 2
