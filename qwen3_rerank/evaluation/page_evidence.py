"""The page's part on evidence: answers kept against tokens kept, and some that are missed."""

from __future__ import annotations

from itertools import pairwise

from qwen3_rerank.evaluation.evidence import EvidenceReport, Found, Miss
from qwen3_rerank.evaluation.page_parts import figure, interval, p_value, signed, table, text

_AROUND = 240  # characters


def section(report: EvidenceReport) -> str:
    """Return the table of what is kept, and the answers that evidence missed."""
    rows = [
        _row("the sentence with most words of the query", report.words),
        _row("the evidence", report.evidence),
        _row("that sentence and its neighbours", report.words_around),
        _row('the evidence and its neighbours <small>compress="evidence"</small>', report.around),
    ]
    gain = report.gain.estimate
    bounds = interval(signed(gain.low), signed(gain.high), " to ")
    cost = "" if report.tokens is None else f" Finding it took {report.tokens:,.0f} tokens each."
    misses = "\n".join(map(_miss, report.misses)) or '<p class="soft">None.</p>'
    return (
        "<h3>Evidence</h3>\n"
        f'<p class="soft">Of the {report.queries:,} queries whose answer is known: how many have '
        "it inside of what is kept of the right document, and how much of its tokens that is."
        f"{cost}</p>\n{table(['', 'answers kept', 'tokens kept'], rows)}"
        f"<p>Evidence against the sentence with most words: {signed(gain.mean)} of the answers "
        f"{bounds}, p {p_value(report.gain.p)}.</p>\n"
        f"<details><summary>Answers that the evidence misses</summary>{misses}</details>"
    )


def _row(label: str, found: Found) -> list[str]:
    return [label, figure(found.answers), f"{found.kept:.1%}"]


def _miss(miss: Miss) -> str:
    """Return the document, the evidence in bold and the answer marked."""
    marks = {"b": miss.evidence, "mark": miss.answer}
    low = max(0, min(start for start, _ in marks.values()) - _AROUND)
    high = max(end for _, end in marks.values()) + _AROUND
    places = sorted({low, min(high, len(miss.document)), *miss.evidence, *miss.answer})
    pieces = []
    for start, end in pairwise(places):
        piece = text(miss.document[start:end])
        for tag, (first, last) in marks.items():
            if first <= start and end <= last:
                piece = f"<{tag}>{piece}</{tag}>"
        pieces.append(piece)
    before, after = "…" if low else "", "…" if high < len(miss.document) else ""
    return (
        f'<div class="case"><h4 dir="auto">{text(miss.text, 300)}</h4>'
        f"<small>{text(miss.query)}: evidence in bold, the answer marked</small>"
        f'<div class="place right"><p dir="auto">{before}{"".join(pieces)}{after}</p></div></div>'
    )
