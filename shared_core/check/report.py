"""Findings and report of a check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

_COMPARISONS = frozenset(["order", "golden", "exactness", "comparison"])
Status = Literal["ok", "info", "warning", "wrong", "failed", "unreachable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report.

    Attributes:
        name: The name of the check.
        status: ``wrong`` is a wrong score, ``warning`` what will bite others or later. ``failed``
            and ``unreachable`` mean that no score could be had, from a model or a server.
        detail: The observation.
        fix: The remedy; empty if none is needed.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings, in the order in which they were made.

    Attributes:
        target: The model, or the model and its server.
        findings: One per thing looked at.
        latency_ms: Milliseconds of one call, by number of documents; medians of three.
    """

    target: str
    findings: tuple[Finding, ...]
    latency_ms: dict[int, float]

    @property
    def is_right(self) -> bool:
        """Whether all checks passed and everything could be reached."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The exit code: 0 for correct scores, 1 for wrong scores, 2 for no scores.

        It is 0 only where scores were compared with others or with a known order.
        """
        statuses = {finding.status for finding in self.findings}
        if statuses & {"failed", "unreachable"}:
            return 2
        if "wrong" in statuses:
            return 1
        compared = {finding.name for finding in self.findings if finding.status == "ok"}
        return 0 if compared & _COMPARISONS else 2

    def __getitem__(self, name: str) -> Finding:
        """Return a finding by its name.

        Raises:
            KeyError: There is none.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding {name!r}: there are {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        """The names of the findings."""
        return [finding.name for finding in self.findings]

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain types, for JSON."""
        return {
            "target": self.target,
            "is_right": self.is_right,
            "exit_code": self.exit_code,
            "findings": [asdict(finding) for finding in self.findings],
            "latency_ms": {str(count): value for count, value in self.latency_ms.items()},
        }


def worst(findings: Iterable[Finding]) -> Status:
    """Return the most serious status among findings."""
    order: tuple[Status, ...] = ("ok", "info", "warning", "wrong", "failed", "unreachable")
    return max((finding.status for finding in findings), key=order.index, default="ok")
