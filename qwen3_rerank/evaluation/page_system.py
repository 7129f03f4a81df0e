"""The page's section on one system: plots, suggested settings, gains and losses."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rerank.evaluation import page_calibrated, page_details, page_evidence, plots
from qwen3_rerank.evaluation.cases import Case, Place, gains, losses
from qwen3_rerank.evaluation.findings import Findings, SystemReport
from qwen3_rerank.evaluation.fusing import FusionReport, best_weight
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page_parts import change_cell, figure, images, named, table, text
from qwen3_rerank.evaluation.passages import judged
from qwen3_rerank.evaluation.significance import Estimate
from qwen3_rerank.evaluation.suggestion import Cut, Suggestion

_SHOWN_OF_QUERY = 300
_SHOWN_OF_DOCUMENT = 600


def section(report: Findings, system: SystemReport) -> str:
    """Return all about one system."""
    before = judged(report.first_stage.candidates, report.dataset.relevant)
    drawn = [
        (plots.change(report, system), "What became of every query."),
        (plots.by_top_k(system, before), "Of the queries with a right candidate."),
        (plots.distributions(system), _threshold(system)),
        (
            plots.calibration(system),
            "On the dotted line, a score is the probability of being right.",
        ),
    ]
    measure = shown(report.measures[0])
    parts = [
        f"<h2>{named(system.letter, system.name)}</h2>",
        f'<p class="soft">{text(system.instruction)}</p>',
        images(*drawn),
        _suggestion(system.suggestion),
        page_details.depths(report, system),
        page_calibrated.calibrated(system.calibrated),
        _fusion(system.fusion, system.figures[report.measures[0]]),
        "" if system.evidence is None else page_evidence.section(system.evidence),
        _cases(f"Worst losses in {measure}", losses(report, system)),
        _cases(f"Best gains in {measure}", gains(report, system)),
    ]
    return "\n".join(parts)


def _threshold(system: SystemReport) -> str:
    best = system.best_f1
    if best is None:
        return "No candidate is right."
    return (
        f"At a score of {best.threshold:.4g} F1 is highest: {best.precision:.1%} of what lies "
        f"above is right, and {best.recall:.1%} of what is right lies above."
    )


def _suggestion(suggestion: Suggestion | None) -> str:
    if suggestion is None:
        return ""
    both = suggestion.both
    rows = [_cut(f"top_k = {cut.top_k}", cut) for cut in suggestion.table]
    rows.append(_cut(f"top_k = {both.top_k}, score_threshold = {both.threshold:.4g}", both))
    if suggestion.unseen is not None:
        rows.append(_cut("the same two rules, on queries not seen", suggestion.unseen))
    head = ["", "queries", "right", "a query", "dropped", "empty"]
    legend = (
        '<p class="soft">Queries: those that keep a right passage, of those with one among their '
        "candidates. Right: of all right passages, those kept. A query: passages it keeps, on "
        "average. Dropped: of all candidates. Empty: queries that keep nothing; "
        "<code>min_docs</code> helps them.</p>"
    )
    first = suggestion.first_stage.answered
    chosen = (
        f"<p>Suggested: <code>top_k={both.top_k}</code> and "
        f"<code>score_threshold={both.threshold:.4g}</code>. Of the queries that have a right "
        f"candidate, {both.answered:.1%} keep one; {suggestion.keep:.0%} were to. Of what may be "
        f"lost, top_k loses at most half (in the order of the first stage, {first:.1%} would keep "
        f"one), and the threshold the rest. {both.passages:,.1f} passages a query are left.</p>"
    )
    return "<h3>What to configure</h3>\n" + chosen + table(head, rows) + legend


def _fusion(fusion: FusionReport, alone: Estimate) -> str:
    """Return the table of ways to let the first stage decide, too."""
    rows = [["this system alone", figure(alone), ""]]
    for row in fusion.rows:
        label = f'fusion = "{row.fusion}"' if row.fusion == "rrf" else f"fusion = {row.fusion}"
        rows.append([text(label), figure(row.figure), change_cell(row.gain.estimate)])
    table_of_all = table(["", text(shown(fusion.measure)), "change"], rows)
    return (
        "<h3>Fused with the first stage</h3>\n"
        '<p class="soft">A number is the weight of the first stage\'s score, each score '
        f"standardised by query; rrf adds reciprocal ranks.</p>\n{table_of_all}"
        f"<p>{text(best_weight(fusion))}</p>"
    )


def _cut(label: str, cut: Cut) -> list[str]:
    return [
        label,
        f"{cut.answered:.1%}",
        f"{cut.recall:.1%}",
        f"{cut.passages:,.1f}",
        f"{cut.dropped:.1%}",
        f"{cut.empty:,}",
    ]


def _cases(title: str, cases: Sequence[Case]) -> str:
    shown_cases = "\n".join(_case(case) for case in cases) or '<p class="soft">None.</p>'
    return f"<h3>{text(title)}</h3>\n{shown_cases}"


def _case(case: Case) -> str:
    places = "\n".join(_place(place) for place in case.places)
    return (
        f'<div class="case"><h4 dir="auto">{text(case.text, _SHOWN_OF_QUERY)}</h4>'
        f"<small>{text(case.query)}: {case.before:.3f} → {case.after:.3f}</small>"
        f'<div class="sides">{places}</div></div>'
    )


def _place(place: Place) -> str:
    kind = "right" if place.is_right else "wrong"
    label = "Right passage" if place.is_right else "Not judged right"
    return (
        f'<div class="place {kind}"><small>{label}, rank {place.before} → {place.after}, score '
        f'{place.score:.3f} ({text(place.document)})</small><p dir="auto">'
        f"{text(place.text, _SHOWN_OF_DOCUMENT)}</p></div>"
    )
