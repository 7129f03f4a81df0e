"""Reading of ``quantization_config``, whose values may be anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.files import QUANTISED_ADVICE


class Settings:
    """The settings of a quantisation, or a part of them.

    Args:
        stated: What config.json says.
        where: The quantisation and the part, for messages.
        model: The caller's name for the checkpoint, for messages.

    Every method raises `UnsupportedModelError` for a value that is not read.
    """

    def __init__(self, stated: Mapping[str, Any], where: str, model: str) -> None:
        self.stated, self.where, self.model = stated, where, model

    def among(self, key: str, default: Any, allowed: Collection[Any]) -> Any:
        """Return a setting that must be one of some values."""
        value = self._value(key, default)
        if type(value) not in {type(choice) for choice in allowed} or value not in allowed:
            raise self.unread(key, value, " or ".join(map(repr, allowed)))
        return value

    def group_size(self, default: int | None) -> int | None:
        """Return how many inputs share a scale, ``None`` for all (−1 in the file)."""
        value = self._value("group_size", default)
        if value is None or (type(value) is int and value == -1):
            return None
        if type(value) is not int or value < 1:
            raise self.unread("group_size", value, "a number of inputs, or -1 for all")
        return value

    def block(self, key: str) -> tuple[int, int] | None:
        """Return the rows and columns of a block, ``None`` if they are not stated."""
        value = self.stated.get(key)
        if value is None:
            return None
        is_read = isinstance(value, list) and len(value) == 2
        if not is_read or any(type(size) is not int or size < 1 for size in value):
            raise self.unread(key, value, "two sizes of a block")
        return value[0], value[1]

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of names, among which may be patterns after "re:"."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self.unread(key, value, "names")
        for name in value:
            if name.startswith("re:"):
                self.pattern(key, name.removeprefix("re:"))
        return tuple(value)

    def pattern(self, key: str, text: str) -> re.Pattern[str]:
        """Return a regular expression of a setting."""
        try:
            return re.compile(text)
        except re.error as error:
            raise self.unread(key, text, f"a regular expression ({error})") from error

    def part(self, key: str) -> Settings:
        """Return the settings under a key, which may be missing."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.unread(key, value, "an object")
        return Settings(value, f"{self.where}, {key}", self.model)

    def refuse(self, *keys: str) -> None:
        """Raise if there is one of these settings, which change what a layer computes."""
        for key in keys:
            if self.stated.get(key):
                raise self.unread(key, self.stated[key], "none")

    def unread(self, key: str, value: Any, expected: str) -> UnsupportedModelError:
        """Return the error of a setting that is not read."""
        return UnsupportedModelError(
            f"{self.model!r} is quantised: {self.where} (quantization_config in config.json) with "
            f"{key}={value!r}; expected {expected}. {QUANTISED_ADVICE}"
        )

    def _value(self, key: str, default: Any) -> Any:
        value = self.stated.get(key)
        return default if value is None else value
