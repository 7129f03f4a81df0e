"""Weights that were converted and laid out anew are in memory once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import random_config
from transformers import Qwen3ForCausalLM

if sys.platform != "linux":
    pytest.skip("needs Linux, which has /proc", allow_module_level=True)

SCRIPT = """
import sys
import shared_core.scorers.local.scorer
from shared_core import Reranker

def mebibytes():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

Reranker("tiny").score("query", ["a document"])  # so that nothing is left to import
before = mebibytes()
reranker = Reranker(sys.argv[1], dtype="float32", device="cpu")
reranker.score("query", ["a document"])
print(mebibytes() - before)
"""


def test_they_are_in_memory_once(tmp_path: Path, small_tokenizer: Any) -> None:
    """Without giving freed memory back, it was 1.27 times the weights."""
    config = random_config(
        len(small_tokenizer),
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=6,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
    )
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    small_tokenizer.save_pretrained(tmp_path)
    # The table of embeddings stays in its file.
    weights = sum(weight.numel() for weight in model.model.layers.parameters()) * 4 / 2**20
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    grown = float(done.stdout)
    assert 0.9 * weights < grown < 1.1 * weights + 20
