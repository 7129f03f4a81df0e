"""The local tokenizer of a remote model, if there is one."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models

from shared_core.errors import ConfigurationError, InvalidReplyError, RemoteError
from shared_core.options import RerankerOptions
from shared_core.prompt.encoding import PairEncoder
from shared_core.prompt.panics import panics_as
from shared_core.scorers.local.checkpoints.hub import cached_file, snapshot
from shared_core.scorers.local.checkpoints.tokenizer import TOKENIZER
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.urls import join

_BPE_OPTIONS = {
    "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
    "byte_fallback", "ignore_merges",
}  # fmt: skip
# Words, digits, several scripts and a newline; enough to tell two vocabularies apart.
_PROBE = "Zürich 2026: the 3rd reranker's café, 東京 и Москва, यह\n\tnot_a_word <b>x</b>"


def tokenizer_at_hand(options: RerankerOptions) -> Tokenizer | None:
    """Return the tokenizer that the options name, or the model's own if it is on this disk.

    Nothing is downloaded unless ``tokenizer`` was given.

    Raises:
        ConfigurationError: ``tokenizer`` was given and cannot be read.
    """
    if options.tokenizer is not None:
        return _given(options.tokenizer, options)
    if options.model == "tiny":
        return None  # the name of a bundled model, which no server knows by it
    path = Path(options.model) / TOKENIZER
    try:
        if path.is_file():
            return read_tokenizer(path)
        return _cached(options)
    except Exception:  # noqa: BLE001  # a tokenizer that was not asked for is only a convenience
        return None


def _given(name: str, options: RerankerOptions) -> Tokenizer:
    path = Path(name)
    path = path / TOKENIZER if path.is_dir() else path
    try:
        if path.is_file():
            return read_tokenizer(path)
        return read_tokenizer(snapshot(options, name, [TOKENIZER], options.revision) / TOKENIZER)
    except Exception as error:
        raise ConfigurationError(
            f"tokenizer={name!r} cannot be read ({type(error).__name__}: {error}): expected a "
            "folder with a tokenizer.json, that file, or the name of a model on the hub"
        ) from error


def _cached(options: RerankerOptions) -> Tokenizer | None:
    found = cached_file(options, options.model, TOKENIZER, options.revision)
    return None if found is None else read_tokenizer(found)


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a file, as ``Tokenizer.from_file`` does, but in several steps.

    That is one call which keeps the interpreter's lock for a second on a slow machine; on a worker
    it would stop every other thread, too. Its longest step here takes less than half of that.
    """
    with panics_as(ConfigurationError, f"{path} is damaged"):
        return _read_tokenizer(path)


def _read_tokenizer(path: Path) -> Tokenizer:
    content = json.loads(path.read_bytes())
    model = content.get("model") or {}
    options = {
        name: value  # some versions of the library refuse None, which is the default
        for name, value in model.items()
        if name not in ("type", "vocab", "merges") and value is not None
    }
    added = content.get("added_tokens") or []
    if model.get("type") != "BPE" or not set(options) <= _BPE_OPTIONS:
        return Tokenizer.from_file(str(path))
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    merges = [(left, right) for left, right in pairs]
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    found = Tokenizer.from_str(json.dumps({**content, "added_tokens": [], "model": empty}))
    # An option that is not set is None in some files, and `BPE` takes no None for two of them.
    given = {name: value for name, value in options.items() if value is not None}
    found.model = models.BPE(model["vocab"], merges, **given)
    found.add_tokens(
        [
            AddedToken(**{name: token[name] for name in token if name != "id"})
            for token in sorted(added, key=lambda token: int(token["id"]))
        ]
    )
    ids = {index: token.content for index, token in found.get_added_tokens_decoder().items()}
    if ids != {token["id"]: token["content"] for token in added}:
        return Tokenizer.from_file(str(path))
    return found


async def other_tokenizer(
    session: HttpSession, root: str, model: str, encoder: PairEncoder
) -> str | None:
    """Return an error message if a vLLM server tokenises differently, else ``None``."""
    there = await served_ids(session, root, model, _PROBE)
    here = encoder.text_ids(_PROBE)
    if there is None or there == here:
        return None
    return (
        f"the tokenizer at hand is not that of the server's model {model!r}: for one text it has "
        f"{len(here)} tokens and the server {len(there)}. Give tokenizer= that model's"
    )


async def served_ids(session: HttpSession, root: str, model: str, text: str) -> list[int] | None:
    """Return a vLLM server's token ids of a text, ``None`` if the route is missing."""
    body = {"model": model, "prompt": text, "add_special_tokens": False}
    try:
        reply = (await session.post(join(root, "/tokenize"), body)).json()
    except RemoteError as error:
        if isinstance(error, InvalidReplyError) or error.status in (401, 403, 404, 405):
            return None
        raise
    ids = reply.get("tokens") if isinstance(reply, dict) else None
    return ids if isinstance(ids, list) and all(isinstance(x, int) for x in ids) else None
