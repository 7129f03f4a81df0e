"""`FittedFor`: the model that a calibration belongs to, and whether a reranker has that one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from shared_core.prompt import HEAD, SUFFIX, render_fields

if TYPE_CHECKING:
    from shared_core.options import RerankerOptions
    from shared_core.scoring import Scorer

PROMPT = (
    "sha256:" + hashlib.sha256((HEAD + render_fields("\0", "\0") + SUFFIX).encode()).hexdigest()
)
"""The digest of the prompt without its texts."""


class FittedFor(BaseModel):
    """What probabilities depend on, besides the instruction.

    Attributes:
        model: The model's name; ``"a folder"`` for one that is known by its files alone.
        files: The digest of its files, or the hub's commit; ``None`` if a server has them, or they
            are not on this machine yet.
        adapter: The same of a LoRA adapter.
        answers: The words that mean yes and no, unless they are those.
        quantize: The quantisation that was asked for.
        prompt: The digest of the prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    files: str | None = None
    adapter: str | None = None
    answers: str | None = None
    quantize: str | None = None
    prompt: str = PROMPT

    def differences(self, other: FittedFor) -> list[str]:
        """Return a sentence for everything in which another model differs.

        Files are compared where both are known, and names otherwise.
        """
        by_files = self.files is not None and other.files is not None
        names = ["files" if by_files else "model", "answers", "quantize", "prompt"]
        if by_files or self.adapter is None or other.adapter is None:
            names.append("adapter")
        return [
            f"{name} was {_shown(getattr(self, name))} and is {_shown(getattr(other, name))}"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]


def fitted_for(options: RerankerOptions, scorer: Scorer | None) -> FittedFor:
    """Return what a reranker's probabilities depend on. May read all of the model's files, once.

    Args:
        options: The options of the reranker.
        scorer: The backend of the user's own, if any: its class stands for the model.
    """
    from shared_core.identity import identity_of

    facts = identity_of(options, scorer)
    found = {
        "model": facts["model"] if scorer is None else facts["backend"],
        "files": facts.get("files"),
        "adapter": facts.get("adapter"),
    }
    return asked_of(options).model_copy(update=found)


def asked_of(options: RerankerOptions) -> FittedFor:
    """Return what is known before anything is read: not the model."""
    quantize = options.quantize or options.engine_args.get("quantization")
    return FittedFor(
        model="",
        answers=None if options.answers == ("yes", "no") else "/".join(options.answers),
        quantize=None if quantize is None else str(quantize),
    )


def _shown(value: str | None) -> str:
    return "none" if value is None else repr(value)
