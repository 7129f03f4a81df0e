"""Where the scores are in a reply of any dialect, so that one fault can be put into all of them."""

from __future__ import annotations

from typing import Any

_NAMES = ("results", "data", "rankings", "scores", "choices", "completion_probabilities")


def rows_in(body: Any) -> list[Any]:
    """Return the list of scores in a reply, itself."""
    if isinstance(body, list):
        return body
    if "output" in body:
        return rows_in(body["output"])
    if isinstance(body.get("logprobs"), list):  # Ollama
        return body["logprobs"]  # type: ignore[no-any-return]
    return next(body[name] for name in _NAMES if name in body)  # type: ignore[no-any-return]


def has_index(body: Any) -> bool:
    """Whether the rows say which document they are about."""
    row = rows_in(body)[0]
    return isinstance(row, dict) and "index" in row


def spoil_score(body: Any, value: Any) -> None:
    """Put a value where the first row's score is."""
    rows = rows_in(body)
    row = rows[0]
    if isinstance(row, (int, float)):  # DeepInfra
        rows[0] = value
    elif isinstance(row, list):  # SGLang's pairs
        row[0] = value
    elif "top_logprobs" in row:  # Ollama
        row["top_logprobs"][0]["logprob"] = value
    elif "top_probs" in row:  # llama.cpp's completion
        row["top_probs"][0]["prob"] = value
    elif "logprobs" in row:  # vLLM's completions
        for listed in row["logprobs"]["top_logprobs"]:
            for name in listed:
                listed[name] = value
    elif "probs" in row:
        row["probs"][0] = value
    else:
        name = next(name for name in ("logit", "relevance_score", "score") if name in row)
        row[name] = value
