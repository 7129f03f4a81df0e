"""Fields of the page for the handling of long documents."""

from __future__ import annotations

from typing import Any

import gradio as gr

from qwen3_rerank.page.texts import Language, say


class LongChoice:
    """Two fields: the way, and the length of a window, shown only where it matters."""

    def __init__(self, quiet: dict[str, Any]) -> None:
        """Put the fields where the page is being built.

        Args:
            quiet: Options of the event that shows and hides the second one.
        """
        with gr.Row():
            self.way = gr.Radio(
                _ways("en"),
                value="truncate",
                label=say("long", "en"),
                elem_id="qr-long",
                scale=3,
                min_width=220,
            )
            self.tokens = gr.Number(
                1024,
                label=say("window_tokens", "en"),
                precision=0,
                visible=False,
                elem_id="qr-window-tokens",
                scale=2,
                min_width=150,
            )
        self.way.input(
            lambda way: gr.update(visible=way == "windows"),
            [self.way],
            [self.tokens],
            show_progress="hidden",
            **quiet,
        )

    @property
    def fields(self) -> list[Any]:
        """The fields, in the order of the arguments of `Reranker.arerank`."""
        return [self.way, self.tokens]

    def spoken(self, language: Language) -> dict[Any, Any]:
        """Return the updates that make the fields speak a language."""
        return {
            self.way: gr.update(label=say("long", language), choices=_ways(language)),
            self.tokens: gr.update(label=say("window_tokens", language)),
        }


def _ways(language: Language) -> list[tuple[str, str]]:
    return [(say(way, language), way) for way in ("truncate", "windows")]
