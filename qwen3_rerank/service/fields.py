"""Types of fields of requests: texts as strings or objects, and the fusion with a retriever."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from shared_core.fusion import Fusion
from shared_core.numbers import Number

_OBJECT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_TEXT = {"anyOf": [{"type": "string"}, _OBJECT]}


def _texts(value: Any) -> list[str]:
    """Return texts given as strings or as ``{"text": …}``; stops at the first that is neither."""
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("expected a list of strings")
    texts = [item["text"] if isinstance(item, dict) and "text" in item else item for item in value]
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f'item {index} is neither a string nor {{"text": "a string"}}')
    return texts


def _text_lists(value: Any) -> list[list[str]]:
    if not isinstance(value, list) or not all(isinstance(item, list) for item in value):
        raise ValueError("expected one list of documents per query")
    return [_texts(item) for item in value]


def _fusion(value: Any) -> Fusion | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None or value == "rrf" or (is_number and 0 <= value <= 1):
        return value  # type: ignore[no-any-return]  # it is one of these
    raise ValueError('expected "rrf" or a number from 0 to 1')


Texts = Annotated[
    list[str],
    PlainValidator(_texts),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _TEXT}, {"type": "string"}]}),
]
TextLists = Annotated[
    list[list[str]],
    PlainValidator(_text_lists),
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": _TEXT}}),
]
RetrieverScores = list[Number | None]
FusionField = Annotated[
    Fusion | None,
    PlainValidator(_fusion),
    WithJsonSchema({"anyOf": [{"const": "rrf"}, {"type": "number", "minimum": 0, "maximum": 1}]}),
]
