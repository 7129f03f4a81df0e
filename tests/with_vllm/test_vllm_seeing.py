"""backend="vllm" judges images as the model in this process does, and from the recipe's ids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from parity import vision_reference as reference
from support.vision import queries_and_documents, write_preprocessor, write_vision_checkpoint

from shared_core import Content, ModelLoadError, Reranker
from shared_core.options import RerankerOptions

SCRIPT = Path(__file__).parent / "seeing.py"
FLOAT32_TOLERANCE = 1e-4  # of margins from −0.9 to 1.4; the largest difference seen was 4e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, real_tokenizer: Any) -> Path:
    folder = write_vision_checkpoint(tmp_path_factory.mktemp("vision"), real_tokenizer)
    write_preprocessor(folder)
    return folder


def test_images_are_judged_as_in_this_process(folder: Path, real_tokenizer: Any) -> None:
    """Texts, images and both; a refusal names the document as the caller counts."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], stdout=subprocess.PIPE, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    queries, documents = queries_and_documents()
    with Reranker(str(folder), dtype="float32", max_length=4096) as local:
        expected = [local.judge(query, documents) for query in queries]
    logits = [one.logit for row in expected for one in row]
    assert len(set(logits)) == len(logits)
    assert [pair[0] for row in found["judged"] for pair in row] == pytest.approx(
        logits, abs=FLOAT32_TOLERANCE
    )
    counts = [[one.n_tokens for one in row] for row in expected]
    assert [[pair[1] for pair in row] for row in found["judged"]] == counts
    last, *_ = reversed(queries)
    assert found["ids"] == [
        reference.inputs(real_tokenizer, reference.format_pair(parts(last), parts(one))).ids
        for one in documents
    ]
    assert "document 2 has images of" in found["refusal"]


def parts(item: str | Content) -> tuple[list[Any], str | None]:
    """Return images and text as the recipe takes them."""
    return ([], item) if isinstance(item, str) else ([*item.images], item.text or None)


def test_what_vllm_lacks_for_images_is_said_before_it_is_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared_core.scorers.vllm.engine import read_checkpoint  # imports vLLM

    options = RerankerOptions(model=str(folder), backend="vllm", max_length=512)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModelLoadError, match="torchvision, which cannot be imported here"):
        read_checkpoint(options)
    monkeypatch.setitem(sys.modules, "torchvision", sys)
    arguments = read_checkpoint(options).arguments
    assert arguments["hf_overrides"]["architectures"] == ["Qwen3VLForSequenceClassification"]
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"no preprocessor_config\.json"):
        read_checkpoint(options)
