"""Download and checks of a checkpoint's files, without torch.

What is refused here shows in names and in JSON alone: adapters, quantised weights, and folders of
which one reader would take other weights than the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_core.errors import ModelLoadError, UnsupportedModelError

CONFIG = "config.json"
INT8 = "qwen3-rerank-int8"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"
_MOST_JSON = 64 * 1024**2
_QUANTISATION_FILES = (
    "hf_quant_config.json",
    "quantize_config.json",
    "quant_config.json",
    "quantization_config.json",
)
_QUANTISATION_KEYS = ("quantization_config", "compression_config")


QUANTISED_ADVICE = (
    'Give the checkpoint that it was made of, with quantize="int8" for eight bits on a CPU, or use '
    'backend="vllm" if vLLM reads this format.'
)


def checkpoint_folder(source: str, hub_options: dict[str, Any]) -> Path:
    """Return the folder of a checkpoint, downloaded if it is on the hub.

    Only the files that are read are downloaded, so that the other formats that a repository may
    have do not matter.

    Args:
        source: A folder, or a name on the hub.
        hub_options: Hub options, as for ``from_pretrained``.

    Raises:
        Exception: Whatever the hub or the file system raise.
    """
    if Path(source).is_dir():
        return Path(source)

    from huggingface_hub import snapshot_download

    def download(*names: str) -> Path:
        return Path(snapshot_download(source, allow_patterns=list(names), **hub_options))

    folder = download("*.json", "*.txt", "*.jinja")
    for name in _WEIGHTS:
        if (folder / (name + _INDEX)).is_file():
            return download(name, *sorted(set(_weight_map(folder / (name + _INDEX)).values())))
        if (download(name) / name).is_file():
            break
    return folder


def tokenizer_folder(source: str, hub_options: dict[str, Any]) -> Path:
    """Return the folder of a checkpoint's tokenizer and config; see `checkpoint_folder`."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    files = [CONFIG, "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"]
    return Path(snapshot_download(source, allow_patterns=files, **hub_options))


def read_config(folder: Path, name: str, *, has_adapter: bool = False) -> dict[str, Any]:
    """Return the content of ``config.json``; adapters and other folders are refused.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.
        has_adapter: Whether an adapter is applied, so that one beside the weights is no doubt.

    Raises:
        UnsupportedModelError: The folder is an adapter, or holds full weights and an adapter.
        ModelLoadError: The file is missing or damaged.
    """
    if (folder / "adapter_config.json").is_file() and not has_adapter:
        raise UnsupportedModelError(
            f"{name!r} has full weights and an adapter (adapter_config.json) in {folder}. If it is "
            "merged into them already, remove its files; to have it applied, give the folder as "
            "the adapter, too."
            if (folder / CONFIG).is_file()
            else f"{name!r} has an adapter_config.json in {folder}: it is an adapter (LoRA). Give "
            "its base as the model, and this as the adapter."
        )
    if not (folder / CONFIG).is_file():
        raise ModelLoadError(
            f"could not load {name!r}: {folder} has no {CONFIG}. Expected a folder with all files "
            "of a Qwen3-Reranker: config.json, model.safetensors, tokenizer.json."
        )
    return json_object(folder / CONFIG, name)


def quantisation(folder: Path, config: dict[str, Any]) -> str | None:
    """Return the weights' quantisation and where it is stated, ``None`` without any."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in _QUANTISATION_KEYS:
            if part.get(key):
                return f"{_method(part[key])} ({key} in {CONFIG})"
    for file in _QUANTISATION_FILES:
        if (folder / file).is_file():
            return f"{_method(json_object(folder / file, str(folder)))} ({file})"
    return None


def is_int8(config: dict[str, Any]) -> bool:
    """Return whether a config is that of a checkpoint in eight bits; see `int8_format`."""
    return stated_quantisation(config).get("quant_method") == INT8


def stated_quantisation(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config itself says of its quantisation, empty without any."""
    for key in _QUANTISATION_KEYS:
        if config.get(key) and isinstance(config[key], dict):
            described: dict[str, Any] = config[key]
            return described
    return {}


def refuse_quantised(folder: Path, config: dict[str, Any], name: str) -> None:
    """Raise if the weights are quantised: nothing here would scale them."""
    method = quantisation(folder, config)
    if method is not None:
        raise UnsupportedModelError(
            f'{name!r} is quantised: {method}, which backend="transformers" does not read. '
            f"{QUANTISED_ADVICE}"
        )


def weight_files(folder: Path, name: str) -> tuple[list[Path], dict[str, str] | None]:
    """Return the weight files, and the file of each tensor if there is an index.

    Without an index there is one file, and ``None``.

    Raises:
        ModelLoadError: There is none, or not all that the index names.
        UnsupportedModelError: There are more, of which another reader would take others.
    """
    complete = [path for path in (folder / file for file in _WEIGHTS) if path.is_file()]
    indexed = [path for path in (folder / (file + _INDEX) for file in _WEIGHTS) if path.is_file()]
    files = complete[:1]
    weight_map = None
    if not files and indexed:
        weight_map = _weight_map(indexed[0])
        files = sorted({folder / file for file in weight_map.values()})
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            raise ModelLoadError(
                f"could not load {name!r}: {folder} lacks {', '.join(missing[:4])}, which "
                f"{indexed[0].name} names. Download it again."
            )
    if not files:
        raise ModelLoadError(
            f"could not load {name!r}: {folder} has no weights ({', '.join(_WEIGHTS)}, or an "
            "index of several such files)"
        )
    others = {*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")} - set(files)
    for index in indexed:
        others |= {folder / file for file in _weight_map(index).values()} - set(files)
    if (folder / "adapter_config.json").is_file():  # `read_config` has asked whether it is applied
        others.discard(folder / "adapter_model.safetensors")
    if others:
        raise UnsupportedModelError(
            f"{name!r} has several sets of weights in {folder}: "
            f"{', '.join(path.name for path in files[:4])}, and "
            f"{', '.join(sorted(path.name for path in others)[:4])}. Which of them "
            "the model has is ambiguous: remove the others, with their index."
        )
    return files, weight_map


def _weight_map(index: Path) -> dict[str, str]:
    """Return the file of each tensor from an index."""
    weight_map = json_object(index, str(index)).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) and file == Path(file).name for file in weight_map.values()
    ):
        raise ModelLoadError(f"{index} is damaged: it has no weight_map of files in its folder")
    return weight_map


def json_object(path: Path, name: str) -> dict[str, Any]:
    """Return the object in a JSON file. Raises `ModelLoadError` if there is none."""
    value = _json(path, name)
    if not isinstance(value, dict):
        raise ModelLoadError(f"could not load {name!r}: {path} holds no JSON object")
    return value


def json_list(path: Path, name: str) -> list[Any]:
    """Return the list in a JSON file. Raises `ModelLoadError` if there is none."""
    value = _json(path, name)
    if not isinstance(value, list):
        raise ModelLoadError(f"could not load {name!r}: {path} holds no JSON list")
    return value


def _json(path: Path, name: str) -> Any:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError(f"it has more than {_MOST_JSON} bytes")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"could not load {name!r}: {path} is damaged: {error}") from error


def _method(value: Any) -> str:
    described = value.get("quantization", value) if isinstance(value, dict) else value
    if isinstance(described, dict):
        for key in ("quant_method", "quant_algo", "quant_type"):
            if described.get(key):
                return str(described[key])
    return "of an unnamed method"
