"""The options that several commands share, each declared once.

A command takes them as one parameter; `with_options` makes options of the command line of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from shared_core import DEFAULT_MODEL

LONG_DOCUMENTS = "Long documents"
_SERVER = "A server instead of a model here"
_MODEL = "The model"


@dataclass(frozen=True)
class ModelOptions:
    """The model, and how it is run here."""

    model: Annotated[
        str, typer.Option(help="A hub name, a folder, or tiny.", rich_help_panel=_MODEL)
    ] = DEFAULT_MODEL
    backend: Annotated[
        str, typer.Option(help="auto, transformers, vllm or remote.", rich_help_panel=_MODEL)
    ] = "auto"
    device: Annotated[
        str | None, typer.Option(help="cuda, mps or cpu.", rich_help_panel=_MODEL)
    ] = None
    dtype: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=_MODEL)
    ] = "auto"
    quantize: Annotated[
        str | None, typer.Option(help="int8: faster on a CPU, not exact.", rich_help_panel=_MODEL)
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads of a forward; as many as pay for the model by default.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    max_length: Annotated[
        int,
        typer.Option(
            min=1,
            help="Tokens of a whole prompt; a longer document loses its end.",
            rich_help_panel=_MODEL,
        ),
    ] = 8192
    hub: Annotated[
        str,
        typer.Option(
            help="Where a model is looked up by its name: huggingface or modelscope.",
            rich_help_panel=_MODEL,
        ),
    ] = "huggingface"
    revision: Annotated[
        str | None, typer.Option(help="A tag or commit on the hub.", rich_help_panel=_MODEL)
    ] = None
    cache_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Where the hub's files are kept.", rich_help_panel=_MODEL
        ),
    ] = None
    local_files_only: Annotated[
        bool,
        typer.Option(
            "--local-files-only",
            help="Never ask a hub; the model must be on this machine.",
            rich_help_panel=_MODEL,
        ),
    ] = False


@dataclass(frozen=True, repr=False)  # it has keys
class ServerOptions:
    """The server that scores instead, and what it wants to be told."""

    base_url: Annotated[
        str | None, typer.Option(help="Its address.", metavar="URL", rich_help_panel=_SERVER)
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Its key; better given by the environment.",
            envvar="QWEN3_RERANK_API_KEY",
            show_envvar=True,
            show_default=False,
            rich_help_panel=_SERVER,
        ),
    ] = None
    dialect: Annotated[
        str, typer.Option(help="Its wire format; auto asks it.", rich_help_panel=_SERVER)
    ] = "auto"
    template: Annotated[
        str,
        typer.Option(
            help="Who writes the prompt: server, server-fixed, client or prompt.",
            rich_help_panel=_SERVER,
        ),
    ] = "auto"
    tokenizer: Annotated[
        str | None,
        typer.Option(help="A folder, a tokenizer.json or a hub name.", rich_help_panel=_SERVER),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(help="Another header, as 'Name: value'.", rich_help_panel=_SERVER),
    ] = None
    timeout: Annotated[
        float, typer.Option(help="Seconds that one request may take.", rich_help_panel=_SERVER)
    ] = 60.0
    max_retries: Annotated[
        int,
        typer.Option(
            min=0,
            help="How often a request is repeated that may yet succeed.",
            rich_help_panel=_SERVER,
        ),
    ] = 3
    max_concurrency: Annotated[
        int,
        typer.Option(
            min=1,
            help="Requests under way at once; of a batch, for each worker.",
            rich_help_panel=_SERVER,
        ),
    ] = 8
    requests_per_second: Annotated[
        float | None,
        typer.Option(
            help="Requests begun in a second, at most; no limit by default.",
            rich_help_panel=_SERVER,
        ),
    ] = None


@dataclass(frozen=True)
class LongDocumentOptions:
    """What becomes of a document that is too long."""

    long_documents: Annotated[
        str,
        typer.Option(
            help="truncate cuts what is too long for the model; windows takes the best part of "
            "every document that is longer than --window-tokens.",
            rich_help_panel=LONG_DOCUMENTS,
        ),
    ] = "truncate"
    window_tokens: Annotated[
        int, typer.Option(help="Tokens of a part.", rich_help_panel=LONG_DOCUMENTS)
    ] = 1024
    window_overlap: Annotated[
        int | None,
        typer.Option(
            help="Tokens that two parts share; an eighth of a part by default.",
            rich_help_panel=LONG_DOCUMENTS,
        ),
    ] = None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which the fields of a dataclass stand where a parameter of it was.

    A field that the command has a parameter for, with a help or a place of its own, is left to the
    command: the dataclass then has the default.
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups = {
        name: [field for field in fields(parameter.annotation) if field.name not in own]
        for name, parameter in own.items()
        if is_dataclass(parameter.annotation)
    }
    shown = []
    for name, parameter in own.items():
        if name not in groups:
            shown.append(parameter)
            continue
        types = inspect.get_annotations(parameter.annotation, eval_str=True)
        shown += [
            parameter.replace(name=field.name, annotation=types[field.name], default=field.default)
            for field in groups[name]
        ]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            values = {field.name: given.pop(field.name) for field in group}
            given[name] = own[name].annotation(**values)
        command(**given)

    # Typer asks for both.
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # see PEP 362
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run
