"""llama.cpp's HTTP server over a checkpoint, run in the environment of `make test-servers`.

::

    python llamacpp_process.py CHECKPOINT FILE.gguf --file with-head|without-head [--quantised]
        [--reranking] [--context 2048] [--port 0]

It converts the checkpoint, serves the file on a port of loopback (0 is a free one), and prints the
address. The conversion is that of llama.cpp's ``convert_hf_to_gguf.py`` for Qwen3-Reranker: with
its head, a file has the tensor ``cls.output.weight``, rank pooling and the template ``rerank``;
without it, it is the file of any Qwen3, as many that can be downloaded are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]
import numpy as np
import xllamacpp  # type: ignore[import-not-found]
from safetensors.numpy import load_file

TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that "
    "answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n"
)


def write_gguf(folder: Path, path: Path, *, has_head: bool, is_quantised: bool) -> None:
    """Write a Qwen3 checkpoint as a GGUF file."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tensors = load_file(folder / "model.safetensors")
    writer = gguf.GGUFWriter(path, "qwen3")
    _add_shape(writer, config)
    _add_tokenizer(writer, tokenizer, config["vocab_size"])
    if has_head:
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": TEMPLATE}])
        answers = [tokenizer["model"]["vocab"][word] for word in ("yes", "no")]
        head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
        writer.add_tensor("cls.output.weight", head[answers].astype(np.float32))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for name, tensor in tensors.items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        place, values = names.get_name(name, (".weight",)), tensor.astype(np.float32)
        if is_quantised and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(place, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(place, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: Any, config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or config
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: Any, tokenizer: dict[str, Any], size: int) -> None:
    texts = [f"[PAD{index}]" for index in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, index in tokenizer["model"]["vocab"].items():
        texts[index], kinds[index] = text, gguf.TokenType.NORMAL
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    for token in tokenizer["added_tokens"]:
        texts[token["id"]] = token["content"]
        is_control = token["special"]
        kinds[token["id"]] = gguf.TokenType.CONTROL if is_control else gguf.TokenType.USER_DEFINED
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(added["<|im_end|>"])
    writer.add_pad_token_id(added["<|endoftext|>"])
    writer.add_add_bos_token(False)  # its name for the only argument is "value"


def serve(path: Path, *, reranking: bool, context: int, port: int) -> None:
    """Serve a file until the process is ended."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = context
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.warmup = False
    parameters.verbosity = 0
    if reranking:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    while True:
        time.sleep(3600)


def main() -> None:
    """Write the file, and serve it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--file", choices=["with-head", "without-head"], required=True)
    parser.add_argument("--quantised", action="store_true")
    parser.add_argument("--reranking", action="store_true")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--port", type=int, default=0)
    told = parser.parse_args()
    has_head = told.file == "with-head"
    write_gguf(told.checkpoint, told.path, has_head=has_head, is_quantised=told.quantised)
    serve(told.path, reranking=told.reranking, context=told.context, port=told.port)


if __name__ == "__main__":
    main()
