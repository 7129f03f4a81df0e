"""The benchmark for CUDA: it refuses to run without, and on a CPU the whole script runs, small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.bench.contestants import OURS, RECIPE, SENTENCE_TRANSFORMERS
from benchmarks.bench.result import Result


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_cuda_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert "--device cpu --quick" in capsys.readouterr().err
    assert gpu.main(["--device", "cpu"]) == 2
    assert "--quick alone" in capsys.readouterr().err


def test_the_peers_take_part_with_their_best_batches() -> None:
    found = {one.name: list(one.variants) for one in gpu.everybody("cuda", quick=False)}
    assert found == {
        RECIPE: [{"batch": 8}],
        SENTENCE_TRANSFORMERS: [{"batch": size} for size in (16, 32, 64, 128)],
        OURS: [{}],
        "ours: no graphs": [{}],
        "ours: no graphs, no kernels": [{}],
    }


def test_the_whole_script_runs_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = "ours: no graphs, no kernels"
    ours = [one for one in gpu.everybody("cpu", quick=True) if one.name in (OURS, last)]
    monkeypatch.setattr(gpu, "everybody", lambda *_, **__: ours)
    monkeypatch.setitem(gpu.CASES, "tiny", [replace(gpu.CASES["tiny"][0], goal=2.5)])
    assert gpu.main(["--device", "cpu", "--quick", "--output", str(tmp_path)]) == 0
    written = (tmp_path / "gpu.md").read_text("utf-8")
    assert written in capsys.readouterr().out
    assert "tiny, in use: BlockAttention, PlainElementwise, no graphs." in written
    assert "tiny, first call: " in written
    assert "tiny, first call on this machine: " in written
    assert str(tmp_path) not in written

    result = Result.read(tmp_path / "gpu-tiny-float32.json")
    slower = [
        sample.model_copy(update={"contestant": RECIPE, "seconds": 3 * sample.seconds})
        for sample in result.samples
        if sample.contestant == OURS
    ]
    peer = result.contestants[0].model_copy(update={"name": RECIPE, "ours": False})
    beside = result.model_copy(
        update={
            "samples": result.samples + slower,
            "contestants": [peer, *result.contestants],
        }
    )
    (line,) = (row for row in gpu.table([("tiny", beside)]).splitlines() if "4 × ~30" in row)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[2:4] == [f"{3e3 * result.samples[0].seconds:,.3g}", ""]
    assert (cells[5], cells[8]) == ("3.00", "≤ 2.5")
