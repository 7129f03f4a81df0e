"""The report as a page."""

from __future__ import annotations


def render(report: object) -> str:
    """Return HTML."""
    del report
    return "<!doctype html>"
