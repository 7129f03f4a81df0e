"""`qwen3-rerank serve`."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from qwen3_rerank.cli.common import fail, reported
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options
from qwen3_rerank.service.settings import ServiceSettings
from qwen3_rerank.service.sources import load_settings, unknown_variables
from shared_core.options import Group

_GROUPS: tuple[Group, ...] = (*ALL_GROUPS, "Calls", "Listening", "Limits", "Shutdown", "Logs")


@with_options(ServiceSettings, _GROUPS, without=("headers", "on_error", "show_progress"))
def serve(
    config: Annotated[
        Path | None, typer.Option(help="A TOML or JSON file with options: port = 9000.")
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the options in force, and exit.")
    ] = False,
    api_key_file: Annotated[str | None, typer.Option(hidden=True)] = None,
    *,
    options: Options,
) -> None:
    """Serve reranking over HTTP, to clients of Jina, Cohere, vLLM, TEI and our own.

    Every option can also be given by the environment (QWEN3_RERANK_PORT=9000) and in the file of
    --config; a flag goes before the environment, and that before the file.

    Exit code 0: it was told to end, and finished what it had accepted. 1: the model could not be
    loaded, or the port not be had. 2: an option is wrong.
    """
    if api_key_file is not None:
        fail("--api-key-file is now --require-key-file: the keys that let callers in")
    with reported():
        settings = load_settings(options, file=config)
        settings.all_keys()
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
    if "serve_keys" in options:
        logger.warning(
            "the list of processes shows the keys given by --require-key: better use "
            "--require-key-file or QWEN3_RERANK_SERVE_KEYS"
        )
    raise typer.Exit(run(settings, lambda: load_settings(options, file=config)))
