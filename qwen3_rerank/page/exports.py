"""Rankings as JSON and CSV, inside links; the server stores nothing."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared_core.results import RankedDocument
from shared_core.results import Ranking as RankedDocuments

_COLUMNS = (
    *("rank", "index", "score", "document", "n_tokens", "truncated", "window"),
    *("query", "instruction", "model"),
)
# A spreadsheet takes a cell that begins like this for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Ranking:
    """One ranking, with what it was made from.

    Attributes:
        query, instruction, model: The question, its task and the model.
        ranked: The documents that are kept, best first; an image is its file's name.
        thumbnails: Small images as ``data:`` addresses, by the index of the document.
        asked: Those of the question, by the names of their files.
    """

    query: str
    instruction: str
    model: str
    count: int
    seconds: float
    ranked: Sequence[RankedDocument]
    thumbnails: Mapping[int, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)


def as_json(rankings: Sequence[Ranking]) -> str:
    """Return one ranking as a JSON object, several as a list of them."""
    objects = [
        {
            "query": ranking.query,
            **({"query_images": list(ranking.asked)} if ranking.asked else {}),
            "instruction": ranking.instruction,
            "model": ranking.model,
            "results": [
                {
                    "index": result.index,
                    "score": result.score,
                    "scored": result.scored,
                    "document": result.text,
                    "n_tokens": result.n_tokens,
                    "truncated": result.truncated,
                    "window": result.window,
                }
                | ({} if result.probability is None else {"probability": result.probability})
                | ({} if result.evidence is None else {"evidence": result.evidence.to_dict()})
                for result in ranking.ranked
            ],
            **_no_answer(ranking.ranked),
        }
        for ranking in rankings
    ]
    return json.dumps(objects[0] if len(objects) == 1 else objects, ensure_ascii=False, indent=2)


def _no_answer(ranked: Sequence[RankedDocument]) -> dict[str, object]:
    if not isinstance(ranked, RankedDocuments) or ranked.no_answer is None:
        return {}
    return {"no_answer": ranked.no_answer, "answers": ranked.answers}


def as_csv(rankings: Sequence[Ranking]) -> str:
    r"""Return rankings as a table.

    Text that a spreadsheet would run as a formula gets a ``'`` in front; JSON has it as it was.

    >>> ranking = Ranking("q", "i", "m", 1, 0.1, [RankedDocument(0, 0.5, 0.0, "=1+1", 9, False)])
    >>> as_csv([ranking]).splitlines()[1]
    "1,0,0.5,'=1+1,9,False,,q,i,m"
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    for ranking in rankings:
        for place, result in enumerate(ranking.ranked, 1):
            writer.writerow(
                (
                    *(place, result.index, result.score, _cell(result.text)),
                    *(result.n_tokens, result.truncated, _span(result)),
                    *map(_cell, (ranking.query, ranking.instruction, ranking.model)),
                )
            )
    return table.getvalue()


def data_link(text: str, media_type: str, *, mark: bool = False) -> str:
    """Return a text as a ``data:`` URL; ``mark`` puts a byte-order mark in front, for Excel."""
    raw = text.encode("utf-8-sig" if mark else "utf-8", "replace")
    return f"data:{media_type};charset=utf-8;base64,{base64.b64encode(raw).decode()}"


def _span(result: RankedDocument) -> str | None:
    return None if result.window is None else "{}:{}".format(*result.window)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
