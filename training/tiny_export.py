"""Writes a trained model as a `Qwen3ForCausalLM` checkpoint and checks that it is the same."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_model import ROPE_THETA, GroupReranker, hf_config
from tiny_prompt import DEFAULT_INSTRUCTION, SUFFIX, instruction_head, query_tail
from tiny_tokenizer import save_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer, Qwen3ForCausalLM


def export(model: GroupReranker, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes config.json, model.safetensors, tokenizer.json and tokenizer_config.json.

    The weights are stored as float16, and the configuration asks loaders to compute in float32.
    """
    save_tokenizer(tokenizer, folder)
    weights = {name: x.detach().cpu().half().contiguous() for name, x in model.state_dict().items()}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # written as 0600
    vocabulary = model.model.embed_tokens.num_embeddings
    pad_id, eos_id = (tokenizer.token_to_id(x) for x in ("<|endoftext|>", "<|im_end|>"))
    config = hf_config(vocabulary, pad_id, eos_id) | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        # what transformers 4 reads; without it, it would take 10,000
        "rope_theta": ROPE_THETA,
        "torch_dtype": "float32",
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def check(model: GroupReranker, folder: Path) -> float:
    """The largest difference in margin between `model` in groups and the files one by one.

    Both are computed in float32 from the stored float16 weights.
    """
    reloaded = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    auto = AutoTokenizer.from_pretrained(folder)
    rounded = GroupReranker(model.model.embed_tokens.num_embeddings, model.yes_id, model.no_id)
    rounded.load_state_dict({k: v.cpu().half().float() for k, v in model.state_dict().items()})
    queries = ["Why is the sky blue?", "¿Cuántos puntos?", "pip install"]
    documents = [
        "Air scatters blue light more than red.",
        "Bread needs yeast. " * 9,
        "天空是蓝色的。",
    ]
    worst = 0.0
    with torch.no_grad():
        for query in queries:
            head = instruction_head(DEFAULT_INSTRUCTION) + query_tail(query)
            prefix = auto(head, add_special_tokens=False).input_ids
            rows = [
                auto(f" {text}{SUFFIX}", add_special_tokens=False).input_ids for text in documents
            ]
            longest = max(map(len, rows))
            margins = rounded(
                torch.tensor([prefix + [0] * 5]),
                torch.tensor([len(prefix)]),
                torch.tensor([[row + [0] * (longest - len(row)) for row in rows]]),
                torch.tensor([[len(row) for row in rows]]),
            )[0]
            for text, margin in zip(documents, margins, strict=True):
                ids = auto(f"{head} {text}{SUFFIX}", return_tensors="pt", add_special_tokens=False)
                last = reloaded(**ids).logits[0, -1]
                worst = max(worst, abs(float(last[model.yes_id] - last[model.no_id] - margin)))
    return worst
