"""The options that say which model scores, shared by the commands that score."""

from __future__ import annotations

from typing import Annotated

import typer

_SERVER = "A server instead of a model here"
_MODEL = "The model"
LONG_DOCUMENTS = "Long documents"

Model = Annotated[str, typer.Option(help="A hub name, a folder, or tiny.", rich_help_panel=_MODEL)]
BackendName = Annotated[
    str, typer.Option(help="auto, transformers, vllm or remote.", rich_help_panel=_MODEL)
]
Device = Annotated[str | None, typer.Option(help="cuda, mps or cpu.", rich_help_panel=_MODEL)]
DtypeName = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=_MODEL)
]
QuantizeName = Annotated[
    str | None,
    typer.Option(help="int8: faster on a CPU, not exact.", rich_help_panel=_MODEL),
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Its address.", metavar="URL", rich_help_panel=_SERVER)
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="Its key; better given by the environment.",
        envvar="QWEN3_RERANK_API_KEY",
        show_envvar=True,
        show_default=False,
        rich_help_panel=_SERVER,
    ),
]
Dialect = Annotated[
    str, typer.Option(help="Its wire format; auto asks it.", rich_help_panel=_SERVER)
]
Template = Annotated[
    str,
    typer.Option(
        help="Who writes the prompt: server, server-fixed, client or prompt.",
        rich_help_panel=_SERVER,
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(help="A folder, a tokenizer.json or a hub name.", rich_help_panel=_SERVER),
]
Header = Annotated[
    list[str] | None,
    typer.Option(help="Another header, as 'Name: value'.", rich_help_panel=_SERVER),
]
Timeout = Annotated[
    float, typer.Option(help="Seconds that one request may take.", rich_help_panel=_SERVER)
]
LongDocuments = Annotated[
    str,
    typer.Option(
        help="truncate cuts what is too long for the model; windows takes the best part of every "
        "document that is longer than --window-tokens.",
        rich_help_panel=LONG_DOCUMENTS,
    ),
]
WindowTokens = Annotated[
    int, typer.Option(help="Tokens of a part.", rich_help_panel=LONG_DOCUMENTS)
]
WindowOverlap = Annotated[
    int | None,
    typer.Option(
        help="Tokens that two parts share; an eighth of a part by default.",
        rich_help_panel=LONG_DOCUMENTS,
    ),
]
