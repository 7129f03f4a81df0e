"""The report of an evaluation, and the files it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.findings import FIRST, Findings, SystemReport
from qwen3_rerank.evaluation.groups import by_length, by_script
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page import render
from qwen3_rerank.evaluation.trec import run_lines
from qwen3_rerank.reading.folders import OutputFolder

VERSION = 1


class Report(Findings):
    """Findings that can be written as files, or shown as HTML and text."""

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, without times: from the same scores always the same."""
        data = self.dataset
        found, there = self.right[1], self.right[0]
        return {
            "version": VERSION,
            "dataset": {
                "name": data.name,
                "fingerprint": data.fingerprint(),
                "documents": len(data.documents),
                "queries": len(data.queries),
                "relevant": there,
                "notes": [*data.notes, *self.first_stage.notes],
            },
            "candidates": {
                "first_stage": self.first_stage.name,
                "top_n": self.top_n,
                "mean": _mean_length(self.first_stage.candidates),
                "relevant_among_them": found,
                "ceiling": dict(self.ceiling),
            },
            "seed": self.seed,
            "before": _plain(self.before_figures),
            "systems": [_system(system) for system in self.systems],
            "by_length": _plain(by_length(self)),
            "by_script": _plain(by_script(self)),
            "comparisons": _plain(self.comparisons),
            "cascades": [cascade.to_dict() for cascade in self.cascades],
            "environment": dict(self.environment),
            "command": self.command,
        }

    def timing(self) -> dict[str, Any]:
        """Return the values that differ from run to run."""
        return {system.letter: _plain(system.timing) for system in self.systems} | {
            cascade.name: {row.keep: row.seconds for row in cascade.rows}
            for cascade in self.cascades
        }

    def html(self) -> str:
        """Return the report as one page that needs nothing else."""
        return render(self)

    def save(self, folder: str | Path) -> Path:
        """Write all files into a folder, and return the path of ``report.html``.

        ``report.html``, ``report.json``, ``timing.json``, ``queries.jsonl`` (the figures of every
        query) and ``runs/*.run`` (TREC).

        Raises:
            FolderError: A link is in the place of ``runs``; links are not followed.
            OSError: There is no room.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        out = OutputFolder(Path(folder))
        runs = out.folder("runs", create=True)
        _write(out, "report.json", _json(self.to_dict()))
        _write(out, "timing.json", _json(self.timing()))
        _write(out, "queries.jsonl", "".join(self._query_lines()))
        orders = {"first_stage": self.first_stage.candidates}
        orders |= {system.letter: system.order for system in self.systems}
        for name, order in orders.items():
            _write(runs, f"{name}.run", "".join(run_lines(order, f"qwen3_{name}")))
        _write(out, "report.html", self.html())
        return Path(folder) / "report.html"

    def _query_lines(self) -> Sequence[str]:
        lines = []
        for query, text in self.dataset.queries.items():
            figures = {FIRST: {name: self.before[name][query] for name in self.measures}}
            for system in self.systems:
                figures[system.letter] = {
                    name: system.values[name][query] for name in self.measures
                }
            line = {"query": query, "text": text, "figures": figures}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return lines

    def __str__(self) -> str:
        """Return the figures as a few lines of text."""
        names = [shown(name) for name in self.measures]
        width = max(
            len(FIRST), *(len(f"{system.letter}  {system.name}") for system in self.systems)
        )
        rows = [(FIRST, self.before_figures)]
        rows += [(f"{system.letter}  {system.name}", system.figures) for system in self.systems]
        lines = [f"{'':{width}}  " + "  ".join(f"{name:>10}" for name in names)]
        for label, figures in rows:
            values = "  ".join(f"{figures[name].mean:10.4f}" for name in self.measures)
            lines.append(f"{label:{width}}  {values}")
        return "\n".join(lines)


_FIELDS = (
    *("letter", "name", "instruction", "told", "figures", "tokens_per_query"),
    *("tokens_per_document", "truncated", "best_f1", "calibration", "suggestion", "fusion"),
    *("depths", "agreement", "evidence"),
)


def _system(system: SystemReport) -> dict[str, Any]:
    """Return a system with all parts that do not differ from run to run, but for the queries."""
    fitted = {} if system.calibrated is None else {"calibrated": system.calibrated.to_dict()}
    return {name: _plain(getattr(system, name)) for name in _FIELDS} | fitted


def _plain(value: Any) -> Any:
    """Return a value of which JSON has a form."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _mean_length(candidates: Mapping[str, Sequence[Any]]) -> float:
    return sum(map(len, candidates.values())) / len(candidates)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def _write(folder: OutputFolder, name: str, text: str) -> None:
    """Write a file whole, or leave the one before."""
    with folder.replacing(name) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
