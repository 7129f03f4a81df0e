"""Replies as plain dictionaries, in the format of the clients of each route."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from shared_core.calibration import Calibration
from shared_core.ranking import sigmoid
from shared_core.results import RankedDocument, Ranking
from shared_core.scoring import Scored, ServerCount


def n_tokens(scored: Sequence[Scored]) -> int | None:
    """Return the tokens of all prompts, also of windows; ``None`` if one is unknown.

    Where a server behind this one scores and a prompt's count is not known here, it is the sum of
    that server's counts.
    """
    counts = [
        result.n_tokens if result.window is None else result.total_tokens for result in scored
    ]
    return _counted_behind(scored) if None in counts else sum(count or 0 for count in counts)


def _counted_behind(scored: Sequence[Scored]) -> int | None:
    """Return the sum of a server's counts, if it counted these documents and no others."""
    sent: dict[int, tuple[ServerCount, set[int]]] = {}
    for result in scored:
        if result.counted is None:
            return None
        sent.setdefault(id(result.counted), (result.counted, set()))[1].add(id(result))
    if any(len(answers) != counted.n_documents for counted, answers in sent.values()):
        return None
    return sum(counted.tokens for counted, _ in sent.values())


def _usage(tokens: int | None) -> dict[str, Any]:
    """Return the field ``usage``, or nothing where the count would have to be invented."""
    if tokens is None:
        return {}
    return {"usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}}


def _row(ranked: RankedDocument, is_raw: bool) -> dict[str, Any]:
    """Return what the rows of several replies have in common."""
    return {
        "index": ranked.index,
        "score": ranked.logit if is_raw else ranked.score,
        "relevance_score": ranked.logit if is_raw else ranked.score,
        "logit": ranked.logit,
        "n_tokens": ranked.n_tokens,
        "truncated": ranked.truncated,
        **_notes(ranked),
    }


def _notes(result: RankedDocument) -> dict[str, Any]:
    """Return what else is known: ``scored``, ``probability``, ``fused_score`` and so on."""
    scored = {} if result.scored else {"scored": False}
    probability = {} if result.probability is None else {"probability": result.probability}
    evidence = {} if result.evidence is None else {"evidence": result.evidence.to_dict()}
    fused = {} if result.fused_score is None else {"fused_score": result.fused_score}
    return scored | probability | fused | _window(result) | evidence


def no_answer(ranking: Ranking) -> dict[str, Any]:
    """Return the fields ``no_answer`` and ``answers``; nothing without a calibration."""
    if ranking.no_answer is None:
        return {}
    return {"no_answer": ranking.no_answer, "answers": ranking.answers}


def no_answers(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Return the fields of `no_answer`, with a list each, one entry per ranking."""
    found = [fields for fields in map(no_answer, rankings) if fields]
    return {name: [fields[name] for fields in found] for name in (found[0] if found else ())}


def _window(result: RankedDocument | Scored) -> dict[str, Any]:
    """Return the field ``window``; nothing for what was judged whole, as ever."""
    return {} if result.window is None else {"window": list(result.window)}


def plain(rows: Sequence[Any], tokens: int | None) -> dict[str, Any]:
    """Return ``{results, usage}``."""
    return {"results": rows} | _usage(tokens)


def plain_rows(
    results: Sequence[RankedDocument], *, echo: bool = True, is_raw: bool = False
) -> list[dict[str, Any]]:
    """Return ``[{index, document, score, relevance_score, logit}]``."""
    return [
        ({"index": result.index, "document": result.text} if echo else {}) | _row(result, is_raw)
        for result in results
    ]


def compatible(
    results: Sequence[RankedDocument],
    tokens: int | None,
    *,
    request_id: str,
    model: str,
    echo: bool,
    is_raw: bool,
) -> dict[str, Any]:
    """Return a reply for clients of Jina, Cohere, vLLM and SiliconFlow, with the fields of each."""
    billed = {} if tokens is None else {"tokens": {"input_tokens": tokens, "output_tokens": 0}}
    return {
        "id": request_id,
        "object": "list",
        "model": model,
        "results": [
            _row(result, is_raw) | ({"document": {"text": result.text}} if echo else {})
            for result in results
        ],
        **_usage(tokens),
        "meta": {"api_version": {"version": "2"}, **billed},
    }


def tei(results: Sequence[RankedDocument], *, echo: bool, is_raw: bool) -> list[dict[str, Any]]:
    """Return Text Embeddings Inference's bare list."""
    return [
        {"index": result.index, "score": result.logit if is_raw else result.score}
        | ({"text": result.text} if echo else {})
        | _notes(result)
        for result in results
    ]


def scores(
    scored: Sequence[Scored],
    calibrations: Sequence[Calibration | None],
    *,
    request_id: str,
    model: str,
    is_raw: bool,
) -> dict[str, Any]:
    """Return vLLM's reply to ``/score``: input order."""
    return {
        "id": request_id,
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [
            {
                "index": index,
                "object": "score",
                "score": result.logit if is_raw else sigmoid(result.logit),
                **({} if fit is None else {"probability": fit.probability_of(result.logit)}),
                **_window(result),
            }
            for index, (result, fit) in enumerate(zip(scored, calibrations, strict=True))
        ],
        **_usage(n_tokens(scored)),
    }


def predicted(results: Sequence[RankedDocument]) -> dict[str, Any]:
    """Return ``{result: [{document, score}]}``, best first."""
    rows = [{"document": result.text, "score": result.score} | _notes(result) for result in results]
    return {"result": rows}
