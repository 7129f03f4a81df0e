"""The stored tensors of a quantised layer, and what reads its weight out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.tensors import FLOATS
from shared_core.scorers.local.checkpoints.weights import Header


class Wanted(NamedTuple):
    """The dtypes and the shapes that a stored tensor may have."""

    dtypes: AbstractSet[str]
    shapes: Sequence[tuple[int, ...]]

    def __str__(self) -> str:
        return f"{'/'.join(sorted(self.dtypes))} {' or '.join(map(str, self.shapes))}"


def floats(*shapes: tuple[int, ...]) -> Wanted:
    """Return what scales must be."""
    return Wanted(FLOATS, shapes)


def integers(shape: tuple[int, ...]) -> Wanted:
    """Return what sizes and indices must be."""
    return Wanted({"I32", "I64"}, [shape])


def words(*shape: int) -> Wanted:
    """Return what packed numbers must be."""
    return Wanted({"I32"}, [shape])


@dataclass(frozen=True, slots=True)
class Module:
    """The tensors of a layer, without their values.

    Attributes:
        model: The caller's name for the checkpoint, for messages.
        method: The quantisation, for messages.
        name: The layer, such as "model.layers.0.mlp.up_proj".
        parts: Headers by the last part of the tensors' names, such as "weight_scale".
        read: Returns the values of a part.
    """

    model: str
    method: str
    name: str
    parts: Mapping[str, Header]
    read: Callable[[str], Tensor]

    def matrix(self, part: str, dtypes: AbstractSet[str]) -> tuple[int, int]:
        """Return the shape of a part that must be a matrix. Raises as `check` does."""
        header = self.parts.get(part)
        if header is None:
            raise self.error(f"without {part}: there is but {', '.join(sorted(self.parts))}")
        if header.dtype not in dtypes or len(header.shape) != 2 or 0 in header.shape:
            expected = f"a matrix of {' or '.join(sorted(dtypes))}"
            raise self.error(f"with {part} {header.dtype} {header.shape}; expected {expected}")
        return header.shape[0], header.shape[1]

    def check(self, by: str, wanted: Mapping[str, Wanted]) -> None:
        """Raise unless the layer has these parts, and no others.

        Args:
            by: The settings that they follow from.
            wanted: What each must be.

        Raises:
            UnsupportedModelError: Names what is missing, too much, or of another kind.
        """
        for part, (dtypes, shapes) in wanted.items():
            header = self.parts.get(part)
            if header is None:
                raise self.error(f"without {part}")
            if header.dtype not in dtypes or header.shape not in shapes:
                expected = f"{wanted[part]}, by {by}"
                raise self.error(f"with {part} {header.dtype} {header.shape}; expected {expected}")
        surplus = sorted(self.parts.keys() - wanted.keys())
        if surplus:
            raise self.error(f"with {', '.join(surplus)}, which is not of this kind ({by})")

    def groups(self, part: str, size: int) -> Tensor | None:
        """Return the group of each input, Shape (i,), ``None`` where groups are neighbours.

        Args:
            part: The indices.
            size: The inputs of a group.

        Raises:
            UnsupportedModelError: Groups have other sizes.
        """
        groups = self.read(part).long()
        neighbours = torch.arange(len(groups), device=groups.device) // size
        if not torch.equal(groups.sort().values, neighbours):
            raise self.error(f"with {part} that does not put {size} inputs into each group")
        return None if torch.equal(groups, neighbours) else groups

    def error(self, how: str) -> UnsupportedModelError:
        """Return the error of a layer that cannot be read exactly; ``how`` begins "with …"."""
        return UnsupportedModelError(
            f"{self.model!r} is quantised: {self.method}, and has {self.name} {how}. Its scores "
            "would be wrong: download it again, or give the checkpoint that it was made of."
        )


class Layout(Protocol):
    """A weight of o outputs and i inputs in its stored form, whose parts were checked."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight, (o, i)."""

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        """Return these rows of the weight, or all for ``None``: Shape (o, i) float32.

        Raises:
            UnsupportedModelError: The values contradict the settings.
        """


class Method(Protocol):
    """A kind of quantisation with a checkpoint's settings. It is made of its `Settings`."""

    @property
    def parts(self) -> Sequence[str]:
        """The last parts of the names of a quantised layer's tensors."""

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored.

        Raises:
            UnsupportedModelError: Its tensors do not fit the settings.
        """
