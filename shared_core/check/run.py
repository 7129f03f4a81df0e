"""`check`, the tests for all known ways in which scores go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from shared_core.check.report import CheckReport, Finding, Status, worst
from shared_core.check.scores import check_scores, measure_latency
from shared_core.errors import MissingDependencyError, RemoteError, RerankError, ScoringError
from shared_core.images.content import Content
from shared_core.scoring import PlacedScorer

if TYPE_CHECKING:
    from shared_core.reranker import Reranker
    from shared_core.scorers.remote.scorer import RemoteScorer


def check(reranker: Reranker) -> CheckReport:
    """Return the report on a reranker's scores. What it finds is reported, never raised.

    A server is asked a few dozen short questions; a model is loaded.

    Raises:
        MissingDependencyError: A package that the backend needs is not installed.
    """
    options = reranker.options
    target = options.model + (f" at {options.base_url}" if options.base_url else "")
    findings: list[Finding] = []
    model = options.model
    latency: dict[int, float] = {}

    def logits(
        query: str | Content, documents: Sequence[str | Content], instruction: str
    ) -> list[float]:
        found = reranker.judge(query, documents, instruction=instruction, long_documents="truncate")
        return [one.logit for one in found]

    try:
        if options.is_remote:
            found, served = _of_server(reranker)
            findings += found
            model = served or model
        else:
            findings += _of_model(reranker)
        if worst(findings) not in ("failed", "unreachable"):
            findings += check_scores(logits, model, sees=reranker.takes_images)
            latency = measure_latency(logits)
    except MissingDependencyError:
        raise
    except RerankError as error:
        # What was found wrong before may be why nothing is scored any more.
        if worst(findings) != "wrong" or isinstance(error, RemoteError):
            findings.append(Finding("scores", _status_of(error), str(error)))
    return CheckReport(target, tuple(findings), latency)


def _status_of(error: RerankError) -> Status:
    """Return the status of an error: invalid scores, or no answer."""
    if isinstance(error, RemoteError):
        return "unreachable"
    return "wrong" if isinstance(error, ScoringError) else "failed"


def _of_server(reranker: Reranker) -> tuple[list[Finding], str | None]:
    """Return findings about a server, and the name of its only model, if that is another one."""
    from shared_core.check.comparisons import compare_prompts
    from shared_core.check.server import compare_with_exact_route, inspect_server

    scorer = cast("RemoteScorer", reranker.scorer)  # since the options are remote
    inspection = scorer.run(inspect_server(reranker.options, scorer))
    if inspection.setup is None:
        return inspection.findings, None
    findings = inspection.findings
    findings += scorer.run(compare_prompts(reranker.options, scorer, inspection.setup))
    exactness = compare_with_exact_route(reranker.options, scorer, inspection.setup)
    served = inspection.setup.facts.models
    only = served[0] if len(served) == 1 and reranker.options.model not in served else None
    return findings + scorer.run(exactness), only


def _of_model(reranker: Reranker) -> list[Finding]:
    """Load the model by scoring with it, and say what it is."""
    reranker.warm_up()
    options, scorer = reranker.options, reranker.scorer
    where = f"device {options.device or 'auto'}, dtype {options.dtype}"
    if isinstance(scorer, PlacedScorer):
        where = scorer.placement
    by = type(scorer).__name__
    return [Finding("model", "ok", f"{options.model} scored by {by}, {where}")]
