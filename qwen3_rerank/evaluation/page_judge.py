"""The page's part on agreement with a judge."""

from __future__ import annotations

from qwen3_rerank.evaluation.findings import Findings
from qwen3_rerank.evaluation.page_parts import figure, named, table, text


def section(report: Findings) -> str:
    """Return how far every system agrees with the judge; nothing without one."""
    found = [(system, system.agreement) for system in report.systems if system.agreement]
    if not found:
        return ""
    rows = [
        [
            named(system.letter, system.name),
            figure(agreement.order),
            figure(agreement.first),
            figure(agreement.overlap),
            f"{agreement.same:.1%}",
            "–" if agreement.kappa is None else f"{agreement.kappa:.3f}",
        ]
        for system, agreement in found
    ]
    head = ["", "order (τ)", "same first", "first ten", "same side of 0.5", "κ"]
    judge, queries = found[0][1].judge, found[0][1].queries
    return (
        f"<h2>Agreement with {text(judge)}</h2>\n"
        f'<p class="note">{text(judge)} is a model, and no person judged: a system that is right '
        "where this model is wrong looks bad here. All figures of this page are agreement with "
        f"it.</p>\n{table(head, rows)}"
        f'<p class="soft">Of {queries:,} queries. τ is 1 for the same order, 0 for chance and −1 '
        "for the reverse. κ is the agreement on yes and no above chance, 1 at most.</p>"
    )
