"""Low-rank adapters (LoRA), merged into the weights of their base while these are read.

A row of a merged weight is ``w + scale · b · A``, in float32, and with DoRA scaled to the length
that was trained for it. Shapes: o rows, i columns, r the rank.

Source: peft ``tuners/lora/layer.py`` and ``dora.py`` (0.21), which the tests compare it with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoints.adapter_config import (
    ADAPTER_PICKLE,
    ADAPTER_WEIGHTS,
    ADVICE,
    AdapterConfig,
    read_adapter_config,
)
from shared_core.scorers.local.checkpoints.tensors import CONVERTED_HEAD, EMBEDDING, FLOATS, HEAD
from shared_core.scorers.local.checkpoints.weights import Header, shown

_PREFIX = "base_model.model."
_PARTS = re.compile(
    r"(?P<module>.+?)\.(?:modules_to_save\.)?(?P<part>lora_A\.weight|lora_B\.weight"
    r"|lora_embedding_A|lora_embedding_B|lora_magnitude_vector(?:\.weight)?|base_layer\.weight"
    r"|weight)"
)
_LINEAR = ("lora_A.weight", "lora_B.weight")
_EMBEDDING = ("lora_embedding_A", "lora_embedding_B")


@dataclass(slots=True)
class _Change:
    """What becomes of one weight. The strings are names in the adapter's file.

    Attributes:
        whole: Replaces it.
        factors: A, Shape (r, i), and B, Shape (o, r).
        scale: Multiplies their product.
        lengths: The trained lengths of the rows, Shape (o,).
        copy: A copy of the base's, which must agree with it.
    """

    whole: str = ""
    factors: tuple[str, str] | None = None
    scale: float = 1.0
    lengths: str = ""
    copy: str = ""

    @property
    def is_embedding(self) -> bool:
        """Whether the factors are those of a table, which PEFT keeps as (r, o) and (i, r)."""
        return self.factors is not None and self.factors[0].endswith(_EMBEDDING[0])


class Adapter:
    """A LoRA folder, its tensors unread.

    Args:
        folder: What peft's ``save_pretrained`` wrote.

    Raises:
        ModelLoadError: Files are missing or damaged.
        UnsupportedModelError: It changes weights in a way that is not computed here.
    """

    def __init__(self, folder: Path) -> None:
        self._name = str(folder)
        self.config: AdapterConfig = read_adapter_config(folder, self._name)
        self._path = folder / ADAPTER_WEIGHTS
        if not self._path.is_file():
            raise ModelLoadError(self._no_weights(folder))
        self.changes: dict[str, _Change] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        try:
            with safe_open(self._path, framework="pt") as tensors:
                for stored in tensors.keys():  # noqa: SIM118  # it is no mapping
                    part = tensors.get_slice(stored)
                    self._shapes[stored] = tuple(part.get_shape())
                    if part.get_dtype() not in FLOATS:
                        raise self._damaged(f"{stored} has numbers of {part.get_dtype()}")
        except ModelLoadError:
            raise
        except Exception as error:  # of safetensors and the file system
            raise self._damaged(str(error)) from error
        for stored in self._shapes:
            self._sort(stored)

    def __str__(self) -> str:
        return f"the adapter {self._name!r}"

    def rows(
        self, stored: str, places: Sequence[int] | None = None, *, across: bool = False
    ) -> Tensor:
        """Return a tensor of the file, or some of its rows, float32.

        Args:
            stored: Its name there.
            places: The rows; ``None`` is all.
            across: Take columns, and return them as rows.
        """
        try:
            with safe_open(self._path, framework="pt") as tensors:
                values: Tensor = tensors.get_tensor(stored)
        except Exception as error:  # of safetensors and the file system
            raise self._damaged(str(error)) from error
        values = values.t() if across else values
        values = (values if places is None else values[list(places)]).float()
        if not bool(values.isfinite().all()):
            raise self._damaged(f"{stored} has values that are no finite numbers")
        return values

    def check(self, headers: Mapping[str, Header]) -> None:
        """Raise unless the adapter's tensors are exactly those that this base has weights for.

        Args:
            headers: The base's tensors.

        Raises:
            UnsupportedModelError: Names what is of another model, or missing.
        """
        strange = [name for name in self.changes if name not in headers]
        if strange:
            raise UnsupportedModelError(
                f"{self} has weights for {shown(sorted(strange))}, which its base has not: they "
                "are of different models"
            )
        for name, change in self.changes.items():
            self._check_shapes(name, change, headers[name].shape)
            self._check_parts(name, change)
        planes = [name for name, header in headers.items() if len(header.shape) == 2]
        self._check_named(
            {name for name, change in self.changes.items() if change.factors},
            {name for name in planes if self.config.targets(name.removesuffix(".weight"))},
            "low-rank matrices (target_modules)",
        )
        whole = {name for name, change in self.changes.items() if change.whole}
        named = {name for name in headers if self.config.is_saved(name.removesuffix(".weight"))}
        # PEFT also saves heads and tables that nobody named, where the vocabulary may have grown.
        unnamed = whole & {EMBEDDING, HEAD, CONVERTED_HEAD}
        self._check_named(whole, named | unnamed, "whole weights (modules_to_save)")

    def _check_named(self, found: AbstractSet[str], named: AbstractSet[str], what: str) -> None:
        if found != named:
            raise UnsupportedModelError(
                f"the file and the config of {self} differ on its {what}, as on "
                f"{shown(sorted(found ^ named))}: it is incomplete, or of two trainings"
            )

    def _check_shapes(self, name: str, change: _Change, shape: tuple[int, ...]) -> None:
        rows, columns = (*shape, 1)[:2]
        expected: dict[str, tuple[int, ...]] = {}
        if change.whole:
            expected[change.whole] = shape
        if change.copy:
            expected[change.copy] = shape
        if change.lengths:
            expected[change.lengths] = (rows,)
        if change.factors is not None:
            rank = self.config.rank(name.removesuffix(".weight"))
            a, b = (rank, columns), (rows, rank)
            if change.is_embedding:
                a, b = (rank, rows), (columns, rank)
            expected |= dict(zip(change.factors, (a, b), strict=True))
        for stored, wanted in expected.items():
            if self._shapes[stored] != wanted:
                raise UnsupportedModelError(
                    f"{self} has {stored} of shape {self._shapes[stored]}, and its base and its "
                    f"config ask for {wanted}: it is of another model, or of another rank"
                )

    def _check_parts(self, name: str, change: _Change) -> None:
        """Raise if tensors contradict one another, or ask for what is not computed here."""
        is_low = change.factors is not None
        tied = self.config.ties and name in (EMBEDDING, HEAD)
        if bool(change.whole) == is_low or bool(change.lengths) != (
            is_low and self.config.uses_dora
        ):
            raise self._damaged(f"it has too much or too little for {name}")
        if (change.is_embedding and change.lengths) or (is_low and tied):
            what = "ensure_weight_tying" if tied else "use_dora"
            raise UnsupportedModelError(
                f"{self} has {what} for {name}, which is not computed here. {ADVICE}"
            )

    def _sort(self, stored: str) -> None:
        """Put a tensor of the file to the weight that it changes."""
        match = _PARTS.fullmatch(stored.removeprefix(_PREFIX))
        if not stored.startswith(_PREFIX) or match is None:
            raise UnsupportedModelError(
                f"{self} has {stored}, which nothing would read, so its scores would be wrong"
            )
        module, part = match["module"], match["part"]
        change = self.changes.setdefault(f"{module}.weight", _Change())
        if part == "weight":
            change.whole = stored
        elif part == "base_layer.weight":
            change.copy = stored
        elif part.startswith("lora_magnitude_vector"):
            change.lengths = stored
        else:
            pair = _LINEAR if part in _LINEAR else _EMBEDDING
            names = [f"{stored.removesuffix(part)}{other}" for other in pair]
            absent = [name for name in names if name not in self._shapes]
            if absent:
                raise self._damaged(f"{stored} is without {absent[0]}")
            change.factors = names[0], names[1]
            change.scale = self.config.scale(module)

    def _no_weights(self, folder: Path) -> str:
        if (folder / ADAPTER_PICKLE).is_file():
            return (
                f"{self} has its weights in {ADAPTER_PICKLE}, a pickle, which can run code and is "
                "not read. Load it with peft where you trust it: its save_pretrained writes "
                f"{ADAPTER_WEIGHTS}."
            )
        return f"{self} has no {ADAPTER_WEIGHTS} in {folder}"

    def _damaged(self, how: str) -> ModelLoadError:
        return ModelLoadError(f"{self}: {self._path} is damaged: {how}")
