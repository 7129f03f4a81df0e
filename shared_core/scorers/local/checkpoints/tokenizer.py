"""Loading of a checkpoint's tokenizer from ``tokenizer.json`` alone.

transformers' ``AutoTokenizer`` builds the same from the same file, takes seconds to do so, and may
run a checkpoint's own code.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from shared_core.errors import MissingDependencyError, ModelLoadError, UnsupportedModelError
from shared_core.prompt.panics import panics_as

TOKENIZER = "tokenizer.json"


def read_tokenizer(folder: Path, name: str) -> Tokenizer:
    """Return the tokenizer of a checkpoint; transformers converts one without `TOKENIZER`.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.

    Raises:
        UnsupportedModelError: There is none.
        ModelLoadError: The tokenizer is damaged.
        MissingDependencyError: It has to be converted, which needs transformers.
    """
    path = folder / TOKENIZER
    if path.is_file():
        damaged = f"could not load {name!r}: {path} is damaged"
        try:
            with panics_as(ModelLoadError, damaged):
                return Tokenizer.from_file(str(path))
        except ModelLoadError:
            raise
        except Exception as error:  # the library raises plain Exceptions
            raise ModelLoadError(f"{damaged}: {error}") from error
    if not all((folder / file).is_file() for file in ("vocab.json", "merges.txt")):
        raise UnsupportedModelError(
            f"{name!r} has no tokenizer: neither {TOKENIZER}, nor vocab.json and merges.txt"
        )
    try:
        from transformers import Qwen2TokenizerFast  # type: ignore[attr-defined]  # not in the stubs
    except ImportError as error:
        raise MissingDependencyError(
            f"a checkpoint without {TOKENIZER} (with vocab.json and merges.txt)", "transformers"
        ) from error
    found = Qwen2TokenizerFast.from_pretrained(folder, local_files_only=True)
    backend: Tokenizer = found.backend_tokenizer
    return backend
