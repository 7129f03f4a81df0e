"""What the bench computes from its samples, and whom it measures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.bench.agreement import differences
from benchmarks.bench.contestants import contestants
from benchmarks.bench.imports import import_times
from benchmarks.bench.markdown import overhead_lines, put
from benchmarks.bench.result import ContestantFacts, ModelFacts, Result, Sample, WorkloadFacts
from benchmarks.bench.shapes import make_checkpoint, shape_of, true_shape
from benchmarks.bench.summary import rows
from shared_core.options import RerankerOptions
from shared_core.scorers.local.loading import load_model

BUNDLED = Path(__file__).parents[2] / "shared_core" / "tiny"
MIB = 2**20


def sample(who: str, number: int, seconds: float, **variant: object) -> Sample:
    return Sample(
        workload="w",
        contestant=who,
        variant=variant,
        round=number,
        seconds=seconds,
        peak_bytes=50 * MIB,
    )


def result(*samples: Sample) -> Result:
    names = dict.fromkeys(one.contestant for one in samples)
    return Result(
        made="2026-01-01",
        command="python -m benchmarks.bench",
        machine={},
        versions={},
        model=ModelFacts(
            name="m",
            values="random",
            dtype="float32",
            device="cpu",
            parameters=1,
            weight_bytes=10 * MIB,
            product_flops_per_token=1000,
        ),
        rounds=3,
        products={"a": 500.0, "b": 1000.0},
        workloads=[
            WorkloadFacts(
                name="w",
                queries=1,
                documents=4,
                prompt_tokens=100,
                unique_tokens=60,
                longest_prompt=30,
                product_flops=1000,
                attention_flops=1,
            )
        ],
        contestants=[
            ContestantFacts(
                name=name,
                kind=name,
                ours=name.startswith("ours"),
                settings={},
                status="ran",
                base_bytes=30 * MIB,
            )
            for name in names
        ],
        samples=list(samples),
        agreements=[],
    )


def test_a_peer_counts_with_its_best_batch_of_those_tried_in_every_round() -> None:
    found = rows(
        result(
            sample("peer", 0, 1.0, batch=1),  # lucky once, then not tried again
            *(sample("peer", number, 4.0 + number, batch=4) for number in range(3)),
            *(sample("peer", number, 6.0, batch=16) for number in range(3)),
        )
    )
    (row,) = found
    assert row.variant == {"batch": 4}
    assert (row.seconds.low, row.seconds.median, row.seconds.high) == (4.5, 5.0, 5.5)
    assert row.p95 == pytest.approx(5.9)
    assert (row.prompt_tokens_per_second, row.unique_tokens_per_second) == (20.0, 12.0)
    assert row.documents_per_second == 0.8
    assert row.over_weights == 10 * MIB
    assert row.share_of_peak == pytest.approx(1000 / 1000.0 / 5.0)


def test_a_cold_and_a_warm_cache_are_two_rows() -> None:
    found = rows(result(sample("v", 0, 2.0, cache="cold"), sample("v", 0, 1.0, cache="warm")))
    assert [(row.name, row.seconds.median) for row in found] == [
        ("v, cold cache", 2.0),
        ("v, warm cache", 1.0),
    ]


def test_ratios_are_of_calls_of_the_same_round() -> None:
    found = rows(
        result(
            *(sample("peer", n, seconds) for n, seconds in enumerate([4.0, 2.0, 30.0])),
            *(sample("ours", n, seconds) for n, seconds in enumerate([1.0, 2.0, 10.0])),
        )
    )
    assert found[0].faster["ours"].median == 3.0  # of 4, 1 and 3; the medians' own would be 2
    assert "ours" not in found[1].faster


def test_an_import_is_shown_beside_the_framework_s_own() -> None:
    found = result()
    found.overhead = {
        "imports": {
            "import ours": {
                "beside": "import theirs",
                "seconds": 0.125,
                "their_seconds": 0.25,
                "ratio": {"median": 0.5, "low": 0.4, "high": 0.625},
            }
        }
    }
    assert overhead_lines(found, []) == [
        "- `import ours`: 0.125 s, 0.50 (0.40–0.62) × `import theirs`, 0.250 s."
    ]


def test_imports_are_timed_compiled_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that was not read as source is one that was compiled before."""
    from benchmarks.bench import imports

    log = tmp_path / "log"
    source = f"import os; open({str(log)!r}, 'a').write(f'{{os.path.exists(__cached__)}} ')"
    (tmp_path / "ours.py").write_text(source)
    (tmp_path / "theirs.py").write_text(source)
    monkeypatch.setattr(imports, "_BESIDE", {"json": {"import ours": "import theirs"}})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = import_times(2)
    assert found["import ours"]["beside"] == "import theirs"
    assert log.read_text().split() == ["True"] * 6
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("scores", "dtype"),
    [
        ([0.2, 0.9, 0.5, 0.61], "float32"),  # one is off by 0.01
        ([0.9, 0.2, 0.5, 0.6], "bfloat16"),  # two are swapped
        ([0.2, 0.9, 0.5], "bfloat16"),  # one is missing
        ([0.2, 0.9, 0.5, math.nan], "bfloat16"),
        ([0.52, 0.48, 0.52, 0.48], "bfloat16"),
    ],
)
def test_wrong_scores_disagree(scores: list[float], dtype: str) -> None:
    reference = [0.2, 0.9, 0.5, 0.6]
    assert not differences(scores, reference, dtype)[2]
    assert differences(reference, reference, dtype)[2]


def test_noise_of_the_dtype_agrees() -> None:
    assert differences([0.22, 0.88, 0.52, 0.58], [0.2, 0.9, 0.5, 0.6], "bfloat16")[2]
    assert not differences([0.22, 0.88, 0.52, 0.58], [0.2, 0.9, 0.5, 0.6], "float32")[2]


def test_more_of_ours_take_options_as_they_are_typed() -> None:
    given = ["small=max_batch_tokens=512,dtype=bfloat16,local_files_only=true"]
    found = contestants(given, "/nowhere", device="cpu", threads=3, without=["vllm", "ours: vllm"])
    assert [one.name for one in found][-2:] == ["ours", "ours: small"]
    assert found[-1].settings == {
        "max_batch_tokens": 512,
        "dtype": "bfloat16",
        "local_files_only": True,
    }
    assert {one.environment["OMP_NUM_THREADS"] for one in found} == {"3"}


def test_who_is_absent_says_why() -> None:
    found = contestants([], "/nowhere/python", device="cpu", threads=None)
    reasons = {one.name: one.absent for one in found}
    assert reasons["vLLM"] == reasons["ours: vllm"] == "there is no /nowhere/python"
    assert reasons["ours"] == ""


@pytest.mark.parametrize("given", ["fast", "fast=", "fast=quantize", "=quantize=int8"])
def test_malformed_options_of_ours_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        contestants([given], "/nowhere", device="cpu", threads=None)


def test_names_that_fit_nobody_are_refused() -> None:
    with pytest.raises(ValueError, match="no contestant is called 'tei'"):
        contestants([], "/nowhere", device="cpu", threads=None, only=["tei"])


def test_the_true_shapes_have_the_published_numbers_of_parameters() -> None:
    found = [true_shape(name, 151_669).parameters for name in ("0.6b", "4b", "8b")]
    assert found == [595_776_512, 4_021_784_576, 8_188_548_096]
    with pytest.raises(ValueError, match=r"0\.6b, 4b or 8b"):
        true_shape("1b", 151_669)


def test_the_shape_of_a_checkpoint_is_read_from_it() -> None:
    loaded = load_model(RerankerOptions(model="tiny", device="cpu", dtype="float32"))
    assert shape_of(BUNDLED).parameters == sum(p.numel() for p in loaded_parameters(BUNDLED))
    assert shape_of(BUNDLED).width == loaded.margin_weight.shape[0]


def loaded_parameters(folder: Path) -> list:
    from transformers import AutoModelForCausalLM

    return list(AutoModelForCausalLM.from_pretrained(folder).parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_a_random_checkpoint_loads_whole_and_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tied: bool
) -> None:
    import dataclasses

    from benchmarks.bench import shapes
    from shared_core import Reranker

    small = dataclasses.replace(
        true_shape("0.6b", 2048), layers=2, width=64, inner_width=96, heads=4
    )
    small = dataclasses.replace(
        small, key_value_heads=2, head_width=16, vocabulary=151_669, tied=tied
    )
    monkeypatch.setattr(shapes, "true_shape", lambda *_: small)
    monkeypatch.setattr(shapes, "_SHARD_BYTES", 2**20)
    folder = make_checkpoint("0.6b", "float32", BUNDLED, tmp_path)
    assert shape_of(folder) == small
    written = (folder / "config.json").stat().st_mtime_ns
    assert make_checkpoint("0.6b", "float32", BUNDLED, tmp_path) == folder
    assert (folder / "config.json").stat().st_mtime_ns == written
    scores = Reranker(str(folder), dtype="float32", device="cpu").score(
        "one", ["two", "three", "四"]
    )
    assert len({round(score, 6) for score in scores}) == 3


def test_tables_go_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench a -->\nold\n<!-- end -->\n<!-- bench b -->\n<!-- end -->\n")
    put(page, "a", r"new \1 text")
    assert page.read_text() == (
        "before\n<!-- bench a -->\n\nnew \\1 text\n<!-- end -->\n<!-- bench b -->\n<!-- end -->\n"
    )
    with pytest.raises(ValueError, match="<!-- bench c -->"):
        put(page, "c", "text")
