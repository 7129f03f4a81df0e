"""The file of calibrations: one per model and instruction, as JSON."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared_core.calibration.fitted_for import FittedFor, asked_of, fitted_for
from shared_core.calibration.maps import Calibration
from shared_core.errors import ConfigurationError
from shared_core.options import RerankerOptions
from shared_core.scoring import Scorer

VERSION = 1
_MOST_BYTES = 16 << 20
_HOW = "qwen3-rerank evaluate … --calibrate FILE makes one"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    calibrations: list[Calibration] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_distinct(self) -> _File:
        owners = {(one.fitted_for, one.instruction) for one in self.calibrations}
        if len(owners) < len(self.calibrations):
            raise ValueError("it has two calibrations of one model and instruction: keep one")
        return self


class Calibrations:
    """The calibrations in a file that belong to one reranker.

    Args:
        options: The options of the reranker, with the path of the file.
        scorer: The backend of the user's own, if any.

    Raises:
        ConfigurationError: The file cannot be read, or has none for this quantisation or model, as
            far as that is known before the model is loaded.
    """

    def __init__(self, options: RerankerOptions, scorer: Scorer | None) -> None:
        self.path = str(options.calibration)
        self._options = options
        self._scorer = scorer
        self._all = _read(self.path)
        self.is_checked = False
        nameless = [fitted.model_copy(update={"model": ""}) for fitted in self._fitted()]
        self._refuse_others(nameless, asked_of(options))

    def check(self) -> None:
        """Keep the calibrations of this model. May read all of its files, at the first call.

        Raises:
            ConfigurationError: There is none.
        """
        if self.is_checked:
            return
        now = fitted_for(self._options, self._scorer)
        self._refuse_others(self._fitted(), now)
        self._all = [one for one in self._all if not one.fitted_for.differences(now)]
        # A hub model's files are not known before they are here.
        has_files = self._scorer is None and not self._options.is_remote
        self.is_checked = now.files is not None or not has_files

    def of(self, instruction: str) -> Calibration:
        """Return the calibration of scores with an instruction.

        Raises:
            ConfigurationError: There is none for this model, or none for this instruction.
        """
        self.check()
        for calibration in self._all:
            if calibration.instruction == instruction:
                return calibration
        fitted = " or ".join(repr(calibration.instruction) for calibration in self._all[:3])
        raise ConfigurationError(
            f"the calibration {self.path} was fitted with the instruction {fitted:.300}, and this "
            f"call has {instruction!r:.300}: probabilities would be wrong. Use that instruction, "
            "leave calibration out, or evaluate with this instruction and --calibrate"
        )

    def _fitted(self) -> list[FittedFor]:
        return [calibration.fitted_for for calibration in self._all]

    def _refuse_others(self, fitted: Sequence[FittedFor], now: FittedFor) -> None:
        differences = [before.differences(now) for before in fitted]
        if all(differences):
            least = min(differences, key=len)
            raise ConfigurationError(
                f"the calibration {self.path} was fitted for another model: {'; '.join(least)}. "
                "Its probabilities would be wrong here: use that model, leave calibration out, or "
                "evaluate with this one and --calibrate"
            )


def dumped(calibrations: Sequence[Calibration]) -> str:
    """Return the text of a file with these calibrations."""
    whole = _File(version=VERSION, calibrations=list(calibrations))
    return json.dumps(whole.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def _read(path: str) -> list[Calibration]:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # the latter of a name with a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"the calibration {path!r:.300} cannot be read: {reason} ({_HOW})"
        ) from error
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"the calibration {path} has more than 16 MiB: expected a few KiB")
    try:
        text = content.removeprefix(codecs.BOM_UTF8)
        return _File.model_validate_json(text, strict=True).calibrations
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigurationError(
            f"the calibration {path} is no file of calibrations: {where}: {first['msg']} ({_HOW})"
        ) from None
