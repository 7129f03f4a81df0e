"""`qwen3-rerank serve`."""

# ruff: noqa: ARG001  # the options are read from the context, all alike

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from qwen3_rerank.cli.common import fail, in_words
from shared_core import RerankError

_MODEL, _BEHIND, _NET = "Model", "A server behind this one", "Network and keys"
_LIMIT, _END, _LOG = "Limits", "Shutdown", "Logs"


def _option(group: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=group, show_default=False)


def serve(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="A TOML or JSON file with options: port = 9000.")
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the options in force, and end.")
    ] = False,
    model: Annotated[str | None, _option(_MODEL, "A hub name, a folder, or tiny.")] = None,
    served_model_name: Annotated[
        str | None, _option(_MODEL, "What replies call the model.")
    ] = None,
    instruction: Annotated[
        str | None, _option(_MODEL, "The task, where a request does not say.")
    ] = None,
    backend: Annotated[str | None, _option(_MODEL, "auto, transformers, vllm or remote.")] = None,
    device: Annotated[str | None, _option(_MODEL, "cuda, mps or cpu.")] = None,
    dtype: Annotated[str | None, _option(_MODEL, "auto, float32, bfloat16 or float16.")] = None,
    quantize: Annotated[str | None, _option(_MODEL, "int8: faster on a CPU, not exact.")] = None,
    max_length: Annotated[
        int | None, _option(_MODEL, "Tokens of a prompt; longer documents lose their end. [8192]")
    ] = None,
    max_batch_tokens: Annotated[
        int | None, _option(_MODEL, "Tokens of one forward. [by device]")
    ] = None,
    threads: Annotated[
        int | None, _option(_MODEL, "CPU threads of one forward. [as many as pay]")
    ] = None,
    long_documents: Annotated[
        str | None,
        _option(_MODEL, "truncate, or windows: the best window counts, unless asked. [truncate]"),
    ] = None,
    window_tokens: Annotated[
        int | None, _option(_MODEL, "Document tokens of a window. [1024]")
    ] = None,
    window_overlap: Annotated[
        int | None, _option(_MODEL, "Tokens that two windows share. [an eighth]")
    ] = None,
    revision: Annotated[str | None, _option(_MODEL, "The hub revision.")] = None,
    cache_dir: Annotated[str | None, _option(_MODEL, "Where the hub's files are kept.")] = None,
    local_files_only: Annotated[
        bool | None,
        _option(_MODEL, "Never ask the network for the model.", "--local-files-only"),
    ] = None,
    hub: Annotated[str | None, _option(_MODEL, "huggingface or modelscope.")] = None,
    cache_size: Annotated[int | None, _option(_MODEL, "Scores to remember. [0]")] = None,
    base_url: Annotated[
        str | None, _option(_BEHIND, "Let this server score; its key is QWEN3_RERANK_API_KEY.")
    ] = None,
    dialect: Annotated[str | None, _option(_BEHIND, "That server's wire format. [auto]")] = None,
    template: Annotated[
        str | None, _option(_BEHIND, "Who writes the prompt for it. [auto]")
    ] = None,
    tokenizer: Annotated[
        str | None, _option(_BEHIND, "A folder, a tokenizer.json or a hub name, for it.")
    ] = None,
    timeout: Annotated[float | None, _option(_BEHIND, "Seconds for a reply of it. [60]")] = None,
    connect_timeout: Annotated[
        float | None, _option(_BEHIND, "Seconds for a connection to it. [5]")
    ] = None,
    total_timeout: Annotated[
        float | None, _option(_BEHIND, "Seconds for a call with its retries. [180]")
    ] = None,
    max_retries: Annotated[int | None, _option(_BEHIND, "Retries of a request to it. [3]")] = None,
    max_concurrency: Annotated[
        int | None, _option(_BEHIND, "Requests to it at the same time. [8]")
    ] = None,
    requests_per_second: Annotated[
        float | None, _option(_BEHIND, "Begin no more requests to it than that. [no limit]")
    ] = None,
    engine_args: Annotated[
        str | None, _option(_MODEL, "For vLLM's engine here, as JSON.", "--engine-args")
    ] = None,
    host: Annotated[str | None, _option(_NET, "Listen here. [127.0.0.1]")] = None,
    port: Annotated[int | None, _option(_NET, "0 takes a free one. [8000]")] = None,
    api_key: Annotated[
        list[str] | None,
        _option(
            _NET,
            "Let in who brings it; may be repeated. The list of processes shows it: better "
            "--api-key-file or QWEN3_RERANK_API_KEYS.",
        ),
    ] = None,
    api_key_file: Annotated[
        str | None, _option(_NET, "A file with such keys, one per line.")
    ] = None,
    forwarded_allow_ips: Annotated[
        str | None,
        _option(
            _NET, "Proxies to believe about addresses and prefix; networks, with commas. [nobody]"
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        _option(
            _NET, "Answer to this name too, as behind a proxy; may be repeated. [--host, localhost]"
        ),
    ] = None,
    root_path: Annotated[
        str | None, _option(_NET, "The path prefix that a proxy publishes this under.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, _option(_NET, "Web pages from there may call; may be repeated.")
    ] = None,
    max_documents: Annotated[int | None, _option(_LIMIT, "Documents of a request. [1000]")] = None,
    max_characters: Annotated[
        int | None, _option(_LIMIT, "Characters of a request. [4000000]")
    ] = None,
    max_query_characters: Annotated[
        int | None, _option(_LIMIT, "Characters of a query. [32768]")
    ] = None,
    max_body_bytes: Annotated[int | None, _option(_LIMIT, "Bytes of a body. [16777216]")] = None,
    max_queued_bytes: Annotated[
        int | None, _option(_LIMIT, "Bytes of all bodies not yet answered. [134217728]")
    ] = None,
    max_queue: Annotated[
        int | None, _option(_LIMIT, "Requests accepted and unanswered. [512]")
    ] = None,
    max_queued_documents: Annotated[
        int | None, _option(_LIMIT, "Documents of them. [20000]")
    ] = None,
    batch_wait_ms: Annotated[
        float | None, _option(_LIMIT, "Milliseconds to wait for company in a forward. [3]")
    ] = None,
    max_connections: Annotated[int | None, _option(_LIMIT, "Connections at once. [768]")] = None,
    head_timeout: Annotated[
        float | None, _option(_LIMIT, "Seconds for the head of a request to arrive. [10]")
    ] = None,
    body_timeout: Annotated[
        float | None, _option(_LIMIT, "Seconds for a body to arrive. [30]")
    ] = None,
    request_timeout: Annotated[float | None, _option(_LIMIT, "Seconds for a reply. [300]")] = None,
    shutdown_delay: Annotated[
        float | None, _option(_END, "Seconds to go on accepting after SIGTERM. [0]")
    ] = None,
    shutdown_grace: Annotated[
        float | None, _option(_END, "Seconds for accepted requests to finish. [60]")
    ] = None,
    log_level: Annotated[str | None, _option(_LOG, "debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, _option(_LOG, "json or text.")] = None,
    log_documents: Annotated[
        bool | None, _option(_LOG, "Write queries and documents too.", "--log-documents")
    ] = None,
) -> None:
    """Serve reranking over HTTP, to clients of Jina, Cohere, vLLM, TEI and our own.

    Every option can also be given by the environment (QWEN3_RERANK_PORT=9000) and in the file of
    --config; a flag goes before the environment, and that before the file.

    Exit code 0: it was told to end, and finished what it had accepted. 1: the model could not be
    loaded, or the port not be had. 2: an option is wrong.
    """
    flags = dict(context.params)
    for name in ("config", "show_config"):
        flags.pop(name)
    flags["api_keys"] = flags.pop("api_key") or None
    flags["cors_origins"] = flags.pop("cors_origin") or None
    flags["allowed_hosts"] = flags.pop("allowed_host") or None
    try:
        from qwen3_rerank.service.sources import load_settings, unknown_variables

        settings = load_settings(flags, file=config)
        settings.all_keys()
    except (RerankError, ValidationError, ValueError) as error:
        fail(in_words(error))
    if show_config:
        sys.stdout.write(json.dumps(settings.shown(), ensure_ascii=False, indent=2) + "\n")
        return
    # Their bars would stand among the lines of the log.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from qwen3_rerank.service.logs import set_up
        from qwen3_rerank.service.server import serve as run
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn", "prometheus_client"):
            raise
        fail('serving needs an extra: pip install "qwen3-rerank[serve,local]"')
    set_up(settings.log_level, settings.log_format)
    logger = logging.getLogger("qwen3_rerank.service")
    for variable in unknown_variables():
        logger.warning("the environment variable %s is no option of the service", variable)
    if api_key:
        logger.warning(
            "the list of processes shows the keys given by --api-key: better use --api-key-file "
            "or QWEN3_RERANK_API_KEYS"
        )
    raise typer.Exit(run(settings, lambda: load_settings(flags, file=config)))
