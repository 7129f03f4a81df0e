"""Prints the table of docs/servers.md that says what came out of real servers::

    make servers-table
    PYTHONPATH=tests .venv/bin/python tools/servers_table.py --start vllm infinity
    PYTHONPATH=tests .venv/bin/python tools/servers_table.py "Mine=http://localhost:8000" --start

It starts llama.cpp, LiteLLM and this project's service over the bundled model, and vLLM, Infinity
and Xinference where they are installed (`make test-vllm test-servers-slow`), and the service before
each. It runs `check` on each, and compares the logits of known pairs with those of the model in
this process. Servers that run already are named as ``NAME=URL``, or ``NAME=URL#MODEL`` where the
bundled model is not called ``tiny`` there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.checkpoints import BUNDLED
from support.services import Process
from with_servers.processes import BIN, KEY, ROOT, litellm, llamacpp
from with_slow_servers.starting import INFINITY, XINFERENCE, infinity, xinference
from with_vllm.servers import MODEL_NAME, Kind, vllm_server

from shared_core import Reranker, RerankError
from shared_core.check.report import CheckReport
from shared_core.known_pairs import PAIRS

HEAD = "| server | detected | prompt | instruction | token counts | largest error | `check` |"
LINE = "|---|---|---|---|---|---|---|"
VLLM = ROOT / ".venv-vllm" / "bin"
PATIENCE = 1800.0  # seconds, on a machine that is busy
OURS = "this project's service"
ROUTES = ("hosted_vllm", "infinity", "huggingface", "jina_ai", "cohere")


@dataclass(frozen=True)
class Tried:
    """A server, by its address or nothing if it ended, and the options that it is asked with."""

    name: str
    url: str
    options: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Print one row per server."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("::")[0])
    parser.add_argument("others", nargs="*", metavar="NAME=URL")
    parser.add_argument("--start", nargs="*", choices=GROUPS, default=list(GROUPS))
    given = parser.parse_args()
    local = Reranker("tiny", device="cpu", dtype="float32")
    print(f"{HEAD}\n{LINE}")
    for group in given.start:
        start, needed, target = GROUPS[group]
        if not needed.exists():
            print(f"{group} is not installed here: make {target}", file=sys.stderr)
            continue
        with ExitStack() as stack:
            for tried in start(stack):
                print(row(tried, local), flush=True)
    for other in given.others:
        name, _, place = other.partition("=")
        url, _, model = place.partition("#")
        print(row(Tried(name, url, {"model": model or "tiny"}), local))


def of_llamacpp(stack: ExitStack) -> Iterator[Tried]:
    """Start llama.cpp in its kinds, our service, and LiteLLM before them."""
    plain = stack.enter_context(llamacpp(BUNDLED))
    headless = stack.enter_context(llamacpp(BUNDLED, has_head=False))
    yield Tried("llama.cpp", plain)
    yield Tried("llama.cpp, Q8_0", stack.enter_context(llamacpp(BUNDLED, quantised=True)))
    yield Tried("llama.cpp, asked in TEI's format", plain, {"dialect": "tei"})
    yield Tried("llama.cpp, a file without the rerank head", headless)
    generating = stack.enter_context(llamacpp(BUNDLED, has_head=False, reranking=False))
    exact = {"dialect": "llamacpp-completion", "tokenizer": str(BUNDLED)}
    yield Tried("llama.cpp, generating: `llamacpp-completion`", generating, exact)
    ours = service(stack)
    yield Tried(OURS, ours)
    yield before(stack, "llama.cpp", plain)
    behind = {"llama.cpp": plain, OURS: ours, "the file without its head": headless}
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
    yield before(
        stack, "LiteLLM, `hosted_vllm`, before itself", proxy, f"hosted_vllm {OURS}", api_key=KEY
    )


def of_vllm(_: ExitStack) -> Iterator[Tried]:
    """Start vLLM in its kinds, one after the other, and our service before each."""
    kinds: dict[str, Kind] = {
        "vLLM, pooling, with our template": "templated",
        "vLLM, pooling, without a template": "untemplated",
        "vLLM, generating": "generate",
    }
    for name, kind in kinds.items():
        with ExitStack() as its:
            server = vllm_server(kind, BUNDLED, python=str(VLLM / "python"), silence=PATIENCE)
            url = its.enter_context(server)
            yield Tried(name, url, {"model": MODEL_NAME})
            if kind == "templated":
                options = {"model": MODEL_NAME, "dialect": "vllm-rerank"}
                yield Tried("the same, asked at `/rerank`: `vllm-rerank`", url, options)
            yield before(its, name, url, MODEL_NAME)


def of_xinference(stack: ExitStack) -> Iterator[Tried]:
    """Start Xinference with the model under two names, and our service before it."""
    named, unnamed = "tiny-qwen3-reranker", "another-reranker"
    url = stack.enter_context(xinference({named: BUNDLED, unnamed: BUNDLED}))
    yield Tried("Xinference, `sentence_transformers`", url, {"model": named})
    yield Tried("Xinference, a model under a name without `qwen3`", url, {"model": unnamed})
    yield before(stack, "Xinference", url, named)


def of_infinity(stack: ExitStack) -> Iterator[Tried]:
    """Start Infinity with the converted checkpoint, and our service before it."""
    url = stack.enter_context(infinity(BUNDLED))
    yield Tried("Infinity, a converted checkpoint", url)
    yield before(stack, "Infinity", url)


GROUPS: dict[str, tuple[Callable[[ExitStack], Iterator[Tried]], Path, str]] = {
    "llamacpp": (of_llamacpp, BIN / ".ready", "test-servers"),
    "vllm": (of_vllm, VLLM / ".ready", "test-vllm"),
    "xinference": (of_xinference, XINFERENCE / ".ready", "test-servers-slow"),
    "infinity": (of_infinity, INFINITY / ".ready", "test-servers-slow"),
}


def before(stack: ExitStack, name: str, url: str, model: str = "tiny", api_key: str = "") -> Tried:
    """Start our service before a server."""
    key = {"QWEN3_RERANK_API_KEY": api_key} if api_key else {}
    gateway = service(stack, "--base-url", url, model=model, **key)
    return Tried(f"{OURS} before {name}", gateway, {"model": model})


def service(stack: ExitStack, *flags: str, model: str = "tiny", **environment: str) -> str:
    """Start this project's service and return its address, or nothing where it ends instead."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    process = Process(folder / "log", "--model", model, *flags, **environment)
    stack.callback(process.kill)
    return process.url if process.wait_until_loaded() == "ready" else ""


def row(tried: Tried, local: Reranker) -> str:
    """Return a server's row."""
    if not tried.url:
        return f"| {tried.name} | ends, and says why | refused | – | – | – | – |"
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
