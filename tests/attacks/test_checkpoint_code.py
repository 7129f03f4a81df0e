"""Code in a checkpoint's folder never runs, and nobody is asked whether it may."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

CODE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import Qwen3Config as C, Qwen3ForCausalLM as M, Qwen2TokenizerFast as T
"""
ATTEMPT = """
import sys
from shared_core import RerankError, Reranker
for folder in sys.argv[1:]:
    try:
        print("scored", len(Reranker(folder, device="cpu").score("query", ["document"])))
    except RerankError as error:
        print("refused", str(error).splitlines()[0])
"""


def attacked(folder: Path, source: Path, *, model_type: str, tokenizer: bool) -> Path:
    """Return a checkpoint that names code of its own wherever one can be named."""
    shutil.copytree(source, folder)
    marker = folder / "ran"
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    names = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoModel": "own.M"}
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": model_type,
        "auto_map": names,
        "custom_pipelines": {"rerank": {"impl": "own.M"}},
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "own.py", folder / "custom_generate" / "generate.py")
    path = folder / "tokenizer_config.json"
    said = {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["own.T", "own.T"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    if not tokenizer:
        (folder / "tokenizer.json").unlink()
    return folder


def test_no_code_of_a_folder_runs_and_no_question_is_asked(
    tmp_path: Path, checkpoint: Path
) -> None:
    """A terminal that answers every question with "y" is asked none."""
    folders = [
        attacked(tmp_path / name, checkpoint, model_type=model_type, tokenizer=tokenizer)
        for name, model_type, tokenizer in (
            ("ours", "qwen3", True),
            ("own", "own_model", True),
            ("untokenised", "qwen3", False),
        )
    ]
    terminal, stdin = pty.openpty()
    os.write(terminal, b"y\n" * 20)
    try:
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPT, *map(str, folders)],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    finally:
        os.close(stdin)
        os.close(terminal)
    scored, own, untokenised = done.stdout.splitlines()
    assert scored == "scored 1"
    assert own.startswith("refused")
    assert "'own_model'" in own
    assert untokenised.startswith("refused")
    assert "tokenizer" in untokenised
    assert "y/N" not in done.stdout + done.stderr
    assert "trust_remote_code" not in done.stdout
    assert [folder.name for folder in folders if (folder / "ran").exists()] == []
