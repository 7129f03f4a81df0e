"""Location of a model's files, with precise errors for wrong names before anything is loaded.

Neither torch nor transformers is imported for it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from shared_core.errors import HubUnreachableError, ModelLoadError, UnsupportedModelError
from shared_core.options import DEFAULT_MODEL, TINY, RerankerOptions
from shared_core.options.neighbours import did_you_mean
from shared_core.prompt.forms import VISION_FORM
from shared_core.scorers.local.checkpoints.adapter_config import ADAPTER_CONFIG
from shared_core.scorers.local.checkpoints.adapter_source import (
    ADAPTER_FILES,
    adapter_folder,
    told_apart,
)
from shared_core.scorers.local.checkpoints.files import CONFIG
from shared_core.scorers.local.checkpoints.hub import folder_advice, snapshot
from shared_core.scorers.local.checkpoints.vision_config import prompt_form

logger = logging.getLogger("qwen3_rerank")

PUBLISHED = (
    *(f"Qwen/Qwen3-Reranker-{size}" for size in ("0.6B", "4B", "8B")),
    *(f"Qwen/Qwen3-VL-Reranker-{size}" for size in ("2B", "8B")),
)
_EMBEDDING_PREFIXES = ("Qwen/Qwen3-Embedding-", "Qwen/Qwen3-VL-Embedding-")
_PUBLISHED_BASE = re.compile(
    r"Qwen/Qwen3-([\d.]+B(-Base|-FP8|-AWQ)?|VL-\d+B-(Instruct|Thinking)(-FP8)?)"
)
_WEIGHTS = (".safetensors", ".bin")
_HUB_FAILS = (429, 500, 502, 503, 504)  # 501: a mirror without this route
_HUB_SECONDS = 5.0
_EXPECTED = "config.json, tokenizer.json and *.safetensors of a Qwen3-Reranker"
_GGUF = (
    "GGUF files are read by llama.cpp: serve it with llama-server, and give its address as base_url"
)


def locate_model(options: RerankerOptions) -> RerankerOptions:
    """Return the options to load with; without a network, they forbid downloads.

    A hub is asked once, whether it has the model, and for at most five seconds.

    Raises:
        ModelLoadError: There is no such folder, file or repository, or it lacks files.
        HubUnreachableError: The hub cannot be reached, and the model is not on this machine.
        UnsupportedModelError: The model is a GGUF file or an embedding model.
    """
    options = told_apart(options)
    if (folder := adapter_folder(options)) is not None:
        options = options.model_copy(update={"adapter": str(folder), "adapter_revision": None})
    name = options.model
    path = Path(name)
    if name == TINY:
        return options
    if path.is_dir():
        _check_folder(path)
        return options
    if name.lower().endswith(".gguf"):
        raise UnsupportedModelError(f"{name!r} is a GGUF file. {_GGUF}.")
    if path.is_file():
        raise ModelLoadError(f"{name!r} is a file: give its folder, with {_EXPECTED}")
    if name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1 or name[-1] == "/":
        raise ModelLoadError(_no_folder(path))
    if "/" not in name:
        published = {name.partition("/")[2]: name for name in PUBLISHED} | {TINY: TINY}
        folders = {child.name: child.name for child in Path().iterdir() if child.is_dir()}
        near = did_you_mean(name, folders | published)
        for short, whole in published.items():
            near = near.replace(f" {short}?", f' "{whole}"?')
        raise ModelLoadError(
            f"there is no model {name!r}: it is no folder here, and on a hub a name begins with "
            f'its owner, such as "{DEFAULT_MODEL}".{near}'
        )
    if name.startswith(_EMBEDDING_PREFIXES):
        _refuse_embedding(name)
    if _PUBLISHED_BASE.fullmatch(name) and options.adapter is None:
        raise UnsupportedModelError(
            f"{name!r} is a language model that was not trained to rerank: its scores would mean "
            f'nothing. Use a reranker, such as "{DEFAULT_MODEL}", or give the adapter, too.'
        )
    return options if options.hub == "modelscope" else _located_on_hub(options)


def may_read_images(name: str) -> bool:
    """Return whether a model may read images, as far as its name or its folder tells."""
    folder = Path(name)
    if name == TINY:
        return False
    if not (folder / CONFIG).is_file():
        return name not in PUBLISHED or "-VL-" in name
    try:
        return prompt_form(folder, name) is VISION_FORM
    except ModelLoadError:  # which loading says
        return True


def _check_folder(folder: Path) -> None:
    """Raise if a folder is not a checkpoint; the message names its files."""
    names = sorted(child.name for child in folder.iterdir())
    if not names:
        raise ModelLoadError(f"the folder {str(folder)!r} is empty: expected {_EXPECTED}")
    if "adapter_config.json" in names:
        return  # what is missing then is said by those who know adapters
    inner = [
        path.parent
        for depth in ("*", "snapshots/*")
        for path in folder.glob(f"{depth}/config.json")
    ]
    if "config.json" not in names and inner:
        raise ModelLoadError(
            f"the folder {str(folder)!r} has no config.json, but {str(inner[0])!r} has: give that"
        )
    _check_names(f"the folder {str(folder)!r}", names)
    if _pools(folder / "modules.json"):
        _refuse_embedding(str(folder))


def _check_names(where: str, names: Collection[str]) -> None:
    """Raise if a checkpoint lacks files."""
    gguf = [name for name in names if name.lower().endswith(".gguf")]
    missing = []
    if "config.json" not in names:
        missing.append("config.json")
    if not any(name.endswith(_WEIGHTS) for name in names):
        missing.append("weights (*.safetensors)")
    if not {"tokenizer.json", "vocab.json"} & set(names):
        missing.append("tokenizer.json")
    if gguf and missing:
        raise UnsupportedModelError(f"{where} holds {gguf[0]}. {_GGUF}.")
    if missing:
        there = ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
        raise ModelLoadError(
            f"{where} has no {' and no '.join(missing)}: expected {_EXPECTED}, found {there}"
        )


def _pools(modules: Path) -> bool:
    """Return whether this is a sentence-transformers model that embeds texts."""
    try:
        listed = json.loads(modules.read_text("utf-8"))
        return any(str(module["type"]).endswith("Pooling") for module in listed)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _refuse_embedding(name: str) -> NoReturn:
    raise UnsupportedModelError(
        f"{name!r} is an embedding model: it makes vectors, and was not trained to answer yes or "
        f'no. Use a reranker, such as "{DEFAULT_MODEL}".'
    )


def _no_folder(path: Path) -> str:
    """Return the error message for a missing folder: where the path ends, and similar names."""
    there = next(parent for parent in (*path.parents, Path("/")) if parent.is_dir())
    first = path.relative_to(there).parts[0] if path.is_relative_to(there) else path.name
    try:
        near = did_you_mean(first, [child.name for child in there.iterdir()])
    except OSError:
        near = ""
    return f"the folder {str(path)!r} does not exist: {str(there)!r} has no {first!r}.{near}"


def _located_on_hub(options: RerankerOptions) -> RerankerOptions:
    """Return the options after asking the hub for the model's files, unless offline."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors
    except ModuleNotFoundError:  # whoever loads the model says what to install
        return options
    name = options.model
    try:
        cached = hub.try_to_load_from_cache(
            name, "config.json", cache_dir=options.cache_dir, revision=options.revision
        )
    except errors.HFValidationError as error:
        raise ModelLoadError(f"{name!r} is no name that a hub can have: {error}") from error
    is_cached = isinstance(cached, str)
    offline = options.local_files_only or constants.HF_HUB_OFFLINE
    if offline and is_cached:
        return options.model_copy(update={"local_files_only": True})
    if offline:
        setting = "local_files_only is set" if options.local_files_only else "HF_HUB_OFFLINE is set"
        raise ModelLoadError(f"{setting}, and {_not_here(options)}")
    try:
        info = hub.HfApi().model_info(name, revision=options.revision, timeout=_HUB_SECONDS)
    except errors.GatedRepoError as error:
        raise ModelLoadError(
            f"{name!r} is gated: accept its terms on {constants.ENDPOINT}/{name}, and log in with "
            "`hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"{constants.ENDPOINT} has no model {name!r}, or a private one that needs HF_TOKEN."
            f"{did_you_mean(name, PUBLISHED)}{_perhaps_a_folder(name)}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelLoadError(f"{name!r} has no revision {options.revision!r}") from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code in _HUB_FAILS and not is_cached:
            raise HubUnreachableError(f"{constants.ENDPOINT} failed: {error}") from error
        return options  # a mirror without this route: loading itself will tell
    except Exception as error:  # of httpx or requests, by the hub library's version
        if not is_cached:
            raise HubUnreachableError(
                f"{constants.ENDPOINT} cannot be reached ({error}), and {_not_here(options)}"
                f"{_perhaps_a_folder(name)}"
            ) from error
        logger.warning(
            "%s cannot be reached: %s is taken from the cache as it is", constants.ENDPOINT, name
        )
        return options.model_copy(update={"local_files_only": True})
    names = [sibling.rfilename for sibling in info.siblings or ()]
    if ADAPTER_CONFIG in names and "config.json" not in names and options.adapter is None:
        snapshot(options, name, ADAPTER_FILES, options.revision)
        return locate_model(options)  # whose base is known now
    if any(listed.startswith("1_Pooling/") for listed in names):
        _refuse_embedding(name)
    if names:
        _check_names(repr(name), names)
    return options


def _perhaps_a_folder(name: str) -> str:
    """Return a hint for a name like ``models/qwen`` where a folder ``models`` exists."""
    path = Path(name)
    return f" As a path: {_no_folder(path)}" if path.parent.is_dir() else ""


def _not_here(options: RerankerOptions) -> str:
    """Return the error message for a hub model that is not on this machine."""
    where = "the cache of this machine" if options.cache_dir is None else options.cache_dir
    return (
        f"{options.model!r} is not in {where}. {folder_advice(options, options.model)} "
        'HF_ENDPOINT names a mirror of the hub, and hub="modelscope" takes ModelScope instead.'
    )
