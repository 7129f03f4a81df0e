"""Location of LoRA adapters, and of the base of a model that is an adapter alone. Without torch."""

from __future__ import annotations

from pathlib import Path

from shared_core.errors import ModelLoadError
from shared_core.options import TINY, RerankerOptions
from shared_core.scorers.local.checkpoints.adapter_config import (
    ADAPTER_CONFIG,
    ADAPTER_PICKLE,
    ADAPTER_WEIGHTS,
    read_adapter_config,
)
from shared_core.scorers.local.checkpoints.hub import cached_file, snapshot

ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_PICKLE)


def told_apart(options: RerankerOptions) -> RerankerOptions:
    """Return the options with base and adapter apart, where the model is an adapter alone.

    Nothing is downloaded: a hub's adapter is known by what is in the cache.

    Raises:
        ModelLoadError: The adapter does not name its base, or names a folder that is not here.
    """
    if options.adapter is not None or options.model == TINY or options.is_remote:
        return options
    folder = Path(options.model)
    if not folder.is_dir():
        found = cached_file(options, options.model, ADAPTER_CONFIG, options.revision)
        if found is None or cached_file(options, options.model, "config.json", options.revision):
            return options
        folder = found.parent
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return options
    stated = read_adapter_config(folder, options.model).stated
    base = stated.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelLoadError(
            f"the adapter {options.model!r} does not name its base (base_model_name_or_path in its "
            f"{ADAPTER_CONFIG}): give the base as the model, and this as the adapter"
        )
    is_path = base.startswith(("/", ".", "~")) or "\\" in base or base.count("/") != 1
    if is_path and not Path(base).is_dir():
        raise ModelLoadError(
            f"the adapter {options.model!r} was trained on {base!r}, which is not on this machine: "
            "give its base as the model, and this as the adapter"
        )
    revision = stated.get("revision")
    return options.model_copy(
        update={
            "model": base,
            "revision": revision if isinstance(revision, str) and revision else None,
            "adapter": options.model,
            "adapter_revision": options.revision,
        }
    )


def adapter_folder(options: RerankerOptions) -> Path | None:
    """Return the folder of the adapter, downloaded if it is on a hub; ``None`` without one.

    Raises:
        ModelLoadError: There is no such folder or repository, or it is no adapter.
    """
    if options.adapter is None:
        return None
    folder = Path(options.adapter)
    if not folder.is_dir():
        folder = snapshot(options, options.adapter, ADAPTER_FILES, options.adapter_revision)
    read_adapter_config(folder, options.adapter)
    return folder
