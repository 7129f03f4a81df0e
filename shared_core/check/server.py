"""Checks of a server: its software, its routes, and the prompt template of each route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared_core.check.golden import CANARY_DOCUMENTS, CANARY_QUERY, OTHER_INSTRUCTION
from shared_core.check.report import Finding, Status
from shared_core.check.scores import SEEING_TEMPLATE
from shared_core.errors import RemoteError, RerankError
from shared_core.options import RerankerOptions
from shared_core.prompt import DEFAULT_INSTRUCTION, render_prompt
from shared_core.scorers.remote.comparing import counts_characters
from shared_core.scorers.remote.dialects import vllm
from shared_core.scorers.remote.dialects.base import Batch, Dialect, trait
from shared_core.scorers.remote.discovery import OWN_SERVICE, discover
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.margins import margins_of
from shared_core.scorers.remote.planning import plan_chunks
from shared_core.scorers.remote.reading import read_margins
from shared_core.scorers.remote.scorer import RemoteScorer
from shared_core.scorers.remote.setup import Setup
from shared_core.scorers.remote.urls import join, server_root
from shared_core.scoring import ScoreRequest

_PROMPT_TOKENS = (60, 130)  # what a short pair has inside of the prompt, by any tokenizer
_BARE_TOKENS = 40
_CLOSE = 1e-3  # logits
_QUERY, _DOCUMENT = "capital of France", "Paris"

POOLING = (
    "vllm serve Qwen/Qwen3-Reranker-0.6B --runner pooling --hf-overrides "
    '\'{"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": '
    '["no", "yes"], "is_original_qwen3_reranker": true}\' '
    '--chat-template "$(qwen3-rerank template --path)"'
)
"""The command that starts vLLM right."""

_NEWLINE = "vLLM's own qwen3_reranker.jinja ends a newline short."


@dataclass(frozen=True, slots=True)
class Inspection:
    """The findings on a server before any document was scored."""

    findings: list[Finding]
    setup: Setup | None


async def inspect_server(options: RerankerOptions, scorer: RemoteScorer) -> Inspection:
    """Return the findings on a server's software, routes and prompt."""
    try:
        setup = await scorer.aload()
    except RemoteError as error:
        return Inspection([_unreachable(error)], None)
    except RerankError as error:
        software = await _software_of(options, scorer.session)
        return Inspection([*software, Finding("template", "failed", str(error))], None)
    findings = _identity(options, setup)
    findings.append(await _prompt_tokens(scorer.session, setup, options.model))
    asks_plainly = setup.sees  # by that very route
    if setup.facts.server == "vllm" and "/v1/rerank" in setup.facts.routes and not asks_plainly:
        findings.append(await _rerank_route(options, scorer.session, setup))
    findings += _limits(setup)
    return Inspection(findings, setup)


async def _software_of(options: RerankerOptions, session: HttpSession) -> list[Finding]:
    """Return the finding on a server that was refused, if it says what it is."""
    try:
        facts = await discover(session, server_root(options.base_url or ""), is_named=True)
    except RerankError:
        return []
    software = " ".join(filter(None, (facts.server, facts.version)))
    return [Finding("server", "ok", software)] if software else []


async def compare_with_exact_route(
    options: RerankerOptions, scorer: RemoteScorer, setup: Setup
) -> list[Finding]:
    """Compare the route in use with the route where the client controls every token."""
    if "/classify" not in setup.facts.routes or setup.template == "prompt" or setup.sees:
        return []
    request = ScoreRequest(CANARY_QUERY, DEFAULT_INSTRUCTION, CANARY_DOCUMENTS)
    (used,) = await scorer.ascore_many([request])
    off, noise = await _gap(options, scorer.session, setup, [scored.logit for scored in used])
    name = trait(setup.dialect, "name")
    detail = f"{name} differs from whole prompts by {off:.2g} logits (noise {noise:.1g})"
    if _is_noise(off, noise):
        return [Finding("exactness", "ok", detail)]
    return [
        Finding(
            "exactness",
            "wrong",
            f"{detail}: the prompt that the server writes is not the published one",
            f"{_NEWLINE} Start the server with: {POOLING}",
        )
    ]


async def _gap(
    options: RerankerOptions, session: HttpSession, setup: Setup, logits: Sequence[float]
) -> tuple[float, float]:
    """Return the distance of logits from those of whole prompts, and the noise of the latter."""
    together = await _whole_prompts(options, session, setup, CANARY_DOCUMENTS)
    apart = [
        (await _whole_prompts(options, session, setup, [text]))[0] for text in CANARY_DOCUMENTS
    ]
    return _largest(logits, together), _largest(together, apart)


async def _whole_prompts(
    options: RerankerOptions, session: HttpSession, setup: Setup, documents: Sequence[str]
) -> list[float]:
    """Return logits from vLLM's ``/classify``, which applies no template."""
    dialect = vllm.VllmClassify(raw=setup.facts.is_at_least(0, 13))
    rests = [render_prompt(DEFAULT_INSTRUCTION, CANARY_QUERY, text) for text in documents]
    return await _logits(options, session, dialect, Batch(options.model, rests=rests))


async def _logits(
    options: RerankerOptions, session: HttpSession, dialect: Dialect, batch: Batch
) -> list[float]:
    url = join(server_root(options.base_url or ""), trait(dialect, "path"))
    parsed = dialect.parse((await session.post(url, dialect.build(batch))).json(), batch)
    return margins_of(parsed.rows, len(batch), trait(dialect, "scale"))


def _is_noise(off: float, noise: float) -> bool:
    return off <= 5 * noise + _CLOSE


def _identity(options: RerankerOptions, setup: Setup) -> list[Finding]:
    facts = setup.facts
    status: Status = "ok" if facts.server else "info"
    software = " ".join(filter(None, (facts.server, facts.version))) or "does not say what it is"
    served = ", ".join(facts.models[:5]) or "not listed"
    is_ours = facts.server == OWN_SERVICE
    ids = "token ids" if setup.sends_ids else "text" if is_ours else "text, control tokens broken"
    ids = f"images, and {ids}" if setup.sees else ids
    findings = [
        Finding("server", status, software),
        Finding("model", "ok" if options.model in facts.models else "info", f"serves {served}"),
        Finding(
            "route",
            "ok",
            f"{setup.url} by dialect {trait(setup.dialect, 'name')}, template {setup.template}, "
            f"sending {ids}",
        ),
    ]
    if facts.routes:
        findings.insert(2, Finding("routes", "info", " ".join(sorted(facts.routes))))
    return findings


async def _prompt_tokens(session: HttpSession, setup: Setup, model: str) -> Finding:
    """Check by the server's token count that the prompt is applied exactly once."""
    request = ScoreRequest(_QUERY, DEFAULT_INSTRUCTION, [_DOCUMENT])
    (chunk,) = plan_chunks(setup, model, request)
    counted = await _count_tokens(session, setup.url, setup.dialect, chunk.batch)
    if counted is None:
        return Finding("prompt", "info", "the server does not count tokens")
    if counts_characters(counted, chunk.batch):
        detail = f"the server counts characters, {counted} for a pair, and no tokens"
        return Finding("prompt", "info", detail)
    low, high = _PROMPT_TOKENS
    expected = f"between {low} and {high}"
    if setup.encoder is not None:
        (document,) = setup.encoder.encode(DEFAULT_INSTRUCTION, _QUERY, [_DOCUMENT]).documents
        low = high = document.n_tokens
        expected = str(low)
    detail = f"{counted} tokens for a pair that has {expected} with the prompt"
    if low <= counted <= high:
        whole = ", with its suffix" if setup.encoder is not None else ""
        return Finding("prompt", "ok", f"{detail}: applied once{whole}")
    if counted >= 2 * low - 30:
        return Finding(
            "prompt",
            "wrong",
            f"{detail}: it is applied twice",
            f'The server writes the prompt already: use template="{server_state(setup)}".',
        )
    if counted <= _BARE_TOKENS:
        return Finding(
            "prompt",
            "wrong",
            f"{detail}: it is not applied",
            _remedy(setup),
        )
    # <think>, a blank line, </think> and another one are four tokens.
    lacks_thinking = setup.encoder is not None and low - counted == 4
    return Finding(
        "prompt",
        "warning" if setup.template == "server-fixed" else "wrong",
        f"{detail}: {'the empty think block is missing' if lacks_thinking else 'not the same'}",
        _remedy(setup),
    )


def _remedy(setup: Setup) -> str:
    if setup.sees:
        return f"The prompt is another one than the text models': {SEEING_TEMPLATE}."
    remedy = f"Start it with: {POOLING}" if setup.facts.server == "vllm" else None
    return remedy or str(trait(setup.dialect, "remedy"))


def server_state(setup: Setup) -> str:
    """Return the template state of a server that writes the prompt."""
    return "server" if "server" in trait(setup.dialect, "templates") else "server-fixed"


async def _count_tokens(
    session: HttpSession, url: str, dialect: Dialect, batch: Batch
) -> int | None:
    """Return the prompt tokens that a server counts for a batch; ``None`` if it does not."""
    reply = await session.post(url, dialect.build(batch), trait(dialect, "retried"))
    return read_margins(reply, dialect, batch)[1]


async def _rerank_route(options: RerankerOptions, session: HttpSession, setup: Setup) -> Finding:
    """Check the scores that clients with plain texts get from ``/v1/rerank``."""
    dialect = vllm.VllmRerank(raw=setup.facts.is_at_least(0, 13))
    url = join(server_root(options.base_url or ""), dialect.path)
    counted = await _count_tokens(session, url, dialect, Batch(options.model, _QUERY, [_DOCUMENT]))
    if counted is None or counted <= _BARE_TOKENS:
        return Finding(
            "plain /v1/rerank",
            "warning",
            f"no template: {counted} tokens for a pair, so that clients which send plain texts get "
            "an order close to random",
            f"Not needed for this client. For others, start it with: {POOLING}",
        )
    instructed = await _count_tokens(
        session, url, dialect, Batch(options.model, _QUERY, [_DOCUMENT], OTHER_INSTRUCTION * 3)
    )
    honoured = instructed is not None and instructed > counted + 15
    plain = Batch(options.model, CANARY_QUERY, CANARY_DOCUMENTS)
    logits = await _logits(options, session, dialect, plain)
    off, noise = await _gap(options, session, setup, logits)
    if "/classify" in setup.facts.routes and not _is_noise(off, noise):
        return Finding(
            "plain /v1/rerank",
            "warning",
            f"templated, but not as published: it differs by {off:.2g} logits (noise {noise:.1g})",
            f"{_NEWLINE} Not needed for this client. For others, start it with: {POOLING}",
        )
    instruction = "instruction honoured" if honoured else "instruction fixed"
    return Finding("plain /v1/rerank", "ok", f"templated as published, {instruction}")


def _limits(setup: Setup) -> list[Finding]:
    parts = [f"{setup.max_length} tokens a prompt"]
    parts.append(f"{trait(setup.dialect, 'max_documents')} documents a request")
    parts.append(f"{trait(setup.dialect, 'max_bytes') / 2**20:.3g} MiB a request")
    most_tokens = trait(setup.dialect, "max_tokens")
    if most_tokens is not None:
        parts.append(f"{most_tokens} tokens a request")
    return [Finding("limits", "info", ", ".join(parts) + " (longer work is split)")]


def _largest(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def _unreachable(error: RemoteError) -> Finding:
    return Finding("server", "unreachable", str(error))
