"""Rankings as HTML. All text from users goes through `escape`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from qwen3_rerank.page.exports import Ranking, as_csv, as_json, data_link
from qwen3_rerank.page.texts import Language, say
from shared_core.results import RankedDocument
from shared_core.results import Ranking as RankedDocuments

_LONG_CHARACTERS = 420
_LONG_LINES = 8


def escape(text: object) -> str:
    """Return a text for HTML, and for a template: ``$``, braces and backticks are escaped, too.

    >>> escape("<b>${x}</b>")
    '&lt;b&gt;&#36;&#123;x&#125;&lt;/b&gt;'
    """
    escaped = html.escape(str(text), quote=True)
    for character in "$`{}":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def note(text: str, kind: str = "hint") -> str:
    """Return a sentence in a frame: a ``hint`` or a ``problem``."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="qr-note qr-{kind}" role="{role}">{escape(text)}</div>'


def ranking_html(ranking: Ranking, language: Language) -> str:
    """Return one ranking: a summary, its downloads and its cards."""
    return (
        f'<section class="qr-ranking" lang="{language}">'
        f"{_head(ranking, language)}"
        f"{_cards(ranking, language, _moves_from_input(ranking.ranked))}"
        f"{_downloads([ranking], language)}</section>"
    )


def comparison_html(first: Ranking, second: Ranking, language: Language) -> str:
    """Return two rankings of the same documents side by side; on a phone, one below the other."""
    places = [_places(ranking.ranked) for ranking in (first, second)]
    differing = sum(
        places[0].get(index) != places[1].get(index) for index in {*places[0], *places[1]}
    )
    summary = say("differ", language, count=differing, all=first.count)
    columns = "".join(  # what moved is said of the second one alone: the first is the measure
        f'<section class="qr-column"><h3><span class="qr-letter">{letter}</span>'
        f"{escape(ranking.instruction)}</h3>{_no_answer(ranking, language)}"
        f"{_cards(ranking, language, moves, other)}</section>"
        for letter, ranking, moves, other in (
            ("A", first, {}, places[1]),
            ("B", second, _moves_from(places[1], places[0]), places[0]),
        )
    )
    return (
        f'<section class="qr-ranking" lang="{language}">'
        f'<div class="qr-head">{_question(first, language)}'
        f'<p class="qr-summary">{escape(summary)}</p></div>'
        f'<div class="qr-columns">{columns}</div>{_downloads([first, second], language)}</section>'
    )


def _head(ranking: Ranking, language: Language) -> str:
    summary = say(
        "summary",
        language,
        shown=len(ranking.ranked),
        count=ranking.count,
        seconds=f"{ranking.seconds:.2f}",
        model=ranking.model,
    )
    return (
        f'<div class="qr-head">{_question(ranking, language)}'
        f'<p class="qr-summary">{escape(summary)}</p>{_no_answer(ranking, language)}</div>'
    )


def _question(ranking: Ranking, language: Language) -> str:
    """Return the question, with its images small."""
    images = "".join(
        _image(address, say("asked_image", language, name=name))
        for name, address in ranking.asked.items()
    )
    return f'<p class="qr-query">{escape(ranking.query)}</p>{images}'


def _no_answer(ranking: Ranking, language: Language) -> str:
    """Return what the calibration says of all documents, as a sentence.

    Nothing without one, or where some documents were not judged.
    """
    found = ranking.ranked
    if not isinstance(found, RankedDocuments) or found.no_answer is None or found.answers is None:
        return ""
    word, kind = ("no_answer", "problem") if found.answers is False else ("answer", "calm")
    sentence = escape(say(word, language, percent=f"{found.no_answer:.0%}"))
    return f'<p class="qr-answer qr-answer-{kind}" role="status">{sentence}</p>'


def _downloads(rankings: Sequence[Ranking], language: Language) -> str:
    links = (
        ("JSON", "ranking.json", data_link(as_json(rankings), "application/json")),
        ("CSV", "ranking.csv", data_link(as_csv(rankings), "text/csv", mark=True)),
    )
    anchors = "".join(
        f'<a class="qr-button" download="{name}" href="{link}">'
        f'<span aria-hidden="true">↓</span> {kind}</a>'
        for kind, name, link in links
    )
    label = escape(say("download", language))
    return f'<div class="qr-downloads" role="group" aria-label="{label}">{label} {anchors}</div>'


def _cards(
    ranking: Ranking,
    language: Language,
    moves: Mapping[int, int],
    other: Mapping[int, int] | None = None,
) -> str:
    cards = "".join(
        _card(
            place,
            result,
            language,
            moves.get(result.index),
            other,
            ranking.thumbnails.get(result.index, ""),
        )
        for place, result in enumerate(ranking.ranked, 1)
    )
    return f'<ol class="qr-cards">{cards}</ol>'


def _card(
    place: int,
    result: RankedDocument,
    language: Language,
    move: int | None,
    other: Mapping[int, int] | None,
    thumbnail: str,
) -> str:
    facts = []
    if other is None:
        facts.append(say("was", language, place=result.index + 1))
    elif result.index in other:
        facts.append(say("in_other", language, place=other[result.index]))
    else:
        facts.append(say("not_in_other", language))
    if result.stage is not None:
        facts.append(say("stage", language, stage=result.stage))
    if result.n_tokens is not None:
        facts.append(say("tokens", language, count=f"{result.n_tokens:,}"))
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    if result.window is not None:
        spans += f'<span class="qr-part">{escape(_part(result, language))}</span>'
    if result.truncated:
        spans += f'<span class="qr-cut">✂ {escape(say("cut", language))}</span>'
    return (
        f'<li class="qr-card"><div class="qr-top"><span class="qr-place">{place}</span>'
        f"{_bar(result.score, language)}{_move(move, language)}</div>"
        f"{_image(thumbnail, result.text)}{_text(result, language)}"
        f'<div class="qr-facts">{spans}</div></li>'
    )


def _image(address: str, name: str) -> str:
    if not address:
        return ""
    return f'<img class="qr-image" src="{escape(address)}" alt="{escape(name)}">'


def _bar(score: float | None, language: Language) -> str:
    if score is None:
        return f'<span class="qr-score qr-none">{escape(say("not_scored", language))}</span>'
    label = escape(say("score", language))
    return (
        f'<span class="qr-bar" role="meter" aria-label="{label}" aria-valuemin="0" '
        f'aria-valuemax="1" aria-valuenow="{score:.4f}"><span class="qr-fill" '
        f'style="width:{100 * score:.1f}%"></span></span><span class="qr-score">{score:.3f}</span>'
    )


def _move(places: int | None, language: Language) -> str:
    if places is None:
        return ""
    if places == 0:
        return f'<span class="qr-move qr-same" title="{escape(say("same", language))}">=</span>'
    word, kind, sign = ("up", "qr-up", "▲") if places > 0 else ("down", "qr-down", "▼")
    title = escape(say(word, language, places=abs(places)))
    return (
        f'<span class="qr-move {kind}" title="{title}" aria-label="{title}">'
        f"{sign} {abs(places)}</span>"
    )


def _part(result: RankedDocument, language: Language) -> str:
    """Return where the best window of a document is."""
    start, end = result.window or (0, 0)
    values = {"start": start + 1, "end": end, "all": len(result.text)}
    return say("window", language, **{name: f"{value:,}" for name, value in values.items()})


def _text(result: RankedDocument, language: Language) -> str:
    """Return the text, the best window marked and the evidence in bold; a long one shows where
    that begins, and the rest on request.
    """
    document = result.text
    start, end = result.window or (0, len(document))
    part = _with_evidence(result, start, end)
    marked = part if result.window is None else f"<mark>{part}</mark>"
    text = f"{escape(document[:start])}{marked}{escape(document[end:])}"
    whole = f'<div class="qr-text" dir="auto">{text}</div>'
    if len(document) <= _LONG_CHARACTERS and document.count("\n") < _LONG_LINES:
        return whole
    if result.evidence is not None:
        start, end = result.evidence.around
        begins = f"{'…' if start else ''}{_with_evidence(result, start, end)}…"
    else:
        lines = document[start:end].lstrip().split("\n")[:_LONG_LINES]
        shown = "\n".join(lines)[:_LONG_CHARACTERS]
        begins = f"{'…' if start else ''}{escape(shown)}…"
    return (
        f'<details class="qr-long"><summary><span class="qr-text" dir="auto">{begins}'
        f'</span> <span class="qr-more">{escape(say("show_all", language))}</span></summary>'
        f"{whole}</details>"
    )


def _with_evidence(result: RankedDocument, start: int, end: int) -> str:
    """Return these characters of a document, which its evidence is among, with that in bold."""
    if result.evidence is None:
        return escape(result.text[start:end])
    first, last = result.evidence.span
    pieces = [result.text[slice(*s)] for s in ((start, first), (first, last), (last, end))]
    before, bold, after = map(escape, pieces)
    return f"{before}<b>{bold}</b>{after}"


def _places(ranked: Sequence[RankedDocument]) -> dict[int, int]:
    """Return the place of each document, by its position in the input."""
    return {result.index: place for place, result in enumerate(ranked, 1)}


def _moves_from_input(ranked: Sequence[RankedDocument]) -> dict[int, int]:
    return {result.index: result.index + 1 - place for place, result in enumerate(ranked, 1)}


def _moves_from(mine: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """Return the number of places that each document moved up."""
    return {index: other[index] - place for index, place in mine.items() if index in other}
