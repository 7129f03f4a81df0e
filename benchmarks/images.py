"""Speed of Qwen3-VL-Reranker in this process beside the ways of its authors and of transformers.

A query with an image is judged against documents of an image and a caption each::

    python -m benchmarks.images --cache-dir /tmp/models             # the 2B's shape, random values
    python -m benchmarks.images --model Qwen/Qwen3-VL-Reranker-2B   # the real one

Each way runs in a process of its own, in turn, and is timed after one pair to warm up:

- ours: `shared_core.Reranker`;
- pairs: one pair after the other, as its authors' code does (QwenLM/Qwen3-VL-Embedding at 8ce3aab);
- batch: all pairs in one padded batch of transformers.

CPU seconds of one thread are steady where other programs share the machine; the clock is not, nor
are those of several threads, which wait for one another while they count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_WAYS = ("ours", "pairs", "batch")
_SIDE = 448
_INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
_QUERY = "Where is a chart like this one, with the sales of the second quarter by region?"
_CAPTION = "Figure {number}: sales of the second quarter by region, in millions, as of July."


def drawn(seed: int) -> Image.Image:
    """Return an image of coarse and of fine patterns."""
    source = np.random.default_rng(seed)
    coarse = Image.fromarray(source.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    noise = source.integers(-20, 21, (_SIDE, _SIDE, 3))
    pixels = np.asarray(coarse.resize((_SIDE, _SIDE)), dtype=np.int64) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_checkpoint(tokenizer: Path, cache: Path, divisor: int) -> Path:
    """Return the folder of a checkpoint of the 2B's shape with random values in bfloat16.

    Source of the shape: the configuration of Qwen3-VL-2B.

    Args:
        divisor: What the numbers of layers are divided by.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    folder = cache / f"qwen3-vl-reranker-2b-{divisor}-random"
    if (folder / "tokenizer.json").is_file():  # which is written last
        return folder
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]}
    text = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28 // divisor,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "initializer_range": 0.04,
        "rope_parameters": rope | {"mrope_interleaved": True},
    }
    vision = {
        "depth": 24 // divisor,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [layer // divisor for layer in (5, 11, 17)],
        "initializer_range": 0.04,
    }
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, dtype="bfloat16"
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder, max_shard_size="2GB")
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def ours(model: str, dtype: str, numbers: Sequence[int]) -> list[float]:
    """Return the margins of some documents by this library."""
    from shared_core import Content

    documents = [Content(_CAPTION.format(number=n), [drawn(n)]) for n in numbers]
    ranking = _state(lambda: _reranker(model, dtype)).rerank(Content(_QUERY, [drawn(0)]), documents)
    return [ranked.logit for ranked in sorted(ranking, key=lambda ranked: ranked.index)]


def pairs(model: str, dtype: str, numbers: Sequence[int]) -> list[float]:
    """Return the margins of some documents, one after the other."""
    return [batch(model, dtype, [number])[0] for number in numbers]


def batch(model: str, dtype: str, numbers: Sequence[int]) -> list[float]:
    """Return the margins of some documents in one batch of transformers, padded on the left."""
    import torch

    network, tokenizer, processor = _state(lambda: _transformers(model, dtype))
    images = [image for number in numbers for image in (drawn(0), drawn(number))]
    pixels = processor(images=images, do_resize=False, return_tensors="pt")
    counts = (pixels["image_grid_thw"].prod(dim=1) // 4).tolist()
    shown = [f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>" for count in counts]
    texts = [
        f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n"
        f"<Instruct>: {_INSTRUCTION}<Query>:{shown[2 * place]}{_QUERY}\n"
        f"<Document>:{shown[2 * place + 1]}{_CAPTION.format(number=number)}<|im_end|>\n"
        "<|im_start|>assistant\n"
        for place, number in enumerate(numbers)
    ]
    given = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    with torch.inference_mode():
        hidden = network.model(
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            mm_token_type_ids=(given["input_ids"] == pad).int(),
            pixel_values=pixels["pixel_values"],
            image_grid_thw=pixels["image_grid_thw"],
        ).last_hidden_state[:, -1]
        yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        rows = network.lm_head.weight
        margins: list[float] = (hidden.float() @ (rows[yes] - rows[no]).float()).tolist()
    return margins


_kept: list[Any] = []


def _state(make: Any) -> Any:
    """Return what one process keeps from one call to the next."""
    if not _kept:
        _kept.append(make())
    return _kept[0]


def _reranker(model: str, dtype: str) -> Any:
    from shared_core import Reranker

    return Reranker(model, dtype=dtype, device="cpu")


def _transformers(model: str, dtype: str) -> tuple[Any, Any, Any]:
    from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    half = [0.5] * 3
    processor = Qwen2VLImageProcessorPil(patch_size=16, image_mean=half, image_std=half)
    network = Qwen3VLForConditionalGeneration.from_pretrained(model, dtype=dtype).eval()
    return network, AutoTokenizer.from_pretrained(model), processor


def timed(way: str, model: str, dtype: str, n_documents: int) -> dict[str, Any]:
    """Return the seconds of one call after a warm-up, and its margins."""
    judge = {"ours": ours, "pairs": pairs, "batch": batch}[way]
    judge(model, dtype, [1])
    start, cpu_start = time.perf_counter(), time.process_time()
    margins = judge(model, dtype, range(1, n_documents + 1))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "margins": margins}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="a folder or hub name; else the 2B's shape is made")
    parser.add_argument("--tokenizer", type=Path, help="a Qwen3 tokenizer for the made one")
    parser.add_argument("--cache-dir", type=Path, default=Path.home() / ".cache" / "qwen3-rerank")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument(
        "--divide-layers",
        type=int,
        default=1,
        help="make a part of the layers, 4 a quarter: each costs the same, so ratios stay",
    )
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=_WAYS, default=_WAYS)
    parser.add_argument("--child", choices=_WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(timed(options.child, options.model, options.dtype, options.documents)))
        return
    if options.model is None:
        if options.tokenizer is None:
            parser.error("give a --model, or a --tokenizer for one of the 2B's shape")
        options.model = str(
            make_checkpoint(options.tokenizer, options.cache_dir, options.divide_layers)
        )
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
    for _ in range(options.rounds):
        for way in options.ways:
            command = [sys.executable, "-m", "benchmarks.images", "--child", way]
            command += ["--model", options.model, "--dtype", options.dtype]
            command += ["--documents", str(options.documents)]
            environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
            output = subprocess.run(  # noqa: S603
                command, stdout=subprocess.PIPE, check=True, text=True, env=environment
            ).stdout
            found[way].append(json.loads(output.splitlines()[-1]))
            shown = {key: round(found[way][-1][key], 1) for key in ("seconds", "cpu_seconds")}
            print(way, shown, flush=True)
    first = found[options.ways[0]][0]["margins"]
    print("\n| way | seconds | CPU seconds | of ours | largest difference of margins |")
    print("|---|---|---|---|---|")
    base = statistics.median(one["cpu_seconds"] for one in found[options.ways[0]])
    for way, results in found.items():
        seconds, cpu = (
            statistics.median(one[key] for one in results) for key in ("seconds", "cpu_seconds")
        )
        apart = max(abs(a - b) for a, b in zip(first, results[0]["margins"], strict=True))
        print(f"| {way} | {seconds:.1f} | {cpu:.1f} | {cpu / base:.2f} | {apart:.3g} |")


if __name__ == "__main__":
    main()
