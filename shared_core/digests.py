"""Digests of files, read once for each of their states."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

_MODEL_FILES = (".safetensors", ".json", ".bin", ".txt", ".jinja")
_READ = 1 << 20


def digest_of(path: Path) -> str:
    """Return the digest of a file, or of a folder's model files."""
    if not path.is_dir():
        return f"sha256:{_file_digest(path)}"
    files = sorted(p for p in path.iterdir() if p.suffix in _MODEL_FILES and p.is_file())
    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        digests = list(pool.map(_file_digest, files))
    whole = "".join(f"{file.name}:{digest}\n" for file, digest in zip(files, digests, strict=True))
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _read_digest(str(path), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _read_digest(path: str, inode: int, size: int, changed: int) -> str:
    """Return the digest of a file; the other arguments are the cache key of its state."""
    del inode, size, changed
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(_READ):
            digest.update(part)
    return digest.hexdigest()
