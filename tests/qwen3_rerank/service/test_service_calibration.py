"""A service with a calibration: `probability` in every row, `no_answer` in every reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.calibrations import HALF, calibrated
from support.services import Run

from shared_core.ranking import sigmoid

GOOD, POOR = ["-1.0", "6.0"], ["-3.0", "-2.0"]


@pytest.fixture
def calibrated_client(run: Run, tmp_path: Path) -> httpx.Client:
    return httpx.Client(base_url=run(calibrated(tmp_path)).url, timeout=30)


@pytest.mark.parametrize(
    ("path", "body", "results"),
    [
        ("/rerank", {"documents": GOOD}, "results"),
        ("/rerank", {"texts": GOOD}, None),
        ("/v1/rerank", {"documents": GOOD}, "results"),
        ("/v2/rerank", {"documents": GOOD}, "results"),
        ("/api/predict", {"documents": GOOD}, "result"),
    ],
)
def test_every_reply_has_them(
    calibrated_client: httpx.Client, path: str, body: Any, results: str | None
) -> None:
    reply = calibrated_client.post(path, json={"query": "q", **body}).json()
    rows = reply if results is None else reply[results]
    assert [row["probability"] for row in rows] == [HALF.of(6.0), HALF.of(-1.0)]
    if results is not None:  # TEI's reply is a bare list
        assert (reply["no_answer"], reply["answers"]) == (sigmoid(-6.0), True)
    kept = calibrated_client.post(path, json={"query": "q", **body, "min_probability": 0.5}).json()
    assert len(kept if results is None else kept[results]) == 1


def test_batches_and_pairs(calibrated_client: httpx.Client) -> None:
    body: dict[str, Any] = {"queries": ["q", "r"], "documents_batch": [GOOD, POOR]}
    reply = calibrated_client.post("/rerank/batch", json=body).json()
    assert reply["answers"] == [True, False]
    assert reply["no_answer"] == [sigmoid(-6.0), sigmoid(2.0)]
    assert [row["probability"] for row in reply["results"][1]] == [HALF.of(-2.0), HALF.of(-3.0)]
    body = {"queries": ["q", "r"], "documents": ["6.0", "-3.0"]}
    rows = calibrated_client.post("/score", json=body).json()["data"]
    assert [row["probability"] for row in rows] == [HALF.of(6.0), HALF.of(-3.0)]


def test_another_instruction_is_refused_and_names_no_file(calibrated_client: httpx.Client) -> None:
    body = {"query": "q", "documents": GOOD, "instruction": "Find poems"}
    refusal = calibrated_client.post("/rerank", json=body)
    assert refusal.status_code == 422
    assert "another instruction" in refusal.text
    assert "calibration.json" not in refusal.text


def test_the_instruction_in_a_wrapped_query_counts(calibrated_client: httpx.Client) -> None:
    wrapped = "<Instruct>: Find poems\n<Query>: q\n\n"
    body = {"query": wrapped, "documents": GOOD}
    for path in ("/rerank", "/score"):
        refusal = calibrated_client.post(path, json=body)
        assert (refusal.status_code, "another instruction" in refusal.text) == (422, True)
    half = calibrated_client.post("/rerank", json={**body, "query": f"x\n{wrapped}"})
    assert (half.status_code, "the model's own prompt" in half.text) == (422, True)


def test_without_a_calibration_nothing_changes(client: httpx.Client) -> None:
    body = {"query": "q", "documents": ["Mars is red."]}
    reply = client.post("/rerank", json=body).json()
    assert not {"no_answer", "answers", "probability"} & {*reply, *reply["results"][0]}
    refusal = client.post("/rerank", json={**body, "min_probability": 0.5})
    assert refusal.status_code == 422
    assert "no calibration" in refusal.text
