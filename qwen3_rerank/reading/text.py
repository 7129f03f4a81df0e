"""Text from bytes and from JSON, and the error of input that cannot be read."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Input that cannot be read.

    Args:
        message: The fault in English, with the number of a faulty line.
        problem: A short name of the problem, for messages in other languages; may be empty.
        **values: What the message was filled in with.
    """

    def __init__(self, message: str, problem: str = "", /, **values: object) -> None:
        super().__init__(message)
        self.problem = problem
        self.values = values

    def at(self, name: str, line: int) -> InputError:
        """Return the same with its place."""
        values = {**self.values, "name": name, "line": line}
        return InputError(f"{name}, line {line}: {self}", self.problem, **values)


def decode(raw: bytes, name: str) -> str:
    """Return the text of UTF-8 bytes, without a byte-order mark.

    Raises:
        InputError: They are not UTF-8; the message names the line.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _not_utf8().at(name, line) from None


def decode_any(raw: bytes, name: str) -> str:
    """Return the text of UTF-8, of UTF-16, or of Chinese in GBK or GB 18030.

    UTF-16 is known by its byte-order mark. Other bytes are taken for GBK only where nearly all that
    is not ASCII is then common Chinese: Western, Russian or Japanese text in an old encoding is
    refused. Korean in EUC-KR cannot be told apart.

    Raises:
        InputError: They are none of these; the message names the line.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError:
            raise _not_text().at(name, 1) from None
    if b"\0" in raw:
        raise _not_text().at(name, raw.count(b"\n", 0, raw.index(b"\0")) + 1)
    try:
        return decode(raw, name)
    except InputError as error:
        text = _gbk(raw)
        if text is None:
            raise _not_text().at(name, int(str(error.values["line"]))) from None
        return text


def _not_utf8() -> InputError:
    return InputError("not UTF-8 (save it as UTF-8)", "encoding")


def _not_text() -> InputError:
    return InputError("not UTF-8, UTF-16 or GBK (save it as UTF-8)", "encoding")


def _gbk(raw: bytes) -> str | None:
    """Return the text of GBK, or ``None`` if it is likely to be something else."""
    try:
        text = raw.decode("gb18030")
    except UnicodeDecodeError:
        return None
    # GB 2312 has its symbols in rows 0xA1 to 0xA9, and its common characters in 0xB0 to 0xD7.
    pairs = [character.encode("gb18030")[:2] for character in text if not character.isascii()]
    common = sum(end >= 0xA1 and (0xA1 <= row <= 0xA9 or 0xB0 <= row <= 0xD7) for row, end in pairs)
    return text if common >= 0.9 * len(pairs) else None


def parse_json(line: str) -> Any:
    """Return the value of one line of JSON, strictly.

    Raises:
        InputError: The text is not JSON, has NaN, or is nested too deeply.
    """

    def refuse(constant: str) -> Any:
        raise InputError(f"{constant} is not JSON", "json")

    try:
        return json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at character {error.pos + 1}"
        raise InputError(reason, "json_at", character=error.pos + 1) from None
    except RecursionError:
        raise InputError("nested too deeply", "json") from None


def check_text(text: str) -> None:
    """Raise `InputError` for half a surrogate pair, which no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"character {error.start + 1} is half a surrogate pair, which is no text",
            "surrogate",
            character=error.start + 1,
        ) from None


def json_lines(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Yield line number and value of every line that is not blank.

    Raises:
        InputError: A line is not JSON.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except InputError as error:
                raise error.at(name, number) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank; no more than one is held.

    Raises:
        InputError: A line is not UTF-8.
    """
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise _not_utf8().at(str(path), number) from None
            if line.strip():
                yield number, line


def json_line(value: Any) -> bytes:
    """Return a value as one line of JSON in UTF-8; what UTF-8 cannot write is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"
