"""What scores depend on: every option counts unless it is known not to, and no key is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared_core import Reranker
from shared_core.identity import NOT_SCORES, agree, differences, digest_of, identity
from shared_core.options import RerankerOptions

SECRET = "sk-do-not-write-me"
# Of every option that changes scores, a value that is not its default.
OTHER: dict[str, Any] = {
    "model": "another/model",
    "backend": "remote",
    "dtype": "bfloat16",
    "quantize": "int8",
    "max_length": 512,
    "revision": "v2",
    "answers": ("Yes", "No"),
    "engine_args": {"quantization": "fp8"},
    "base_url": "http://localhost:1",
    "dialect": "tei",
    "template": "server",
    "tokenizer": "another/tokenizer",
    "long_documents": "windows",
    "window_tokens": 100,
    "window_overlap": 7,
}
SERVER = {"base_url", "dialect", "template", "tokenizer", "backend"}


class Constant:
    """A scorer of one's own."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return [0.0] * len(documents)


def test_every_option_is_known_to_change_scores_or_not_to() -> None:
    """An option that is new has to be put into one of the two."""
    fields = set(RerankerOptions.model_fields)
    assert fields >= NOT_SCORES
    # What an adapter does to it is tested with adapters (scorers/local/checkpoints/test_lora.py).
    assert fields - NOT_SCORES == {*OTHER, "instruction", "adapter", "adapter_revision"}


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_changes_scores_changes_the_identity(name: str) -> None:
    base = {"base_url": "http://localhost:9"} if name in SERVER else {"device": "cpu"}
    with Reranker("tiny", **base) as one:
        before = identity(one)
    with Reranker(**({"model": "tiny"} | base | {name: OTHER[name]})) as other:
        if name == "backend":
            assert identity(other) == before  # said or found out, it is the same
        else:
            assert differences(before, identity(other)), name


def test_what_says_how_fast_or_where_changes_nothing() -> None:
    with Reranker("tiny", device="cpu") as one:
        before = identity(one)
    quick = {
        "max_batch_tokens": 99,
        "threads": 2,
        "cache_size": 5,
        "show_progress": True,
        "timeout": 3.0,
    }
    with Reranker("tiny", **quick, local_files_only=True) as other:
        assert identity(other) == before
    assert before["backend"] == "transformers"
    assert before["dtype"] == "float32"
    assert before["files"].startswith("sha256:")


def test_no_key_and_no_header_is_in_it() -> None:
    secrets = {"api_key": SECRET, "headers": {"X-Key": SECRET}}
    engine = {"hf_token": SECRET}
    with Reranker(base_url="http://localhost:9", **secrets) as remote:
        assert SECRET not in str(identity(remote))
    with Reranker("tiny", scorer=Constant(), engine_args=engine) as custom:
        assert SECRET not in str(identity(custom))
        assert identity(custom)["backend"].endswith(".Constant")


def test_a_digest_is_of_every_byte_of_a_file(tmp_path: Path) -> None:
    """Also far from both ends: a merged adapter changes weights in the middle alone."""
    path = tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        stream.truncate(80 << 20)
    first = digest_of(tmp_path)
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(40 << 20)
        stream.write(b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert digest_of(tmp_path) != first
    (tmp_path / "README.md").write_text("not read by a model")
    assert digest_of(tmp_path) != first


def test_margins_agree_up_to_the_rounding_of_their_dtype() -> None:
    assert agree({"dtype": "float32"}, [1.0, -8.0], [1.001, -8.001])
    assert not agree({"dtype": "float32"}, [1.0, -8.0], [1.02, -8.0])
    assert agree({"dtype": "bfloat16"}, [1.0], [1.2])
    assert not agree({"dtype": "bfloat16"}, [1.0, 2.0], [1.0, 2.3])
    assert not agree({"dtype": "bfloat16"}, [14.0], [15.0])
    assert agree({"backend": "remote"}, [14.0], [15.0])  # probabilities of a server, near one
    assert not agree({"backend": "remote"}, [1.0], [1.5])
    assert not agree({"backend": "mine.Scorer"}, [40.0], [41.0])
    assert not agree({"backend": "remote"}, [1.0], [1.0, 1.0])
