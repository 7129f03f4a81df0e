"""The page's section on a calibration: reliability before and after, and whether any answers."""

from __future__ import annotations

from qwen3_rerank.evaluation import plots
from qwen3_rerank.evaluation.calibrated import CalibrationReport
from qwen3_rerank.evaluation.calibrating import FOLDS, Fit
from qwen3_rerank.evaluation.no_answer import Level, NoAnswerReport
from qwen3_rerank.evaluation.page_parts import images, interval, table

_METHODS = {"platt": "a logistic curve (Platt)", "isotonic": "isotonic regression"}


def calibrated(report: CalibrationReport | None) -> str:
    """Return the section; nothing without a calibration."""
    if report is None:
        return ""
    image = plots.reliability(report.scores.reliability, report.probabilities.reliability)
    caption = (
        "On the dotted line, a passage is right as often as its probability says. Dots are larger "
        "where there are more passages."
    )
    method = _METHODS[report.fitted.probability.method]
    rows = [
        _fit("score", report.scores),
        _fit("probability, on queries not seen", report.probabilities),
        _fit(f"{report.right / report.passages:.3f} for every passage", report.share),
    ]
    return (
        "<h3>Calibrated</h3>\n"
        f"<p>The calibration is {method}, fitted on {report.passages:,} passages, of which "
        f"{report.right:,} are right. For these figures, each query has the probabilities of a fit "
        f"on the other {FOLDS - 1} fifths of the queries.</p>\n"
        + images((image, caption))
        + table(["", "calibration error", "Brier score", "log loss"], rows)
        + '<p class="soft">Smaller is better in every column. One probability for all has no '
        "calibration error either, and tells nothing apart: the other two columns show that.</p>\n"
        + _no_answer(report.no_answer)
    )


def _fit(label: str, fit: Fit) -> list[str]:
    values = (fit.reliability.error, fit.brier, fit.log_loss)
    return [label, *(f"{value:.4f}" for value in values)]


def _no_answer(report: NoAnswerReport | None) -> str:
    head = "<h3>Queries that no candidate answers</h3>\n"
    if report is None:
        return head + (
            "<p>There are too few queries with a right and a wrong candidate to tell those that "
            "nothing answers.</p>"
        )
    fitted = report.fitted
    never = (
        f" {fitted.queries} queries are too few for that: the file never says that nothing answers."
        if fitted.threshold >= 1.0
        else ""
    )
    text = (
        f"<p>Fitted on {report.fitted_on:,} queries, each with its right passages and once more "
        "without. On the others, a query without them has a higher <code>no_answer</code> than one "
        f"with them in {report.told_apart:.1%} of pairs (by the best score alone, "
        f"{report.told_apart_by_best_score:.1%}). Above {fitted.threshold:.3f}, which is from "
        f"{fitted.queries:,} queries, the file says that nothing answers; {fitted.keep:.0%} of "
        f"answerable queries at least are to be kept.{never}</p>\n"
    )
    heads = ["", "kept", "noticed", "by the best score"]
    legend = (
        '<p class="soft">Each threshold is from one quarter of the queries and measured on '
        "another. Kept: of answerable queries, with the range in which this share is in 95 % of "
        "cases if the promise holds. Noticed: of the same queries without their right passages. By "
        "the best score: noticed by a threshold on the best score alone, made alike.</p>"
    )
    return head + text + table(heads, [_level(level) for level in report.levels]) + legend


def _level(level: Level) -> list[str]:
    bounds = interval(f"{level.low:.1%}", f"{level.high:.1%}")
    return [
        f"{level.keep:.0%} to keep",
        f"{level.kept:.1%} {bounds}",
        f"{level.noticed:.1%}",
        f"{level.by_best_score:.1%}",
    ]
