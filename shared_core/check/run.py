"""`check`, the tests for all known ways in which scores go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared_core.check.report import CheckReport, Finding, Status
from shared_core.check.scores import Logits, check_scores, measure_latency
from shared_core.errors import MissingDependencyError, RemoteError, RerankError, ScoringError
from shared_core.scoring import PlacedScorer, ScoreRequest

if TYPE_CHECKING:
    from shared_core.backend.running import Runner
    from shared_core.scorers.remote.scorer import RemoteScorer


def check(runner: Runner) -> CheckReport:
    """Return a report on a runner's scores. Errors of the backend become findings.

    A server is asked a few dozen short questions; a model is loaded.

    Raises:
        MissingDependencyError: What the backend needs is not installed.
    """
    options = runner.options
    target = options.model + (f" at {options.base_url}" if options.base_url else "")
    findings: list[Finding] = []
    model = options.model
    latency: dict[int, float] = {}

    def logits(query: str, documents: Sequence[str], instruction: str) -> list[float]:
        request = ScoreRequest(query, instruction, documents)
        return [scored.logit for scored in runner.run([request])[0]]

    try:
        if options.is_remote:
            found, served = _of_server(runner)
            findings += found
            model = served or model
        else:
            findings += _of_model(runner, logits)
        if not any(f.status == "unreachable" or f.name == "template" for f in findings):
            findings += check_scores(logits, model)
            latency = measure_latency(logits)
    except MissingDependencyError:
        raise
    except RerankError as error:
        findings.append(Finding("scores", _status_of(error), str(error)))
    return CheckReport(target, tuple(findings), latency)


def _status_of(error: RerankError) -> Status:
    """Return the status of an error: invalid scores, or no answer."""
    if isinstance(error, RemoteError):
        return "unreachable"
    return "wrong" if isinstance(error, ScoringError) else "failed"


def _of_server(runner: Runner) -> tuple[list[Finding], str | None]:
    """Return the findings on the server and on the model that it really serves."""
    from shared_core.check.server import compare_with_exact_route, inspect_server

    scorer: RemoteScorer = runner.scorer  # type: ignore[assignment]  # the options are remote
    inspection = scorer.run(inspect_server(runner.options, scorer))
    if inspection.setup is None:
        return inspection.findings, None
    exactness = compare_with_exact_route(runner.options, scorer, inspection.setup)
    served = inspection.setup.facts.models
    only = served[0] if len(served) == 1 and runner.options.model not in served else None
    return inspection.findings + scorer.run(exactness), only


def _of_model(runner: Runner, logits: Logits) -> list[Finding]:
    """Load the model by scoring with it, and describe it."""
    logits("warm up", ["warm up"], "warm up")
    options, scorer = runner.options, runner.scorer
    where = f"device {options.device or 'auto'}, dtype {options.dtype}"
    if isinstance(scorer, PlacedScorer):
        where = scorer.placement
    by = type(scorer).__name__
    return [Finding("model", "ok", f"{options.model} scored by {by}, {where}")]
