"""A wrong name of a model is told apart at once, and each mistake is told its remedy."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support.checkpoints import BUNDLED

from shared_core import (
    DEFAULT_MODEL,
    HubUnreachableError,
    ModelLoadError,
    Reranker,
    RerankerOptions,
    UnsupportedModelError,
)
from shared_core.scorers.local.checkpoints.model_source import locate_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what people have there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "model-Q8_0.gguf").write_bytes(b"GGUF")
    (tmp_path / "model.GGUF").write_bytes(b"GGUF")
    shutil.copytree(BUNDLED, tmp_path / "models" / "qwen3")
    for lacking in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copytree(BUNDLED, tmp_path / f"without-{lacking}")
        (tmp_path / f"without-{lacking}" / lacking).unlink()
    shutil.copytree(BUNDLED, tmp_path / "embedding")
    (tmp_path / "embedding" / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer"},'
        ' {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'
    )
    return tmp_path


MISTAKES = [
    ("tini", ModelLoadError, ["no model 'tini'", 'Did you mean "tiny"?']),
    ("qwen3-reranker-0.6b", ModelLoadError, [f'Did you mean "{DEFAULT_MODEL}"?']),
    ("modles", ModelLoadError, ["is no folder here", "Did you mean models?"]),
    ("./modles/qwen3", ModelLoadError, ["does not exist", "Did you mean models?"]),
    ("~/models/qwen4", ModelLoadError, ["models/qwen4", "Did you mean qwen3?"]),
    ("/there/is/no/such", ModelLoadError, ["'/there/is/no/such' does not exist"]),
    ("empty", ModelLoadError, ["is empty", "config.json, tokenizer.json and *.safetensors"]),
    ("models", ModelLoadError, ["has no config.json, but", "qwen3' has: give that"]),
    ("without-config.json", ModelLoadError, ["has no config.json"]),
    ("without-model.safetensors", ModelLoadError, ["has no weights (*.safetensors)"]),
    ("without-tokenizer.json", ModelLoadError, ["has no tokenizer.json"]),
    ("notes.txt", ModelLoadError, ["is a file: give its folder"]),
    ("model.GGUF", UnsupportedModelError, ["GGUF file", "llama-server", "base_url"]),
    ("nobody/has-this.gguf", UnsupportedModelError, ["GGUF file"]),
    ("converted", UnsupportedModelError, ["holds model-Q8_0.gguf", "llama-server"]),
    ("embedding", UnsupportedModelError, ["embedding model", DEFAULT_MODEL]),
    ("Qwen/Qwen3-Embedding-0.6B", UnsupportedModelError, ["embedding model", DEFAULT_MODEL]),
    ("Qwen/Qwen3-VL-Embedding-2B", UnsupportedModelError, ["embedding model"]),
    ("Qwen/Qwen3-VL-2B-Instruct", UnsupportedModelError, ["was not trained to rerank"]),
    ("not a/name", ModelLoadError, ["no name that a hub can have"]),
]


@pytest.mark.parametrize(("name", "error", "said"), MISTAKES, ids=[one[0] for one in MISTAKES])
def test_each_mistake_is_told_apart(
    here: Path, name: str, error: type[Exception], said: list[str]
) -> None:
    with pytest.raises(error) as raised:
        Reranker(name).score("query", ["document"])
    for part in said:
        assert part in str(raised.value)


def test_none_of_them_imports_torch(here: Path) -> None:
    program = f"""
import sys
from shared_core import ModelLoadError, Reranker
for name in {[name for name, _, _ in MISTAKES]!r}:
    try:
        Reranker(name).score("query", ["document"])
    except ModelLoadError:
        continue
    sys.exit(f"{{name}} was no mistake")
sys.exit(sorted({{"torch", "transformers"}} & sys.modules.keys()) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_below_home_is_found(here: Path) -> None:
    with Reranker("~/models/qwen3", device="cpu") as reranker:
        assert reranker.options.model == str(here / "models" / "qwen3")
        assert len(reranker.score("query", ["document"])) == 1
    assert Reranker(cache_dir="~/kept").options.cache_dir == str(here / "kept")
    assert Reranker(tokenizer="~/models/qwen3").options.tokenizer == str(here / "models" / "qwen3")


class Hub:
    """A hub on loopback: answers as told, and keeps what it is asked."""

    def __init__(self) -> None:
        self.status, self.code, self.files = 200, "", ["config.json"]
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append(self.path)
                files = ", ".join(f'{{"rfilename": "{name}"}}' for name in hub.files)
                body = f'{{"id": "me/model", "siblings": [{files}]}}'.encode()
                self.send_response(hub.status)
                if hub.code:
                    self.send_header("X-Error-Code", hub.code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", served.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "code", "name", "said"),
    [
        (401, "RepoNotFound", "Qwen/Qwen3-Reranker-0.6", f"has no model.*mean {DEFAULT_MODEL}"),
        (404, "RepoNotFound", "me/model", "has no model 'me/model', or a private one"),
        (403, "GatedRepo", "me/model", "is gated: accept its terms"),
        (404, "RevisionNotFound", "me/model", "has no revision 'v2'"),
    ],
)
def test_a_hub_that_has_no_such_model_is_asked_once(
    hub: Hub, tmp_path: Path, status: int, code: str, name: str, said: str
) -> None:
    hub.status, hub.code = status, code
    options = RerankerOptions(model=name, cache_dir=tmp_path, revision="v2")
    with pytest.raises(ModelLoadError, match=said) as raised:
        locate_model(options)
    assert not isinstance(raised.value, HubUnreachableError)
    assert sum("/models/" in path for path in hub.asked) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["README.md", "model-Q8_0.gguf"], "holds model-Q8_0.gguf"),
        (["README.md"], "has no config.json"),
        (["1_Pooling/config.json", "config.json"], "embedding model"),
    ],
)
def test_files_that_no_reranker_has_are_seen_before_a_download(
    hub: Hub, tmp_path: Path, files: list[str], said: str
) -> None:
    hub.files = files
    with pytest.raises(ModelLoadError, match=said):
        locate_model(RerankerOptions(model="me/model", cache_dir=tmp_path))


def test_a_mirror_that_keeps_no_list_is_left_to_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.status = 501
    options = RerankerOptions(model="me/model", cache_dir=tmp_path)
    assert locate_model(options) == options


class Silent:
    """A hub that cannot be reached: it hangs up on every connection, and counts them."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._hang_up, daemon=True).start()

    def _hang_up(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    silent = Silent()
    monkeypatch.setattr(constants, "ENDPOINT", silent.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield silent
    silent.close()


def test_without_a_network_a_model_that_is_not_here_fails_at_the_first_try(
    unreachable: Silent, tmp_path: Path
) -> None:
    with pytest.raises(HubUnreachableError) as raised:
        Reranker("me/model", cache_dir=str(tmp_path)).score("query", ["document"])
    for part in ("cannot be reached", "hf download me/model --local-dir", "HF_ENDPOINT"):
        assert part in str(raised.value)
    assert unreachable.connections <= 3  # the hub library has a question of its own


def test_without_a_network_a_model_in_the_cache_is_taken_from_there(
    unreachable: Silent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "models--me--model"
    shutil.copytree(BUNDLED, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    with Reranker("me/model", cache_dir=str(tmp_path), device="cpu") as reranker:
        assert len(reranker.score("query", ["document"])) == 1
    assert "me/model is taken from the cache" in caplog.text
    assert unreachable.connections <= 3  # the hub library has a question of its own


@pytest.mark.parametrize("set_by", ["local_files_only", "HF_HUB_OFFLINE"])
def test_who_forbids_the_network_is_asked_nothing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_by: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", set_by == "HF_HUB_OFFLINE")
    options = RerankerOptions(
        model="me/model", cache_dir=tmp_path, local_files_only=set_by == "local_files_only"
    )
    with pytest.raises(ModelLoadError, match=f"{set_by} is set.*hf download"):
        locate_model(options)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B-Base"])
def test_a_language_model_that_does_not_rerank_is_told_apart(name: str) -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"not trained to rerank.*give the adapter, too"
    ):
        Reranker(name).load()
