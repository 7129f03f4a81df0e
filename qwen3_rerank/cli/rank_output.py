"""Output of `rank`: whole lines, a file that is complete or absent, or tables on a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_rerank.cli.rank_input import RankJob
from qwen3_rerank.cli.stopping import Stopping
from qwen3_rerank.reading.document_files import GivenDocument
from qwen3_rerank.reading.text import json_line
from shared_core.images.content import text_of
from shared_core.images.reading import shown_source
from shared_core.results import RankedDocument, Ranking

_SHOWN_CHARACTERS = 240
# What a terminal could obey: control characters, and marks that turn the direction of text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def result_of(job: RankJob, found: RankedDocument, *, document: bool) -> dict[str, Any]:
    """Return one result of a request as it is written."""
    original = job.documents[found.index]
    result: dict[str, Any] = {"index": found.index, "score": found.score}
    if found.probability is not None:
        result["probability"] = found.probability
    if not found.scored:
        result["scored"] = False
    if document:
        result["document"] = (
            original.given if found.text == original.text else _cut(original, found)
        )
    if found.fused_score is not None:
        result["fused_score"] = found.fused_score
    if found.truncated:
        result["truncated"] = True
    if found.window is not None:
        result["window"] = list(found.window)
    if found.evidence is not None:
        result["evidence"] = found.evidence.to_dict()
    return result


def _cut(original: GivenDocument, found: RankedDocument) -> Any:
    """Return a document as it came with its best window in the place of its text."""
    if not isinstance(original.given, dict):
        return found.text
    holds = [
        name
        for name, value in original.given.items()
        if isinstance(value, str) and value.strip() == original.text.strip()
    ]
    return original.given | dict.fromkeys(holds, found.text)


def write_line(stream: BinaryIO, value: Any, stopping: Stopping) -> None:
    """Write one line, whole: unbuffered streams (PYTHONUNBUFFERED) may write a part at a time."""
    line = memoryview(json_line(value))
    with stopping.held():
        while line:
            line = line[stream.write(line) :]
        stream.flush()


@contextlib.contextmanager
def opened(out: str | None) -> Iterator[BinaryIO]:
    """Yield where lines go: standard output, or a file that appears when all are written.

    Until then a file of that name stays as it was; on any failure it stays for good.
    """
    if out is None or out == "-":
        try:
            yield sys.stdout.buffer
        except BrokenPipeError:  # its reader is gone: what is left in the buffer goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        return
    target = Path(os.path.realpath(out))
    if target.exists() and not target.is_file():
        raise OSError(f"{out} is not a file")
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def print_table(
    job: RankJob, ranked: Sequence[RankedDocument], console: Console, *, documents: bool
) -> None:
    """Print the ranking of a request for people."""
    table = Table(
        title=shown(text_of(job.query) or "an image"), title_justify="left", title_style="bold"
    )
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    is_calibrated = any(found.probability is not None for found in ranked)
    if is_calibrated:
        table.add_column("probability", justify="right")
    table.add_column("moved", justify="right")
    table.add_column("index", justify="right", style="dim")
    if documents:
        table.add_column("document", overflow="fold", ratio=1)
    for place, found in enumerate(ranked):
        row = [
            Text(str(place + 1)),
            _score(found.score),
            *([_score(found.probability)] if is_calibrated else []),
            _move(found.index - place),
            Text(str(found.index)),
        ]
        if documents:
            row.append(_document(job, found))
        table.add_row(*row)
    console.print(table)
    if isinstance(ranked, Ranking) and ranked.answers is not None:
        style = "yellow" if ranked.answers is False else "dim"
        console.print(f"[{style}]{no_answer_in_words(ranked)}[/]", highlight=False)


def no_answer_of(ranked: Sequence[RankedDocument]) -> dict[str, Any]:
    """Return what lines say of all candidates of a query; nothing without a calibration."""
    if not isinstance(ranked, Ranking) or ranked.no_answer is None:
        return {}
    return {"no_answer": ranked.no_answer, "answers": ranked.answers}


def no_answer_in_words(ranking: Ranking) -> str:
    """Return what the calibration says about the candidates as a whole, as a sentence."""
    percent = f"{ranking.no_answer or 0.0:.0%}"
    if ranking.answers is False:
        return f"Probably none of these answers the query ({percent})."
    return f"That none of these answers the query has a probability of {percent}."


def _score(score: float | None) -> Text:
    if score is None:
        return Text("not scored", "dim")
    return Text(f"{score:.4f}", "green" if score >= 0.5 else "yellow")


def _document(job: RankJob, found: RankedDocument) -> Text:
    """Return the text of a document, or its best window, with a mark if it was cut.

    Evidence is bold, with the sentences next to it.
    """
    if found.evidence is not None:
        whole = job.documents[found.index].text
        (first, last), (start, end) = found.evidence.around, found.evidence.span
        parts = [shown(whole[slice(*s)]) for s in ((first, start), (start, end), (end, last))]
        parts[1].stylize("bold")
        return Text(" ").join(part for part in parts if part)
    if found.window is not None:
        start, end = found.window
        text = shown(job.documents[found.index].text[start:end])
        return text.append(f" [{start}:{end}]", "dim")
    original = job.documents[found.index]
    text = shown(found.text or _pictures(original))
    return text.append(" (cut)", "yellow") if found.truncated else text


def _pictures(document: GivenDocument) -> str:
    """Return the images of a document in words."""
    return ", ".join(map(shown_source, document.images))


def shown(text: str) -> Text:
    """Return a text as one line without control characters for terminals."""
    line = _CONTROLS.sub("\ufffd", " ".join(text.split()))
    return Text(line if len(line) <= _SHOWN_CHARACTERS else line[:_SHOWN_CHARACTERS] + "…")


def _move(places: int) -> Text:
    if not places:
        return Text("=", "dim")
    return Text(f"▲{places}", "green") if places > 0 else Text(f"▼{-places}", "red")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
