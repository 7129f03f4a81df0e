"""Servers of models that see: whether theirs does, and whether they write its prompt.

Such a model has another prompt than the text models, which a server's own template alone writes.
That it has one at all is told by tokens, and that it is this one by scores that have to be equal.
"""

from __future__ import annotations

from shared_core.errors import ConfigurationError, ServerStatusError
from shared_core.images.bundled import SQUARE, as_data_url
from shared_core.prompt.forms import VISION_FORM
from shared_core.scorers.remote.comparing import Comparison
from shared_core.scorers.remote.contents import sent_image
from shared_core.scorers.remote.dialects.base import Batch, Dialect, trait
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.probe import Probed
from shared_core.scorers.remote.reading import read_margins

_LABEL = f"\n<Document{VISION_FORM.opening}"
_REMEDY = "Start it with --chat-template and vLLM's qwen3_vl_reranker.jinja (docs/images.md)"
QUERY, DOCUMENT = "capital of France", "Paris"
INSTRUCTION = "Given a question, find the passage that answers it. " + "Read with great care. " * 8
_FEWEST_OF_AN_IMAGE = 4  # tokens, more than the text that it takes the place of
_TEMPLATED = 55  # tokens: fewer than any tokenizer makes of the prompt
_LONGER = 15  # tokens that INSTRUCTION has more than the default one, at least


async def template_of_seeing_model(
    session: HttpSession, url: str, dialect: Dialect, model: str
) -> Probed:
    """Return a server's template state, by a few requests of short pairs.

    Raises:
        ConfigurationError: The server does not write the prompt, or does not count tokens.
        RemoteError: A request failed.
    """
    counted = await _counted(session, url, dialect, Batch(model, QUERY, [DOCUMENT]))
    if counted is None:
        raise ConfigurationError(
            f"{url} does not count tokens, so that it cannot be told whether it writes the prompt "
            "of a model that sees: give template=, server or server-fixed"
        )
    if counted < _TEMPLATED:
        raise prompt_of_seeing_models(url)
    comparison = Comparison(session, url, dialect, model, _LABEL)
    await comparison.plain()
    apart = await comparison.written_there()
    if apart is not None and not comparison.is_noise(apart):
        raise ConfigurationError(
            f"{url} writes another prompt around query and document than that of Qwen3-VL-Reranker:"
            f" two pairs that are one prompt in its form have scores {apart:.2g} logits apart. "
            f"{_REMEDY}, or say template= yourself, server or server-fixed"
        )
    instructed = Batch(model, QUERY, [DOCUMENT], instruction=INSTRUCTION)
    longer = await _counted(session, url, dialect, instructed)
    honours = longer is not None and longer >= counted + _LONGER
    return Probed("server" if honours else "server-fixed", counts=False)


def prompt_of_seeing_models(url: str) -> ConfigurationError:
    """Return the error for a model that sees whose server does not write the prompt."""
    return ConfigurationError(
        f"{url} serves a model that sees, without the template of its prompt. {_REMEDY}"
    )


async def find_sight(session: HttpSession, url: str, dialect: Dialect, model: str) -> bool:
    """Return whether a server takes images: it counts their tokens, where a text model refuses.

    Raises:
        RemoteError: It could not be asked.
    """
    image = sent_image(as_data_url(SQUARE), trait(dialect, "images"))
    try:
        counted = await _counted(session, url, dialect, Batch(model, QUERY, [image]))
    except ServerStatusError as error:
        if error.status in (400, 422):
            return False
        raise
    plain = await _counted(session, url, dialect, Batch(model, QUERY, [DOCUMENT]))
    return counted is None or plain is None or counted >= plain + _FEWEST_OF_AN_IMAGE


async def _counted(session: HttpSession, url: str, dialect: Dialect, batch: Batch) -> int | None:
    """Return the prompt tokens that a server counts for a batch; ``None`` if it does not."""
    reply = await session.post(url, dialect.build(batch), trait(dialect, "retried"))
    return read_margins(reply, dialect, batch)[1]
