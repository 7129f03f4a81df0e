"""The page in Gradio: its layout and its events."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gradio as gr

from qwen3_rerank.page.cards import comparison_html, escape, note, ranking_html
from qwen3_rerank.page.exports import Ranking
from qwen3_rerank.page.form import Form, TaskField, Updates
from qwen3_rerank.page.models import Models
from qwen3_rerank.page.ranking import ranked, shown
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.page.tasks import EXAMPLES, Example
from qwen3_rerank.page.texts import LANGUAGE_NAMES, LANGUAGES, Language, language_of, say
from shared_core import DEFAULT_MODEL
from shared_core.options import TINY

# Rankings are kept so that they can be shown in the other language: so many characters in all.
_KEPT_CHARACTERS = 16_000_000
_SET_LANGUAGE = "(language) => { document.documentElement.lang = language; }"
# While an answer is awaited, the old one is marked as such; it stays marked if none ever comes.
# Gradio gives a script the inputs and the outputs of its event, and takes the inputs back.
_WAIT = """(...values) => {
  const text = %s[document.documentElement.lang] || '';
  document.getElementById('%s').dataset.waiting = text;
  return values.slice(0, %d);
}"""
# On a phone the results are below what was pressed.
_ANSWERED = """() => {
  const panel = document.getElementById('%s');
  delete panel.dataset.waiting;
  const quiet = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (innerWidth < 720) panel.scrollIntoView({behavior: quiet ? 'auto' : 'smooth'});
}"""
_WAITING = json.dumps({language: say("waiting", language) for language in LANGUAGES})
_REFUSED = json.dumps(
    {language: note(say("refused", language), "problem") for language in LANGUAGES}
)
# A file is a token here (store.py): what Gradio takes for a path is never sent back to it.
_PATH_OF = "(file) => file ? file.path : ''"
_PATHS_OF = "(files) => (files || []).map((file) => file.path).join('\\n')"
# Nothing of the page is an API: the service has one. Events are answered at once: Gradio's queue
# keeps messages until somebody fetches them.
_QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False}
_HIDDEN: dict[str, Any] = {"show_progress": "hidden", **_QUIET}


def build_page(models: Models, uploads: Kept[Upload]) -> gr.Blocks:
    """Return the page over one model, or several to choose from."""
    kept = Kept[tuple[Ranking, ...]](_KEPT_CHARACTERS)
    with _environment_kept("HF_HUB_DISABLE_TELEMETRY"):
        page: gr.Blocks = gr.Blocks(title="Qwen3-Reranker", analytics_enabled=False)
    with page:
        ranking, comparison = (gr.Textbox("", visible=False) for _ in range(2))
        with gr.Row(elem_classes="qr-header"):
            heading = _markup(_heading("en"), elem_classes="qr-heading")
            language = gr.Radio(
                list(LANGUAGE_NAMES.items()),
                value="en",
                label=say("language", "en"),
                show_label=False,
                container=False,
                elem_id="qr-language",
                min_width=160,
            )
        first = next(iter(models))
        banner = _markup(_banner(first, "en"), elem_id="qr-banner")
        with gr.Row(elem_classes="qr-examples"):
            examples = _markup(_label("en"), elem_classes="qr-label")
            chips = {
                key: gr.Button(
                    example.names[0], size="sm", min_width=80, elem_id=f"qr-example-{key}"
                )
                for key, example in EXAMPLES.items()
            }
        with gr.Row(elem_classes="qr-main"):
            with gr.Column(scale=4, min_width=320):
                form = Form(list(models), _HIDDEN)
            with gr.Column(scale=5, min_width=320), gr.Tabs(selected="rank") as tabs:
                with gr.Tab(say("rank_tab", "en"), id="rank") as rank_tab:
                    cards = _markup(note(say("empty", "en")), elem_id="qr-results")
                with gr.Tab(say("compare_tab", "en"), id="compare") as compare_tab:
                    second = TaskField("second_", "support", _HIDDEN)
                    compare = gr.Button(
                        say("compare", "en"), variant="primary", elem_id="qr-compare"
                    )
                    columns = _markup(note(say("empty_compare", "en")), elem_id="qr-comparison")
        inputs = [*form.inputs, language]

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

        def fill(example: Example, tongue: Language) -> Updates:
            place = LANGUAGES.index(tongue)
            texts = example.documents[place]
            by_line = not any("\n" in text for text in texts)
            return {
                form.query: example.queries[place],
                form.documents: ("\n" if by_line else "\n\n").join(texts),
                form.split: "lines" if by_line else "paragraphs",
                form.file: None,
                form.added: "",
                **dict.fromkeys(form.seen),
                **dict.fromkeys(form.seen.values(), ""),
                form.top_k: 0,
                **form.task.filled(example.task),
                **second.filled(example.second_task),
                comparison: "",
                columns: note(say("empty_compare", tongue)),
                tabs: gr.update(selected="rank"),
            }

        def again(token: str, tongue: Language, hint: str) -> Any:
            """Return a kept ranking in another language; if it is gone, it stays as it is."""
            if not token:
                return note(say(hint, tongue))
            rankings = kept.get(token)
            return gr.skip() if rankings is None else _html(rankings, tongue)

        def speak(tongue: Language, model: str, last: str, pair: str) -> Updates:
            place = LANGUAGES.index(tongue)
            return {
                heading: _heading(tongue),
                banner: _banner(model, tongue),
                examples: _label(tongue),
                **form.spoken(tongue),
                **second.spoken(tongue),
                rank_tab: gr.update(label=say("rank_tab", tongue)),
                compare_tab: gr.update(label=say("compare_tab", tongue)),
                compare: gr.update(value=say("compare", tongue)),
                cards: again(last, tongue, "empty"),
                columns: again(pair, tongue, "empty_compare"),
                **{
                    chips[key]: gr.update(value=example.names[place])
                    for key, example in EXAMPLES.items()
                },
            }

        def greet(request: gr.Request) -> Updates:
            asked = request.query_params.get("lang", "")
            accepted = request.headers.get("accept-language")
            return {
                language: asked if asked in LANGUAGES else language_of(accepted),
                **form.seeing(models[first].takes_images()),
            }

        def choose(model: str, tongue: Language) -> Updates:
            """Name the model; images go where it does not see."""
            return {banner: _banner(model, tongue), **form.seeing(models[model].takes_images())}

        def ask(
            listen: Callable[..., Any], handler: Any, given: list[Any], target: list[Any]
        ) -> None:
            """Show what a handler returns; until then, and if nothing comes, what is old is so
            marked.
            """
            panel = target[1].elem_id
            wait = _WAIT % (_WAITING, panel, len(given))
            event = listen(handler, given, target, js=wait, show_progress="minimal", **_QUIET)
            refused = f"(language) => ['', {_REFUSED}[language]]"
            event.failure(None, [language], target, js=refused, **_QUIET)
            event.then(None, js=_ANSWERED % panel, **_QUIET)

        form.file.change(None, [form.file], [form.added], js=_PATH_OF, **_QUIET)
        for field, tokens in form.seen.items():
            field.change(None, [field], [tokens], js=_PATHS_OF, **_QUIET)
        asked = [form.run.click, form.query.submit, form.documents.submit]
        ask(
            partial(gr.on, [*asked, form.task.instruction.submit], trigger_mode="once"),
            show_ranking,
            inputs,
            [ranking, cards],
        )
        ask(
            partial(gr.on, [compare.click, second.instruction.submit], trigger_mode="once"),
            show_comparison,
            [second.instruction, *inputs],
            [comparison, columns],
        )
        for key, chip in chips.items():
            example = EXAMPLES[key]
            filled = chip.click(
                partial(fill, example),
                [language],
                list(fill(example, "en")),
                js=_WAIT % (_WAITING, "qr-results", 1),
                **_HIDDEN,
            )
            ask(filled.then, show_ranking, inputs, [ranking, cards])
        chosen = [banner, *form.seen, *form.seen.values()]
        form.model.change(choose, [form.model, language], chosen, **_HIDDEN)
        language.change(
            speak,
            [language, form.model, ranking, comparison],
            list(speak("en", first, "", "")),
            **_HIDDEN,
        )
        language.change(None, [language], js=_SET_LANGUAGE, **_QUIET)
        page.load(greet, None, [language, *form.seen, *form.seen.values()], **_HIDDEN)
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


def _markup(value: str, **names: Any) -> gr.HTML:
    """Return a component that shows HTML, and nothing more."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, padding=False, **names)


def _heading(language: Language) -> str:
    return f"<h1>{escape(say('title', language))}</h1><p>{escape(say('subtitle', language))}</p>"


def _banner(model: str, language: Language) -> str:
    """Return which model this is; of the bundled one also how the real one is had."""
    name = f"{escape(say('model', language))} <b>{escape(model)}</b>"
    if model != TINY:
        return f"<p>{name}</p>"
    command = f"<code>qwen3-rerank ui --model {escape(DEFAULT_MODEL)}</code>"
    return f'<p class="qr-small">{name} {escape(say("bundled", language))} {command}</p>'


def _label(language: Language) -> str:
    return f"<span>{escape(say('examples', language))}</span>"
