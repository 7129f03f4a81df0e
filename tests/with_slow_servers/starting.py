"""Starts Infinity and Xinference, each in the environment that `make test-servers-slow` makes.

::

    with infinity(checkpoint) as url:
        Reranker("tiny", base_url=url, template="server-fixed")
    with xinference({"tiny-qwen3-reranker": checkpoint}) as url:
        Reranker("tiny-qwen3-reranker", base_url=url)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from support.checkpoints import write_converted_checkpoint
from with_servers.processes import ROOT, free_port, running, when_ready

INFINITY = ROOT / ".venv-infinity" / "bin"
XINFERENCE = ROOT / ".venv-xinference" / "bin"
LAUNCH_SECONDS = 300.0
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def write_for_infinity(folder: Path, source: Path) -> Path:
    """Write a causal checkpoint as the classifier that Infinity serves.

    Its transformers 4 reads ``rope_theta`` where that of 5 writes ``rope_parameters``, and it pads.
    """
    write_converted_checkpoint(folder, source)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    path.write_text(json.dumps(config))
    return folder


@contextmanager
def infinity(checkpoint: Path) -> Iterator[str]:
    """Yield the address of an Infinity that serves a causal checkpoint, converted, as ``tiny``."""
    with tempfile.TemporaryDirectory(prefix="infinity-") as folder:
        model = write_for_infinity(Path(folder) / "model", checkpoint)
        port = free_port()
        command = [
            *(str(INFINITY / "infinity_emb"), "v2", "--model-id", str(model)),
            *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)),
            *("--engine", "torch", "--device", "cpu", "--dtype", "float32"),
            *("--no-bettertransformer", "--no-model-warmup"),
        ]
        url = f"http://127.0.0.1:{port}"
        with running(command, Path(folder), **OFFLINE) as log:
            yield when_ready(log, lambda _: url, "/health")


@contextmanager
def xinference(models: Mapping[str, Path]) -> Iterator[str]:
    """Yield the address of an Xinference without keys, with its engine sentence-transformers.

    Args:
        models: Causal checkpoints by the names that they are registered and launched under.
    """
    with tempfile.TemporaryDirectory(prefix="xinference-") as folder:
        port = free_port()
        command = [str(XINFERENCE / "xinference-local"), "-H", "127.0.0.1", "-p", str(port)]
        own = {
            "XINFERENCE_HOME": folder,
            "XINFERENCE_AUTH_ADVANCED": "0",
            "XINFERENCE_ENABLE_VIRTUAL_ENV": "0",
        }
        url = f"http://127.0.0.1:{port}"
        with running(command, Path(folder), **OFFLINE, **own) as log:
            when_ready(log, lambda _: url, "/v1/models")
            for name, checkpoint in models.items():
                _launch(url, name, checkpoint)
            yield url


def _launch(url: str, name: str, checkpoint: Path) -> None:
    spec = {
        "model_format": "pytorch",
        "model_id": "none/none",
        "model_uri": checkpoint.resolve().as_uri(),
        "quantization": "none",
    }
    family = {
        "version": 2,
        "model_name": name,
        "type": "normal",
        "max_tokens": 8192,
        "language": ["en"],
        "model_specs": [spec],
    }
    launched = {
        "model_uid": name,
        "model_name": name,
        "model_type": "rerank",
        "model_engine": "sentence_transformers",
        "n_gpu": None,
    }
    bodies: dict[str, dict[str, Any]] = {
        "/v1/model_registrations/rerank": {"model": json.dumps(family), "persist": False},
        "/v1/models": launched,
    }
    for path, body in bodies.items():
        reply = httpx.post(url + path, json=body, timeout=LAUNCH_SECONDS, trust_env=False)
        assert reply.status_code == 200, reply.text
