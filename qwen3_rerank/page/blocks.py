"""The page in Gradio: its components and their events."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gradio as gr

from qwen3_rerank.page.cards import comparison_html, escape, note, ranking_html
from qwen3_rerank.page.exports import Ranking
from qwen3_rerank.page.inputs import FILE_TYPES
from qwen3_rerank.page.long_choice import LongChoice
from qwen3_rerank.page.models import Models
from qwen3_rerank.page.ranking import ranked, shown
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.page.tasks import EXAMPLES, OWN, TASKS, Example, task_choices, task_of
from qwen3_rerank.page.texts import LANGUAGE_NAMES, LANGUAGES, Language, language_of, say

# Rankings are kept so that they can be shown in the other language: so many characters in all.
_KEPT_CHARACTERS = 16_000_000
_SET_LANGUAGE = "(language) => { document.documentElement.lang = language; }"
# On a phone the results are below what was pressed.
_SCROLL = (
    "() => { if (innerWidth < 720) document.getElementById('%s').scrollIntoView("
    "{behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'}); }"
)
# A file is a token here (store.py): what Gradio takes for a path is never sent back to it.
_PATH_OF = "(file) => file ? file.path : ''"
# Nothing of the page is an API: the service has one. Events are answered at once: Gradio's queue
# keeps messages until somebody fetches them.
_QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False}


def build_page(models: Models, uploads: Kept[Upload]) -> gr.Blocks:
    """Return the page over one model, or several to choose from.

    Args:
        models: The models, by name.
        uploads: The files that were added.
    """
    kept = Kept[tuple[Ranking, ...]](_KEPT_CHARACTERS)
    names = list(models)
    model = " / ".join(names)
    first, second = TASKS["web"][2], TASKS["support"][2]
    with _environment_kept("HF_HUB_DISABLE_TELEMETRY"):
        page: gr.Blocks = gr.Blocks(title="Qwen3-Reranker", analytics_enabled=False)
    with page:
        ranking, comparison, added = (gr.Textbox("", visible=False) for _ in range(3))
        with gr.Row(elem_classes="qr-header"):
            heading = gr.HTML(_heading("en", model), js_on_load=None, elem_classes="qr-heading")
            language = gr.Radio(
                list(LANGUAGE_NAMES.items()),
                value="en",
                label=say("language", "en"),
                show_label=False,
                container=False,
                elem_id="qr-language",
                min_width=160,
            )
        with gr.Row(elem_classes="qr-examples"):
            examples_label = gr.HTML(_label("en"), js_on_load=None, elem_classes="qr-label")
            chips = {
                key: gr.Button(
                    example.names[0], size="sm", min_width=80, elem_id=f"qr-example-{key}"
                )
                for key, example in EXAMPLES.items()
            }
        with gr.Row(elem_classes="qr-main"):
            with gr.Column(scale=4, min_width=320):
                query = gr.Textbox(
                    label=say("query", "en"),
                    placeholder=say("query_hint", "en"),
                    lines=1,
                    max_lines=4,
                    elem_id="qr-query",
                )
                chosen = gr.Dropdown(
                    names,
                    value=names[0],
                    label=say("model", "en"),
                    filterable=False,
                    visible=len(names) > 1,
                    elem_id="qr-model",
                )
                task = gr.Dropdown(
                    task_choices("en"),
                    value=first,
                    label=say("task", "en"),
                    filterable=False,
                    elem_id="qr-task",
                )
                instruction = gr.Textbox(
                    first,
                    label=say("instruction", "en"),
                    info=say("instruction_info", "en"),
                    lines=2,
                    elem_id="qr-instruction",
                )
                documents = gr.Textbox(
                    label=say("documents", "en"),
                    placeholder=say("documents_hint", "en"),
                    lines=9,
                    max_lines=18,
                    elem_id="qr-documents",
                )
                with gr.Row():
                    split = gr.Radio(
                        _splits("en"),
                        value="lines",
                        label=say("split", "en"),
                        elem_id="qr-split",
                        scale=3,
                        min_width=220,
                    )
                    top_k = gr.Number(
                        0,
                        label=say("top_k", "en"),
                        precision=0,
                        elem_id="qr-top-k",
                        scale=2,
                        min_width=150,
                    )
                long = LongChoice(_QUIET)
                file = gr.File(
                    label=say("file", "en"),
                    file_types=list(FILE_TYPES),
                    type="filepath",
                    height=140,
                    elem_id="qr-file",
                )
                run = gr.Button(say("rank", "en"), variant="primary", elem_id="qr-rank")
            with gr.Column(scale=5, min_width=320), gr.Tabs(selected="rank") as tabs:
                with gr.Tab(say("rank_tab", "en"), id="rank") as rank_tab:
                    cards = _panel(note(say("empty", "en")), "qr-results")
                with gr.Tab(say("compare_tab", "en"), id="compare") as compare_tab:
                    second_task = gr.Dropdown(
                        task_choices("en"),
                        value=second,
                        label=say("second_task", "en"),
                        filterable=False,
                        elem_id="qr-second-task",
                    )
                    second_instruction = gr.Textbox(
                        second,
                        label=say("second_instruction", "en"),
                        lines=2,
                        elem_id="qr-second-instruction",
                    )
                    compare = gr.Button(
                        say("compare", "en"), variant="primary", elem_id="qr-compare"
                    )
                    columns = _panel(note(say("empty_compare", "en")), "qr-comparison")

        async def show_ranking(*inputs: Any) -> tuple[str, str]:
            async def single() -> tuple[Ranking, ...]:
                return (await ranked(models, uploads, *inputs),)

            return await shown(single(), inputs[-1], kept, _html)

        async def show_comparison(other: str, *inputs: Any) -> tuple[str, str]:
            async def both() -> tuple[Ranking, ...]:
                name, query, mine, *rest = inputs
                left = await ranked(models, uploads, name, query, mine, *rest)
                return left, await ranked(models, uploads, name, query, other, *rest)

            return await shown(both(), inputs[-1], kept, _html)

        def fill(example: Example, tongue: Language) -> list[Any]:
            place = LANGUAGES.index(tongue)
            texts = example.documents[place]
            by_line = not any("\n" in text for text in texts)
            tasks = [TASKS[name][2] for name in (example.task, example.second_task)]
            return [
                example.queries[place],
                tasks[0],
                tasks[0],
                ("\n" if by_line else "\n\n").join(texts),
                "lines" if by_line else "paragraphs",
                None,
                "",
                0,
                tasks[1],
                tasks[1],
                "",
                note(say("empty_compare", tongue)),
                gr.Tabs(selected="rank"),
            ]

        def again(token: str, tongue: Language, hint: str) -> Any:
            """Return a kept ranking in another language; if it is gone, it stays as it is."""
            if not token:
                return note(say(hint, tongue))
            rankings = kept.get(token)
            return gr.skip() if rankings is None else _html(rankings, tongue)

        def speak(tongue: Language, last: str, pair: str) -> dict[Any, Any]:
            return {
                heading: _heading(tongue, model),
                examples_label: _label(tongue),
                query: gr.update(label=say("query", tongue), placeholder=say("query_hint", tongue)),
                chosen: gr.update(label=say("model", tongue)),
                task: gr.update(label=say("task", tongue), choices=task_choices(tongue)),
                instruction: gr.update(
                    label=say("instruction", tongue), info=say("instruction_info", tongue)
                ),
                documents: gr.update(
                    label=say("documents", tongue), placeholder=say("documents_hint", tongue)
                ),
                split: gr.update(label=say("split", tongue), choices=_splits(tongue)),
                file: gr.update(label=say("file", tongue)),
                top_k: gr.update(label=say("top_k", tongue)),
                **long.spoken(tongue),
                run: gr.update(value=say("rank", tongue)),
                rank_tab: gr.update(label=say("rank_tab", tongue)),
                compare_tab: gr.update(label=say("compare_tab", tongue)),
                second_task: gr.update(
                    label=say("second_task", tongue), choices=task_choices(tongue)
                ),
                second_instruction: gr.update(label=say("second_instruction", tongue)),
                compare: gr.update(value=say("compare", tongue)),
                cards: again(last, tongue, "empty"),
                columns: again(pair, tongue, "empty_compare"),
                **{
                    chips[key]: gr.update(value=example.names[LANGUAGES.index(tongue)])
                    for key, example in EXAMPLES.items()
                },
            }

        def greet(request: gr.Request) -> str:
            language = request.query_params.get("lang", "")
            accepted = request.headers.get("accept-language")
            return language if language in LANGUAGES else language_of(accepted)

        inputs = [
            chosen,
            query,
            instruction,
            documents,
            split,
            added,
            top_k,
            *long.fields,
            language,
        ]
        file.change(None, [file], [added], js=_PATH_OF, **_QUIET)
        spoken = [
            *(heading, examples_label, chosen, query, task, instruction, documents, split, file),
            *(top_k, run, rank_tab, compare_tab, second_task, second_instruction, compare),
            *(cards, columns, *long.fields, *chips.values()),
        ]
        slow: dict[str, Any] = {"show_progress": "minimal", **_QUIET}
        gr.on(
            [run.click, query.submit, documents.submit, instruction.submit],
            show_ranking,
            inputs,
            [ranking, cards],
            trigger_mode="once",
            **slow,
        ).then(None, js=_SCROLL % "qr-results", **_QUIET)
        gr.on(
            [compare.click, second_instruction.submit],
            show_comparison,
            [second_instruction, *inputs],
            [comparison, columns],
            trigger_mode="once",
            **slow,
        ).then(None, js=_SCROLL % "qr-comparison", **_QUIET)
        for key, chip in chips.items():
            chip.click(
                partial(fill, EXAMPLES[key]),
                [language],
                [
                    *(query, task, instruction, documents, split, file, added, top_k),
                    *(second_task, second_instruction, comparison, columns, tabs),
                ],
                show_progress="hidden",
                **_QUIET,
            ).then(show_ranking, inputs, [ranking, cards], **slow).then(
                None, js=_SCROLL % "qr-results", **_QUIET
            )
        for choice, sentence in ((task, instruction), (second_task, second_instruction)):
            choice.input(
                lambda choice: gr.skip() if choice == OWN else choice,
                [choice],
                [sentence],
                show_progress="hidden",
                **_QUIET,
            )
            sentence.blur(task_of, [sentence], [choice], show_progress="hidden", **_QUIET)
        language.change(
            speak, [language, ranking, comparison], spoken, show_progress="hidden", **_QUIET
        )
        language.change(None, [language], js=_SET_LANGUAGE, **_QUIET)
        page.load(greet, None, [language], show_progress="hidden", **_QUIET)
    return page


@contextmanager
def _environment_kept(name: str) -> Iterator[None]:
    """Restore an environment variable that Gradio sets for the whole process."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _html(rankings: tuple[Ranking, ...], language: Language) -> str:
    """Return one ranking, or two side by side, as HTML."""
    if len(rankings) == 1:
        return ranking_html(rankings[0], language)
    return comparison_html(rankings[0], rankings[1], language)


def _panel(value: str, name: str) -> gr.HTML:
    return gr.HTML(value, js_on_load=None, elem_id=name, apply_default_css=False)


def _heading(language: Language, model: str) -> str:
    return (
        f"<h1>{escape(say('title', language))}</h1>"
        f"<p>{escape(say('subtitle', language, model=model))}</p>"
    )


def _label(language: Language) -> str:
    return f"<span>{escape(say('examples', language))}</span>"


def _splits(language: Language) -> list[tuple[str, str]]:
    return [(say(split, language), split) for split in ("lines", "paragraphs")]
