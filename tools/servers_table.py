"""Prints the table of docs/servers.md that says what came out of real servers::

    make servers-table
    PYTHONPATH=tests .venv/bin/python tools/servers_table.py "My server=http://localhost:8000"

It starts llama.cpp, LiteLLM and this project's service over the bundled model, runs `check` on
each, and compares the logits of known pairs with those of the model in this process. Servers that
run already are named as ``NAME=URL``, or ``NAME=URL#MODEL`` where the bundled model is not called
``tiny`` there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.checkpoints import BUNDLED
from support.services import Process
from with_servers.processes import KEY, litellm, llamacpp

from shared_core import Reranker, RerankError
from shared_core.check.report import CheckReport
from shared_core.known_pairs import PAIRS

HEAD = "| server | detected | prompt | instruction | token counts | largest error | `check` |"
LINE = "|---|---|---|---|---|---|---|"
ROUTES = ("hosted_vllm", "infinity", "huggingface", "jina_ai", "cohere")


@dataclass(frozen=True)
class Tried:
    """A server, and the options that it is asked with."""

    name: str
    url: str
    options: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Print one row per server."""
    local = Reranker("tiny", device="cpu", dtype="float32")
    print(f"{HEAD}\n{LINE}")
    with ExitStack() as stack:
        for tried in servers(stack, sys.argv[1:]):
            print(row(tried, local), flush=True)


def servers(stack: ExitStack, others: list[str]) -> Iterator[Tried]:
    """Start the servers, and yield them."""
    plain = stack.enter_context(llamacpp(BUNDLED))
    headless = stack.enter_context(llamacpp(BUNDLED, has_head=False))
    yield Tried("llama.cpp", plain)
    yield Tried("llama.cpp, Q8_0", stack.enter_context(llamacpp(BUNDLED, quantised=True)))
    yield Tried("llama.cpp, asked in TEI's format", plain, {"dialect": "tei"})
    yield Tried("llama.cpp, a file without the rerank head", headless)
    generating = stack.enter_context(llamacpp(BUNDLED, has_head=False, reranking=False))
    exact = {"dialect": "llamacpp-completion", "tokenizer": str(BUNDLED)}
    yield Tried("llama.cpp, generating: `llamacpp-completion`", generating, exact)
    ours = service(stack, "--model", "tiny")
    yield Tried("this project's service", ours)
    gateway = service(stack, "--model", "tiny", "--base-url", plain)
    yield Tried("this project's service before llama.cpp", gateway)
    behind = {
        "llama.cpp": plain,
        "this project's service": ours,
        "the file without a head": headless,
    }
    models = {
        f"{route} {name}": {
            "model": f"{route}/tiny",
            "api_key": "unused",
            "api_base": f"{url}/v1/rerank" if route == "cohere" else url,
        }
        for route in ROUTES
        for name, url in behind.items()
    }
    proxy = stack.enter_context(litellm(models))
    for name in behind:
        for route in ROUTES if name == "llama.cpp" else ("hosted_vllm", "jina_ai"):
            options = {"model": f"{route} {name}", "api_key": KEY}
            yield Tried(f"LiteLLM, `{route}`, before {name}", proxy, options)
    for other in others:
        name, _, place = other.partition("=")
        url, _, model = place.partition("#")
        yield Tried(name, url, {"model": model or "tiny"})


def service(stack: ExitStack, *flags: str) -> str:
    """Start this project's service and return its address."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    process = Process(folder / "log", *flags)
    stack.callback(process.kill)
    process.wait_until_ready()
    return process.url


def row(tried: Tried, local: Reranker) -> str:
    """Return a server's row."""
    options: dict[str, Any] = {"model": "tiny", "base_url": tried.url, "timeout": 120.0}
    with Reranker(**(options | tried.options)) as remote:
        report = remote.check()
        cells = [tried.name, _status(report, "server"), *_measured(remote, report, local)]
    return f"| {' | '.join(cells)} | {report.exit_code} |"


def _measured(remote: Reranker, report: CheckReport, local: Reranker) -> list[str]:
    """Return the state, the instruction, the count and the error."""
    try:
        errors = [
            abs(there.logit - here.logit)
            for query, *documents in PAIRS
            for there, here in zip(
                remote.judge(query, documents), local.judge(query, documents), strict=True
            )
        ]
    except RerankError:
        return ["refused", "–", _counts(report), "–"]
    setup = remote.scorer.load()  # type: ignore[attr-defined]  # it is a remote one
    honoured = report["instruction"].status == "ok"
    return [
        f"`{setup.template}`",
        "yes" if honoured else "refused",
        _counts(report),
        f"{max(errors):.1e}",
    ]


def _counts(report: CheckReport) -> str:
    if "prompt" not in report.names:
        return "–"
    said = report["prompt"].detail.split()
    return f"{said[0]} for a pair" if said[0].isdigit() else "none"


def _status(report: CheckReport, name: str) -> str:
    return report[name].detail if name in report.names else "–"


if __name__ == "__main__":
    main()
