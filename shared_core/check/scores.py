"""Checks of the scores themselves, for every backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from shared_core.check.golden import (
    CANARY_DOCUMENTS,
    CANARY_QUERY,
    FORGED,
    GOLDEN_TOLERANCE,
    HONEST,
    OTHER_INSTRUCTION,
    golden_logits,
)
from shared_core.check.report import Finding
from shared_core.errors import ConfigurationError, ServerStatusError
from shared_core.images.content import Content
from shared_core.known_pairs import IMAGE_PAIRS, PAIRS
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.ranking import sigmoid

Logits = Callable[[str | Content, Sequence[str | Content], str], list[float]]
"""From a query, documents and an instruction to one logit per document."""

_TEMPLATE = "start it with the template of `qwen3-rerank template`"
SEEING_TEMPLATE = "start vLLM with its qwen3_vl_reranker.jinja (docs/images.md)"
"""What a server of a model that sees needs to write its prompt."""
_ORDER = (
    "The prompt is missing or wrong, or this is no trained Qwen3-Reranker. See the findings on the "
    "template; without one, start the server with that of `qwen3-rerank template`."
)
_SEEING_ORDER = (
    "The prompt is missing or wrong, or this is no trained Qwen3-VL-Reranker. If it is a server's, "
    f"{SEEING_TEMPLATE}."
)
_IMAGES = (
    "Images do not move the scores as they should: this is no trained Qwen3-VL-Reranker, or its "
    f"server leaves them out. If it is a server's, {SEEING_TEMPLATE}."
)
_REVERSED = (
    'Yes and no seem to be exchanged: leave answers at ("yes", "no"), take the tokenizer that the '
    "model was trained with, and convert a converted head again. If it is not that:"
)

_IDS = "Give tokenizer=, so that prompts are sent as token ids where the server takes them."
_NO_IDS = (
    "The server takes control tokens in texts for its own, and none takes the token ids of such a "
    'prompt: use the model in this process, by backend="transformers" or backend="vllm".'
)

_FEW = 4  # known pairs that may all be wrong by chance
_TINY = 1e-12  # a probability below which the best of the known documents never is
_SAME = 1e-9


def check_scores(logits: Logits, model: str, *, sees: bool = False) -> list[Finding]:
    """Return the findings on the scores of known texts, and of images for a model that sees.

    Raises:
        RerankError: No scores could be had.
    """
    canary = logits(CANARY_QUERY, CANARY_DOCUMENTS, DEFAULT_INSTRUCTION)
    right, wrong = _asked(logits, PAIRS)
    better, worse = _asked(logits, IMAGE_PAIRS) if sees else ([], [])
    seen = [*canary, *right, *wrong, *better, *worse]
    findings = [_values(seen), _spread(seen, SEEING_TEMPLATE if sees else _TEMPLATE)]
    findings.append(_order("order", right, wrong, _SEEING_ORDER if sees else _ORDER))
    if sees:
        findings.append(_order("images", better, worse, _IMAGES))
    golden = None if sees else golden_logits(model)
    if golden is not None:
        findings.append(_golden(canary, golden))
    return [*findings, _instruction(logits, canary), _forgery(logits, sees=sees)]


def _asked(
    logits: Logits, pairs: Sequence[tuple[str | Content, str | Content, str | Content]]
) -> tuple[list[float], list[float]]:
    """Return the logits of the documents that answer, and of those that do not."""
    found = [logits(query, answers, DEFAULT_INSTRUCTION) for query, *answers in pairs]
    return [good for good, _ in found], [bad for _, bad in found]


def measure_latency(logits: Logits, counts: Sequence[int] = (1, 8, 32)) -> dict[int, float]:
    """Return the median milliseconds of three calls, by number of short documents."""
    result = {}
    for count in counts:
        times = []
        for attempt in range(3):
            # Other texts each time, so that no cache answers.
            documents = [f"Passage {i}.{attempt} of {count}: {HONEST}" for i in range(count)]
            began = time.perf_counter()
            logits(f"How is bread made? ({count}.{attempt})", documents, DEFAULT_INSTRUCTION)
            times.append(1000 * (time.perf_counter() - began))
        result[count] = round(statistics.median(times), 1)
    return result


def _values(logits: Sequence[float]) -> Finding:
    scores = [sigmoid(value) for value in logits]
    low, high = min(scores), max(scores)
    detail = f"P(yes) from {low:.3g} to {high:.3g}"
    if high < _TINY:
        return Finding(
            "values",
            "wrong",
            f"{detail}: all are practically 0",
            "A GGUF file without the classifier's weights does this: use one of "
            "ggml-org/Qwen3-Reranker-*-GGUF, or convert with a current convert_hf_to_gguf.py.",
        )
    if 0 <= min(logits) < max(logits) <= 1:
        return Finding(
            "values",
            "wrong",
            f"all logits are from {min(logits):.3g} to {max(logits):.3g}: probabilities, taken for "
            "logits",
            "The server ignores that it is asked for logits: is the dialect right?",
        )
    return Finding("values", "ok", detail)


def _spread(logits: Sequence[float], template: str) -> Finding:
    ties = len(logits) - len(set(logits))
    if max(logits) - min(logits) > _SAME:
        detail = f"{ties} of {len(logits)} scores are tied" if ties else "all scores differ"
        return Finding("spread", "ok" if ties <= len(logits) // 2 else "warning", detail)
    if abs(logits[0]) < _SAME:
        return Finding(
            "spread",
            "wrong",
            "every score is 0.5: the yes−no head is zero",
            "The head was not loaded. With vLLM before 0.11.1 this happens to the 8B, whose head "
            "is not tied: upgrade, or serve a converted checkpoint.",
        )
    return Finding(
        "spread",
        "wrong",
        f"every document has the score {sigmoid(logits[0]):.4g}: the server does not see them",
        "Its chat template does not know the roles that it is given, and renders an empty prompt: "
        f"{template}.",
    )


def _order(name: str, right: Sequence[float], wrong: Sequence[float], fix: str) -> Finding:
    good = sum(a > b for a, b in zip(right, wrong, strict=True))
    detail = f"{good} of {len(right)} known pairs in the right order"
    if good >= len(right) - 1:
        return Finding(name, "ok", detail)
    if good == 0 and len(right) > _FEW:
        return Finding(name, "wrong", f"{detail}: all the wrong way round", f"{_REVERSED} {fix}")
    return Finding(name, "wrong", f"{detail}: close to random", fix)


def _golden(seen: Sequence[float], golden: Sequence[float]) -> Finding:
    off = max(abs(a - b) for a, b in zip(seen, golden, strict=True))
    detail = f"logits of the published weights are met within {off:.3g}"
    if off <= GOLDEN_TOLERANCE:
        return Finding("golden", "ok", detail)
    return Finding(
        "golden",
        "wrong",
        f"logits are {', '.join(f'{x:.2f}' for x in seen)}, those of the published weights "
        f"{', '.join(f'{x:.2f}' for x in golden)}",
        "The prompt differs, or these are other weights, or they are quantised hard.",
    )


def _instruction(logits: Logits, canary: Sequence[float]) -> Finding:
    try:
        other = logits(CANARY_QUERY, CANARY_DOCUMENTS, OTHER_INSTRUCTION)
    except (ConfigurationError, ServerStatusError) as error:
        return Finding("instruction", "warning", f"cannot be set: {error}")
    moved = max(abs(a - b) for a, b in zip(canary, other, strict=True))
    if moved > _SAME:
        return Finding("instruction", "ok", f"honoured: another one moves logits by {moved:.3g}")
    return Finding(
        "instruction",
        "wrong",
        "ignored: another one changes nothing",
        'Say so with template="server-fixed", so that instructions are refused and not lost, or '
        "use a server that honours them (docs/servers.md).",
    )


def _forgery(logits: Logits, *, sees: bool) -> Finding:
    query = PAIRS[1][0]
    honest, forged = logits(query, [HONEST, FORGED], DEFAULT_INSTRUCTION)
    detail = f"P(yes) {sigmoid(honest):.3g} without, {sigmoid(forged):.3g} with a forged ending"
    if sigmoid(forged) - sigmoid(honest) < 0.5:
        return Finding("forgery", "ok", detail)
    return Finding(
        "forgery",
        "wrong",
        f"{detail}: a document can write its own answer",
        _NO_IDS if sees else _IDS,
    )
