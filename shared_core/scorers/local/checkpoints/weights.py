"""The tensors of a checkpoint, read one at a time.

`Weights` is the seam between files and the model: the model is built of it layer by layer, so what
changes weights on their way (merges an adapter, scales quantised layers, gives other names) is a
`Weights` around another one.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoints.files import weight_files

HEADS = ("lm_head.", "score.")

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
"""Dtypes by their names in safetensors headers."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Header:
    """A tensor's dtype, as safetensors spells it, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class Weights(Protocol):
    """The tensors of a model by name, without their values until they are read.

    Who builds a model reads each tensor once, roughly in the order of the layers, converts it, and
    lets it go before the next is read. So an implementation computes in `read`, not before, and
    keeps nothing that is large: then few tensors are in memory twice. A few threads `read` at once.

    Names are those of transformers' ``Qwen3ForCausalLM`` ("model.layers.0.mlp.up_proj.weight"),
    whatever the files call them.
    """

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor, without reading one; `tensors` judges them.

        A wrapper lists what its own `read` returns: a merged or scaled weight in its new dtype, and
        no longer the tensors that it was made of.
        """

    def read(self, name: str) -> Tensor:
        """Return a whole tensor, on the CPU, of its header's shape and dtype.

        It may be mapped from a file: nobody writes into it, and its memory is free once it is let
        go. Only the embedding table is kept, so there a mapped tensor is worth most.

        Raises:
            ModelLoadError: A tensor cannot be read; the message names it and the file.
        """

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return some rows of a tensor, Shape (places, …) float32, and read no others."""

    def check_unchanged(self) -> None:
        """Raise if the files were written to since they were opened.

        What is mapped would then be of two models. Costs microseconds: it is called at every use of
        a mapped table.

        Raises:
            ModelLoadError: Names the file, and says to load the model again.
        """


class FileWeights:
    """The `Weights` of a folder: safetensors, in one file or several, or a pickle of tensors alone.

    A safetensors tensor is mapped by itself, so that neither memory nor address space is taken by
    those around it.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.

    Raises:
        ModelLoadError: Files are missing or damaged.
        UnsupportedModelError: There are several sets of weights.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._files: dict[str, _File] = {}
        self._headers: dict[str, Header] = {}
        paths, weight_map = weight_files(folder, name)
        for path in paths:
            file = _opened(path, name)
            for tensor, header in file.headers.items():
                if tensor in self._files:
                    raise UnsupportedModelError(
                        f"{name!r} has {tensor} twice: in {self._files[tensor].path.name} and in "
                        f"{path.name}"
                    )
                self._files[tensor], self._headers[tensor] = file, header
        places = {tensor: file.path.name for tensor, file in self._files.items()}
        if weight_map is not None and weight_map != places:
            wrong = sorted({tensor for tensor, _ in weight_map.items() ^ places.items()})
            raise UnsupportedModelError(
                f"{name!r} has an index that contradicts its files on the place of "
                f"{shown(wrong)}: readers would take different weights. Download it again."
            )
        self._prefix = ""
        if not any(tensor.startswith("model.") for tensor in self._headers):
            # Saved without its head, as a part of another model: the same tensors by short names.
            self._prefix = "model."
            self._files = {self._full(tensor): file for tensor, file in self._files.items()}
            self._headers = {self._full(tensor): h for tensor, h in self._headers.items()}

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor."""
        return self._headers

    def read(self, name: str) -> Tensor:
        """Return a tensor, mapped from its file."""
        return self._files[name].read(name.removeprefix(self._prefix))

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return rows of a tensor, Shape (places, …) float32."""
        values = self.read(name)
        return torch.stack([values[place] for place in places]).float()

    def check_unchanged(self) -> None:
        """Raise if a file was written to since it was opened."""
        for file in set(self._files.values()):
            file.check_unchanged()

    def _full(self, tensor: str) -> str:
        return tensor if tensor.startswith(HEADS) else f"{self._prefix}{tensor}"


class _File:
    """An open file. Replaced by another of its name, it stays what it was."""

    headers: dict[str, Header]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._state = self._stated()

    def read(self, name: str) -> Tensor:
        raise NotImplementedError

    def check_unchanged(self) -> None:
        if self._stated() != self._state:
            raise ModelLoadError(
                f"{self.path} was written to while its model was in use, so it holds another model "
                "by now: unload this one, or start anew. A new version belongs into a file of "
                "another name, which is then renamed, or into another folder."
            )

    def _stated(self) -> tuple[int, int]:
        stated = os.fstat(self._descriptor)
        return stated.st_size, stated.st_mtime_ns


class _Safetensors(_File):
    """A safetensors file; the library has checked its header and its length."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with safe_open(path, framework="pt"):
            pass  # lengths, shapes and offsets contradict one another nowhere
        with open(self._descriptor, "rb", closefd=False) as file:
            length = int.from_bytes(file.read(8), "little")
            entries = _entries(file.read(length))
        self._start = 8 + length
        self._offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
        self.headers = {
            name: Header(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()
        }

    def read(self, name: str) -> Tensor:
        self.check_unchanged()
        header = self.headers[name]
        dtype = DTYPES[header.dtype]
        begin, end = (self._start + offset for offset in self._offsets[name])
        if begin == end:
            return torch.empty(header.shape, dtype=dtype)
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        # Copied on writing, which nobody does; of memory that is read-only torch would warn.
        mapped = mmap.mmap(self._descriptor, end - page, access=mmap.ACCESS_COPY, offset=page)
        if begin % dtype.itemsize:
            return torch.frombuffer(bytearray(mapped[begin - page :]), dtype=dtype).view(
                header.shape
            )
        return torch.frombuffer(mapped, dtype=dtype, offset=begin - page).view(header.shape)


class _Pickle(_File):
    """A file of ``torch.save``, of which nothing but tensors is unpickled."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._state_dict: dict[str, Tensor] = torch.load(
            path, map_location="cpu", weights_only=True, mmap=True
        )
        self.headers = {
            name: Header(_NAMES.get(value.dtype, str(value.dtype)), tuple(value.shape))
            for name, value in self._state_dict.items()
        }

    def read(self, name: str) -> Tensor:
        self.check_unchanged()
        return self._state_dict[name].detach()


def _opened(path: Path, name: str) -> _File:
    try:
        return _Pickle(path) if path.suffix == ".bin" else _Safetensors(path)
    except UnpicklingError as error:
        raise ModelLoadError(
            f"could not load {name!r}: {path} is a pickle of more than tensors, which could run "
            "code, and is not read. Take the model's safetensors files."
        ) from error
    except Exception as error:  # of safetensors, pickle and zip
        raise ModelLoadError(f"could not load {name!r}: {path} is damaged: {error}") from error


def _entries(header: bytes) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(header)
    entries.pop("__metadata__", None)
    return entries


def read_finite(weights: Weights, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor whose numbers are finite, in this dtype as well.

    Raises:
        ModelLoadError: One is not.
    """
    values = weights.read(name)
    low, high = (float(bound) for bound in torch.aminmax(values))
    if not (low > -float("inf") and high < float("inf")):
        raise ModelLoadError(
            f"{name} holds numbers that are not finite (NaN or infinite): the file is damaged, or "
            "its training had failed when it was saved. Download it again."
        )
    most = torch.finfo(dtype).max
    if max(-low, high) > most:
        raise ModelLoadError(
            f"{name} holds {max(low, high, key=abs):g}, which {dtype} does not reach ({most:g}): "
            'use dtype="bfloat16" or "float32"'
        )
    return values


def shown(names: Sequence[str]) -> str:
    """Return the first of some names, for messages."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
