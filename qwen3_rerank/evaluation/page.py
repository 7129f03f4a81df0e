"""The report as one self-contained page of HTML: no script, no font, no request.

Every text that comes from data goes through `page_parts.text`. On top of that, a policy in the page
forbids scripts and requests.
"""

from __future__ import annotations

from pathlib import Path

from qwen3_rerank.evaluation import (
    page_cascades,
    page_details,
    page_judge,
    page_system,
    page_tables,
)
from qwen3_rerank.evaluation.findings import FIRST, Findings, SystemReport
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page_parts import p_value, signed, text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(report: Findings) -> str:
    """Return the page."""
    title = f"Reranking {text(report.dataset.name)}"
    body = [
        f"<h1>{title}</h1>",
        _lead(report),
        _data(report),
        page_judge.section(report),
        page_tables.figures(report),
        page_tables.comparisons(report),
        page_details.groups(report),
        page_details.pairs(report),
        page_cascades.section(report),
        *(page_system.section(report, system) for system in report.systems),
        page_tables.time(report),
        _method(report),
        _environment(report),
    ]
    style = (Path(__file__).parent / "page.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _lead(report: Findings) -> str:
    """Return the answer in a sentence per system."""
    main = report.measures[0]
    before = report.before_figures[main].mean
    lines = []
    for system in report.systems:
        compared = report.comparison(main, FIRST, system.letter)
        change = compared.difference.estimate
        certain = compared.p_corrected < 0.05
        verb = "raises" if change.mean > 0 else "lowers" if change.mean < 0 else "leaves"
        result = (
            f"{verb} {shown(main)} from {before:.3f} to {system.figures[main].mean:.3f}"
            if change.mean
            else f"leaves {shown(main)} at {before:.3f}"
        )
        bounds = f"{signed(change.low)} to {signed(change.high)}"
        doubt = "" if certain else ", which may be chance"
        lines.append(
            f'<p class="lead"><span class="letter">{system.letter}</span>{_name(report, system)}'
            f" {result} ({signed(change.mean)}, 95 % interval {bounds}, "
            f"p {p_value(compared.p_corrected)}){doubt}.</p>"
        )
    return "\n".join(lines)


def _name(report: Findings, system: SystemReport) -> str:
    """Return a system's name, with its instruction where only that tells it from another."""
    if sum(other.name == system.name for other in report.systems) == 1:
        return text(system.name)
    return f"{text(system.name)}, told “{text(system.instruction, 120)}”,"


def _data(report: Findings) -> str:
    data = report.dataset
    there, found = report.right
    candidates = sum(map(len, report.first_stage.candidates.values())) / len(data.queries)
    lost = there - found
    lines = [
        f"<p>{len(data.queries):,} queries, {len(data.documents):,} documents. The candidates are "
        f"the best {report.top_n} by {text(report.first_stage.name)}, {candidates:,.1f} a query. "
        f"{found:,} of {there:,} relevant documents are among them"
        + (
            f"; the other {lost:,} count against every system, also before reranking, since nobody "
            "can rank what was not retrieved.</p>"
            if lost
            else ".</p>"
        )
    ]
    notes = [*data.notes, *report.first_stage.notes]
    cut = [system for system in report.systems if system.truncated]
    notes += [f"{system.letter}: {system.truncated:,} documents lost their end" for system in cut]
    return "\n".join([*lines, *(f'<p class="note">{text(note)}</p>' for note in notes)])


def _method(report: Findings) -> str:
    return f"""<h2>How to read it</h2>
<p>Every figure is a mean over queries. Intervals are percentile bootstraps over queries with 9,999
resamples. p is that of a paired randomisation test, two-sided, with as many; Holm's method corrects
it for all comparisons of one measure. The measures themselves are not corrected for one another:
decide by the first. The seed is {report.seed}.</p>
<p>What nobody judged is taken for wrong. A threshold and a top_k look better than they are on the
data they were chosen on; “not seen” is what they do to queries that they were not chosen on: each
half is measured with what the other half would choose.</p>"""


def _environment(report: Findings) -> str:
    rows = [f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in _facts(report)]
    command = f"<pre>{text(report.command)}</pre>" if report.command else ""
    return f"<h2>How it was made</h2>\n{command}<dl>{''.join(rows)}</dl>"


def _facts(report: Findings) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("data, SHA-256", report.dataset.fingerprint())]
    for system in report.systems:
        options = {
            name: value for name, value in system.told.items() if value not in (None, {}, "auto")
        }
        facts.append(
            (system.letter, ", ".join(f"{name}={value}" for name, value in options.items()))
        )
    return [*facts, *report.environment.items()]
