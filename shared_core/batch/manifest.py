"""What a folder was begun with, and the refusal to go on with anything else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared_core.batch.atomic import TEMPORARY, replacing
from shared_core.batch.blocks import Block
from shared_core.batch.columns import Shape
from shared_core.batch.errors import ChangedJobError
from shared_core.batch.files import InputFile

VERSION = 1
NAME = "manifest.json"
BLOCKS = "blocks.jsonl"


def begun(out: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder, ``None`` if there is none.

    Raises:
        ChangedJobError: The folder has something else in it, or a manifest of another version.
    """
    path = out / NAME
    if not path.exists():
        foreign = sorted(
            one.name for one in (out.iterdir() if out.is_dir() else ()) if one.name[0] != "."
        )
        foreign = [name for name in foreign if name != BLOCKS]
        if foreign:
            raise ChangedJobError(
                f"{out} is not empty ({', '.join(foreign[:3])}) and holds no batch: give a folder "
                "of its own"
            )
        return None
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    if manifest.get("version") != VERSION:
        raise ChangedJobError(
            f"{path} was written by another version of qwen3-rerank: finish the job with that "
            "one, or give another folder"
        )
    return manifest


def check_same(manifest: dict[str, Any], identity: dict[str, Any], files: list[Any] | None) -> None:
    """Raise unless a folder was begun with these options and this input.

    Args:
        manifest: What it was begun with.
        identity: The options; see `Job.identity`.
        files: The input, as `files_json` shows it; ``None`` if that cannot be known.

    Raises:
        ChangedJobError: Names every difference.
    """
    before = manifest["identity"]
    differences = [
        f"{name} was {before.get(name)!r} and is {identity.get(name)!r}"
        for name in sorted({*before, *identity})
        if before.get(name) != identity.get(name)
    ]
    if files is not None and files != manifest["files"]:
        differences.append(_file_difference(manifest["files"], files))
    if differences:
        raise ChangedJobError(
            "the folder holds a job with another input or other options: "
            + "; ".join(differences)
            + ". Give what it was begun with, or another folder."
        )


def _file_difference(before: list[Any], now: list[Any]) -> str:
    old, new = ({one["path"]: one for one in files} for files in (before, now))
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            return f"{path} is not in the input any more"
        if path not in old:
            return f"{path} is new in the input"
        if old[path] != new[path]:
            return f"{path} has changed (size or time)"
    return "the files come in another order"


def files_json(files: Iterable[InputFile]) -> list[dict[str, Any]]:
    """Return files as a manifest has them."""
    return [asdict(file) for file in files]


def write(
    out: Path,
    *,
    identity: dict[str, Any],
    files: list[dict[str, Any]],
    copy: list[dict[str, Any]] | None,
    shape: Shape,
    blocks: Iterable[Block],
) -> int:
    """Write the division, then the manifest, and return the number of blocks.

    Args:
        out: The folder.
        identity: The options.
        files: The input.
        copy: The files that are read in its stead, if the input was copied.
        shape: What it has.
        blocks: The division.
    """
    count = rows = 0
    with replacing(out / BLOCKS, out / TEMPORARY) as stream:
        for block in blocks:
            stream.write(block.to_json().encode() + b"\n")
            count, rows = count + 1, rows + block.rows
    manifest = {
        "version": VERSION,
        "identity": identity,
        "files": files,
        "copy": copy,
        "shape": asdict(shape),
        "blocks": count,
        "rows": rows,
    }
    with replacing(out / NAME, out / TEMPORARY) as stream:
        stream.write(json.dumps(manifest, indent=2).encode() + b"\n")
    return count


def read_blocks(out: Path) -> list[Block]:
    """Return the division."""
    with (out / BLOCKS).open("r", encoding="utf-8") as lines:
        return [Block.from_json(line) for line in lines]
