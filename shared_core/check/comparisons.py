"""Comparison of a server's scores for texts that have to be one prompt, or must not be."""

from __future__ import annotations

from dataclasses import replace

from shared_core.check.report import Finding
from shared_core.check.server import server_state
from shared_core.errors import RemoteError
from shared_core.known_pairs import PAIRS
from shared_core.options import RerankerOptions
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.scorers.remote.comparing import N_PAIRS, Comparison, gap
from shared_core.scorers.remote.dialects.base import trait
from shared_core.scorers.remote.discovery import OWN_SERVICE
from shared_core.scorers.remote.planning import plan_chunks
from shared_core.scorers.remote.scorer import RemoteScorer
from shared_core.scorers.remote.setup import Setup
from shared_core.scoring import ScoreRequest


async def compare_prompts(
    options: RerankerOptions, scorer: RemoteScorer, setup: Setup
) -> list[Finding]:
    """Return the finding on whether the prompt is written once, whole, and by whom it should be.

    The template state may have been given or be documented; here, it has to show in the scores.
    Of models that see, whose prompt is another one, known pairs alone tell.
    """
    is_ours = setup.facts.server == OWN_SERVICE
    if setup.sees or is_ours or trait(setup.dialect, "judges_otherwise"):
        return []
    comparison = Comparison(scorer.session, setup.url, setup.dialect, options.model)
    try:
        if setup.template == "prompt":
            return [await _whole_prompts(options, setup, comparison)]
        if setup.template == "client":
            return [await _joined(comparison, setup)]
        return [await _written_there(comparison, setup)]
    except RemoteError as error:
        return [Finding("comparison", "unreachable", str(error))]


async def _written_there(comparison: Comparison, setup: Setup) -> Finding:
    found = await comparison.written_there()
    if found is None and comparison.is_ours:
        return Finding(
            "comparison", "ok", "what is asked through is this project's service, as it says"
        )
    if found is None:
        detail = "the server refuses a query with a label of the prompt: no scores to compare"
        return Finding("comparison", "info", detail)
    detail = (
        f"two pairs that are one prompt where the server writes it are {found:.2g} logits apart "
        f"(noise {comparison.noise:.1g})"
    )
    if comparison.is_noise(found):
        return Finding("comparison", "ok", detail)
    return Finding(
        "comparison",
        "wrong",
        f"{detail}: the server does not write the published prompt",
        trait(setup.dialect, "remedy"),
    )


async def _joined(comparison: Comparison, setup: Setup) -> Finding:
    there = await comparison.written_there()
    joined = await comparison.joined_there()
    if joined is None:
        return Finding("comparison", "failed", "the server refuses the written prompt")
    problem = joined.problem(comparison, there)
    if problem is None:
        return Finding(
            "comparison",
            "ok",
            f"one prompt, split in two ways, has scores {joined.gap:.2g} logits apart, and all "
            f"{N_PAIRS} known pairs are in the right order",
        )
    if comparison.is_noise(there, beside=joined.gap):
        problem += ". It writes the prompt already, so that there are two"
        return Finding("comparison", "wrong", problem, f'Use template="{server_state(setup)}".')
    return Finding("comparison", "wrong", problem, trait(setup.dialect, "remedy"))


async def _whole_prompts(options: RerankerOptions, setup: Setup, comparison: Comparison) -> Finding:
    """Compare whole prompts with the same without their last token, two newlines."""
    query, *documents = PAIRS[0]
    gaps = []
    for chunk in plan_chunks(
        setup, options.model, ScoreRequest(query, DEFAULT_INSTRUCTION, documents)
    ):
        rests = [
            rest.rstrip("\n") if isinstance(rest, str) else rest[:-1] for rest in chunk.batch.rests
        ]
        whole, _ = await comparison.ask(chunk.batch)
        bare, _ = await comparison.ask(replace(chunk.batch, rests=rests))
        gaps.append(gap(whole, bare))
    detail = f"whole prompts differ by {max(gaps):.2g} logits from those without the last newlines"
    if not comparison.is_noise(max(gaps)):
        return Finding("comparison", "ok", detail)
    return Finding(
        "comparison",
        "wrong",
        f"{detail}: the server strips prompts",
        "Use another server or another route (docs/servers.md).",
    )
