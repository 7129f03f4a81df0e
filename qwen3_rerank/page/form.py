"""The fields of the page, which can change their language."""

from __future__ import annotations

from typing import Any

import gradio as gr

from qwen3_rerank.page.inputs import FILE_TYPES, IMAGE_TYPES
from qwen3_rerank.page.tasks import OWN, TASKS, task_choices, task_of
from qwen3_rerank.page.texts import Language, say

Updates = dict[Any, Any]
"""New properties by component."""


class TaskField:
    """A choice of tasks above the instruction that it fills in.

    Args:
        word: The name of its texts: ``instruction`` for this word, ``task`` before it.
    """

    def __init__(self, word: str, task: str, quiet: dict[str, Any]) -> None:
        first = TASKS[task][2]
        self._word = word
        self.choice = gr.Dropdown(
            task_choices("en"),
            value=first,
            label=say(f"{word}task", "en"),
            filterable=False,
            elem_id=f"qr-{word.replace('_', '-')}task",
        )
        self.instruction = gr.Textbox(
            first,
            label=say(f"{word}instruction", "en"),
            lines=2,
            elem_id=f"qr-{word.replace('_', '-')}instruction",
        )
        self.choice.input(
            lambda choice: gr.skip() if choice == OWN else choice,
            [self.choice],
            [self.instruction],
            **quiet,
        )
        self.instruction.blur(task_of, [self.instruction], [self.choice], **quiet)

    def spoken(self, language: Language) -> Updates:
        """Return the updates that make it speak a language."""
        return {
            self.choice: gr.update(
                label=say(f"{self._word}task", language), choices=task_choices(language)
            ),
            self.instruction: gr.update(label=say(f"{self._word}instruction", language)),
        }

    def filled(self, task: str) -> Updates:
        """Return the updates that choose a task."""
        return {self.choice: TASKS[task][2], self.instruction: TASKS[task][2]}


class Form:
    """The form for query and documents, added to the page that is being built."""

    def __init__(self, names: list[str], quiet: dict[str, Any]) -> None:
        self.added = gr.Textbox("", visible=False)  # the token of the file
        # Those of the images, one a line: of the documents, and of the question.
        self.pictures, self.asked = (gr.Textbox("", visible=False) for _ in range(2))
        self.query = gr.Textbox(lines=1, max_lines=4, **_named("query"))
        self.query_images = _images("query_images")
        self.documents = gr.Textbox(lines=6, max_lines=18, **_named("documents"))
        self.file = gr.File(
            file_types=list(FILE_TYPES), type="filepath", height=48, **_named("file")
        )
        self.images = _images("images")
        self.model = gr.Dropdown(
            names, value=names[0], filterable=False, visible=len(names) > 1, **_named("model")
        )
        self.task = TaskField("", "web", quiet)
        self.run = gr.Button(say("rank", "en"), variant="primary", elem_id="qr-rank")
        with gr.Accordion(say("more", "en"), open=False, elem_id="qr-more") as self.more:
            self.split = gr.Radio(_choices(_SPLITS, "en"), value="lines", **_named("split"))
            self.top_k = gr.Number(0, precision=0, **_named("top_k"))
            self.max_candidates = gr.Number(0, precision=0, **_named("max_candidates"))
            self.time_budget = gr.Number(0, **_named("time_budget"))
            self.evidence = gr.Checkbox(False, **_named("evidence"))
            self.long = gr.Radio(_choices(_WAYS, "en"), value="truncate", **_named("long"))
            self.window_tokens = gr.Number(
                1024, precision=0, visible=False, **_named("window_tokens")
            )
        self.long.input(
            lambda way: gr.update(visible=way == "windows"),
            [self.long],
            [self.window_tokens],
            **quiet,
        )

    @property
    def inputs(self) -> list[Any]:
        """The fields, in the order of the arguments of `ranking.ranked`."""
        return [
            *(self.model, self.query, self.task.instruction, self.documents, self.split),
            *(self.added, self.top_k, self.long, self.window_tokens, self.evidence),
            *(self.max_candidates, self.time_budget, self.pictures, self.asked),
        ]

    @property
    def seen(self) -> dict[Any, Any]:
        """The fields of images, each with the hidden one of its tokens."""
        return {self.images: self.pictures, self.query_images: self.asked}

    def seeing(self, sees: bool) -> Updates:
        """Return the updates that show the fields of images, or take away what is in them."""
        if sees:
            return {field: gr.update(visible=True) for field in self.seen}
        gone = {field: gr.update(visible=False, value=None) for field in self.seen}
        return gone | dict.fromkeys(self.seen.values(), "")

    def spoken(self, language: Language) -> Updates:
        """Return the updates that make the fields speak a language."""
        words = (
            *("query", "query_images", "documents", "file", "images", "model", "split", "top_k"),
            *("evidence", "max_candidates", "time_budget", "long", "window_tokens"),
        )
        updates = {getattr(self, word): _labels(word, language) for word in words}
        updates[self.split] |= {"choices": _choices(_SPLITS, language)}
        updates[self.long] |= {"choices": _choices(_WAYS, language)}
        return {
            **{field: gr.update(**values) for field, values in updates.items()},
            **self.task.spoken(language),
            self.run: gr.update(value=say("rank", language)),
            self.more: gr.update(label=say("more", language)),
        }


_SPLITS = ("lines", "paragraphs")
_WAYS = ("truncate", "windows")
_HINTS = {"query": "query_hint", "documents": "documents_hint"}


def _images(word: str) -> gr.File:
    """Return a field for images, which is shown where the model sees."""
    return gr.File(
        file_types=list(IMAGE_TYPES),
        file_count="multiple",
        type="filepath",
        height=48,
        visible=False,
        **_named(word),
    )


def _labels(word: str, language: Language) -> dict[str, Any]:
    labels: dict[str, Any] = {"label": say(word, language)}
    return labels | ({"placeholder": say(_HINTS[word], language)} if word in _HINTS else {})


def _named(word: str) -> dict[str, Any]:
    return {**_labels(word, "en"), "elem_id": f"qr-{word.replace('_', '-')}"}


def _choices(words: tuple[str, ...], language: Language) -> list[tuple[str, str]]:
    return [(say(word, language), word) for word in words]
