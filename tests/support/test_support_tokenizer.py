"""The Qwen3 tokenizer that the tests make for themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import qwen3_tokenizer
from support.qwen3_tokenizer import qwen3_tokenizer_folder


def test_it_has_the_ids_of_qwen3(real_tokenizer: Any) -> None:
    assert len(real_tokenizer) == 151_669
    text = "<|im_start|>user\n<think> Straßen, 北京 and\u0065\u0301 2024!\r\n"
    assert real_tokenizer.encode(text) == [
        *(151644, 872, 198, 151667, 143089, 11, 94305, 245, 46553, 323, 963, 220),
        *(17, 15, 17, 19, 45626),
    ]


def test_two_that_make_it_at_the_same_time_in_place_of_a_torn_one(tmp_path: Path) -> None:
    torn = tmp_path / qwen3_tokenizer.SHA256[:16] / "tokenizer.json"
    torn.parent.mkdir()
    torn.write_text("{")
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(qwen3_tokenizer_folder, [tmp_path, tmp_path]))
    assert folders == [torn.parent, torn.parent]
    assert list(tmp_path.iterdir()) == [torn.parent]
    assert qwen3_tokenizer.is_complete(torn.parent)


def test_another_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = qwen3_tokenizer.read_ranks()
    last, before = list(ranks)[-1], list(ranks)[-2]
    ranks[last], ranks[before] = ranks[before], ranks[last]
    monkeypatch.setattr(qwen3_tokenizer, "read_ranks", lambda: ranks)
    with pytest.raises(ValueError, match="another vocabulary"):
        qwen3_tokenizer_folder(tmp_path)
    assert not list(tmp_path.iterdir())
