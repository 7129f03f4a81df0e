"""Files of hub repositories: Hugging Face, its mirrors, and ModelScope. Without torch.

A mirror is named by the hub library's own variable, ``HF_ENDPOINT``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared_core.errors import MissingDependencyError, ModelLoadError
from shared_core.options import RerankerOptions


def snapshot(
    options: RerankerOptions,
    name: str,
    files: Sequence[str] | None = None,
    revision: str | None = None,
) -> Path:
    """Return the folder of a repository on the hub of the options, downloaded if need be.

    Args:
        options: Say which hub, where files are kept, and whether the network may be asked.
        name: The repository's.
        files: Names or patterns of those that are needed; ``None`` is all.
        revision: A tag, a branch or a commit.

    Raises:
        ModelLoadError: The repository or the network is not there; says how to use a folder.
        MissingDependencyError: The hub's library is not installed.
    """
    kept = {"cache_dir": options.cache_dir, "local_files_only": options.local_files_only}
    patterns = None if files is None else list(files)
    try:
        if options.hub == "modelscope":
            from modelscope import snapshot_download
        else:
            from huggingface_hub import snapshot_download
    except ImportError as error:
        extra = "modelscope" if options.hub == "modelscope" else "local"
        raise MissingDependencyError(f'hub="{options.hub}"', extra) from error
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, **kept))
    except Exception as error:  # the hubs raise their own, requests' and plain ValueErrors
        raise ModelLoadError(
            f"could not get {name!r} from {_hub(options)}: {error}. {folder_advice(options, name)}"
        ) from error


def cached_file(
    options: RerankerOptions, name: str, file: str, revision: str | None = None
) -> Path | None:
    """Return a file of a repository that is on this machine already, else ``None``."""
    if options.hub == "modelscope":
        offline = options.model_copy(update={"local_files_only": True})
        try:
            found = snapshot(offline, name, [file], revision) / file
        except (ModelLoadError, MissingDependencyError):
            return None
        return found if found.is_file() else None
    try:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, file, cache_dir=options.cache_dir, revision=revision)
    except (ImportError, ValueError):  # not the name of a repository
        return None
    return Path(cached) if isinstance(cached, str) else None


def folder_advice(options: RerankerOptions, name: str) -> str:
    """Return how to use a repository on a machine without a network, as a sentence."""
    command = (
        f"modelscope download --model {name} --local_dir FOLDER"
        if options.hub == "modelscope"
        else f"hf download {name} --local-dir FOLDER"
    )
    return (
        f"Where there is a network, download it with: {command}; then give the folder in its place."
    )


def _hub(options: RerankerOptions) -> str:
    return "ModelScope" if options.hub == "modelscope" else "the hub"
