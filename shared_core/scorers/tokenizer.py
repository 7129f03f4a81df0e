"""Reading a checkpoint's tokenizer: the file itself, without the wrapper around it.

transformers' ``AutoTokenizer`` builds the same from the same file, and takes seconds to do so.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from shared_core.errors import UnsupportedModelError


def read_tokenizer(source: str, hub_options: dict[str, Any], name: str) -> Tokenizer:
    """Return the tokenizer of a checkpoint; one without ``tokenizer.json`` is converted.

    Args:
        source: A folder, or a name on the hub.
        hub_options: Where and how to look there, as for ``from_pretrained``.
        name: What the caller named it, for messages.

    Raises:
        UnsupportedModelError: It cannot be converted.
        Exception: Whatever the hub or the file system raise.
    """
    path = cached_file(
        source, "tokenizer.json", _raise_exceptions_for_missing_entries=False, **hub_options
    )
    if path is not None:
        return Tokenizer.from_file(str(path))
    tokenizer = AutoTokenizer.from_pretrained(source, **hub_options)
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedModelError(f"{name!r} has no fast tokenizer (tokenizer.json is missing)")
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend
