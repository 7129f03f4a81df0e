"""Loading of a checkpoint's tokenizer from ``tokenizer.json`` alone.

transformers' ``AutoTokenizer`` builds the same from the same file, takes seconds to do so, and may
run a checkpoint's own code.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from transformers import Qwen2TokenizerFast  # type: ignore[attr-defined]  # not in the stubs
from transformers.utils.hub import cached_file

from shared_core.errors import UnsupportedModelError


def read_tokenizer(source: str, hub_options: dict[str, Any], name: str) -> Tokenizer:
    """Return the tokenizer of a checkpoint, converted if there is no ``tokenizer.json``.

    Args:
        source: A folder, or a name on the hub.
        hub_options: Hub options, as for ``from_pretrained``.
        name: The caller's name for it, for messages.

    Raises:
        UnsupportedModelError: There is none.
        Exception: Whatever the hub or the file system raise.
    """

    def find(file: str) -> str | None:
        return cached_file(source, file, _raise_exceptions_for_missing_entries=False, **hub_options)

    path = find("tokenizer.json")
    if path is not None:
        return Tokenizer.from_file(str(path))
    if find("vocab.json") is None:
        raise UnsupportedModelError(
            f"{name!r} has no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt"
        )
    backend: Tokenizer = Qwen2TokenizerFast.from_pretrained(source, **hub_options).backend_tokenizer
    return backend
