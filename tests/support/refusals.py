"""Checkpoints that are refused, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_core import Reranker, UnsupportedModelError


def refusal(folder: Path, error: type[Exception] = UnsupportedModelError) -> str:
    """Return why a folder is refused, by the scorer and by `check` alike."""
    with Reranker(str(folder), device="cpu") as reranker:
        with pytest.raises(error) as caught:
            reranker.score("query", ["document"])
        assert not reranker.is_loaded
        report = reranker.check()
    assert (report.is_right, report["scores"].status) == (False, "failed")
    assert report["scores"].detail == str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)
