"""Setup of a server: its dialect, template state and tokenizer, without guesses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from shared_core.errors import ConfigurationError, UnsupportedModelError
from shared_core.options import RerankerOptions
from shared_core.prompt import NO, YES
from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.remote.choosing import (
    check_model,
    choose_dialect,
    is_known,
    named_dialect,
)
from shared_core.scorers.remote.contents import names_a_seeing_model
from shared_core.scorers.remote.dialects import vendor_at, vllm
from shared_core.scorers.remote.dialects.base import Dialect, Template, trait
from shared_core.scorers.remote.discovery import OWN_SERVICE, Facts, discover
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.probe import Probed, find_template
from shared_core.scorers.remote.sight import (
    find_sight,
    prompt_of_seeing_models,
    template_of_seeing_model,
)
from shared_core.scorers.remote.tokenizing import (
    other_tokenizer,
    served_ids,
    tokenizer_at_hand,
)
from shared_core.scorers.remote.urls import join, route, server_root
from shared_core.scorers.remote.wrapping import QWEN3_CONTROL_TOKENS, Neutraliser

logger = logging.getLogger("qwen3_rerank")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Setup:
    """The facts and choices that all requests use.

    Attributes:
        dialect: The wire format.
        template: The author of the prompt.
        url: The URL of the route.
        facts: The server's statements about itself.
        encoder: Makes token ids and cuts documents, if a tokenizer is at hand.
        neutralise: Makes texts safe that the server tokenises.
        max_length: The most tokens of one prompt.
        yes_id, no_id: Token ids of the two answers.
        counts_prompt: Whether fewer tokens than a prompt has mean that there is none.
        sees: Whether its model takes images, and so writes another prompt by itself.
    """

    dialect: Dialect
    template: Template
    url: str
    facts: Facts
    encoder: PairEncoder | None
    neutralise: Neutraliser
    max_length: int
    yes_id: int = 9693
    no_id: int = 2152
    counts_prompt: bool = False
    sees: bool = False

    def neutralise_query(self, query: str) -> str:
        """Make a query safe, in which some servers replace more than in documents."""
        return Neutraliser(trait(self.dialect, "reserved"))(self.neutralise(query))

    @property
    def sends_ids(self) -> bool:
        """Whether prompts are sent as token ids."""
        takes_ids = bool(trait(self.dialect, "takes_ids"))
        return self.template == "prompt" and takes_ids and self.encoder is not None


def make_session(options: RerankerOptions) -> HttpSession:
    """Return the HTTP session; a vendor's key is sent to that vendor's host alone."""
    base_url = options.base_url or getattr(named_dialect(options), "base_url", None) or ""
    return HttpSession(options, base_url, _key_variables(base_url))


def _key_variables(base_url: str) -> Iterable[str]:
    """Return the environment variables for the key of the vendor that owns this host."""
    url = urlsplit(base_url)
    vendor = vendor_at(url.hostname)
    return vendor.key_variables if vendor is not None and url.scheme == "https" else ()


class InWorker(Protocol):
    """Runs a long call without blocking the event loop."""

    def __call__(self, call: Callable[[], Result], /) -> Awaitable[Result]: ...


async def prepare(options: RerankerOptions, session: HttpSession, in_worker: InWorker) -> Setup:
    """Return the setup of a server, found out by asking it.

    Args:
        options: The address and what is known of it.
        session: The way there.
        in_worker: Runs the reading of a tokenizer.

    Raises:
        ConfigurationError: The settings cannot be determined, or contradict what the server can do.
        RemoteError: The server could not be asked.
    """
    named = named_dialect(options)
    base_url = options.base_url or getattr(named, "base_url", None)
    if base_url is None:
        raise ConfigurationError(
            f"dialect={options.dialect!r} needs base_url, the server's address"
        )
    root = server_root(base_url)
    await in_worker(session.read_certificates)
    facts = Facts()
    if not is_known(named, base_url, options.template):
        facts = await discover(session, root, is_named=named is not None)
    dialect = choose_dialect(options, named, facts, base_url)
    check_model(options, facts)
    bound = min(options.max_length, facts.max_model_len or options.max_length)
    if isinstance(dialect, (vllm.VllmCompletions, vllm.VllmGenerative)):
        bound -= bound == facts.max_model_len  # a generated token needs room, too

    sees = trait(dialect, "images") != "none" and (
        facts.takes_images or names_a_seeing_model([options.model, *facts.roots])
    )
    encoder = None if sees else await in_worker(lambda: _encoder(options, bound))
    if encoder is not None and facts.server == "vllm":
        problem = await other_tokenizer(session, root, options.model, encoder)
        if problem is not None and options.tokenizer is not None:
            raise ConfigurationError(problem)
        if problem is not None:
            logger.info("%s: sending text", problem)
            encoder = None
    yes_id, no_id = 9693, 2152
    if encoder is not None:
        yes_id, no_id = encoder.yes_id, encoder.no_id
    elif facts.server == "vllm" and trait(dialect, "takes_ids"):
        yes_id, no_id = await _answer_ids(session, root, options.model, (yes_id, no_id))

    literals: Iterable[str] = ()
    if facts.server != OWN_SERVICE:  # which takes no text for a control token
        own = encoder.control_tokens if encoder is not None else ()
        literals = [*QWEN3_CONTROL_TOKENS, *own]
    setup = Setup(
        dialect,
        "prompt",
        _url(base_url, trait(dialect, "path"), options.model, facts),
        facts,
        encoder,
        Neutraliser(literals),
        bound,
        yes_id,
        no_id,
        sees=sees,
    )
    found = await _template(options, session, setup)
    if sees and facts.server == "vllm":
        sees = await find_sight(session, setup.url, dialect, options.model)
    return replace(setup, template=found.template, counts_prompt=found.counts, sees=sees)


def _encoder(options: RerankerOptions, max_length: int) -> PairEncoder | None:
    """Return the encoder; ``None`` without a local tokenizer, or with another kind.

    Raises:
        UnsupportedModelError: The tokenizer that was asked for is not that of a Qwen3-Reranker.
    """
    tokenizer = tokenizer_at_hand(options)
    if tokenizer is None:
        return None
    try:
        encoder = PairEncoder(tokenizer, max_length)
        _ = encoder.yes_id, encoder.no_id  # raise if one of them is not a single token
    except UnsupportedModelError:
        if options.tokenizer is not None:
            raise
        return None
    return encoder


def _url(base_url: str, path: str, model: str, facts: Facts) -> str:
    if facts.prefix:
        return join(server_root(base_url), facts.prefix + path, model)
    return route(base_url, path, model)


async def _answer_ids(
    session: HttpSession, root: str, model: str, default: tuple[int, int]
) -> tuple[int, int]:
    """Return the server's own ids of yes and no; Qwen3's if it does not tell.

    Raises:
        ConfigurationError: One of them is several tokens.
    """
    found = [await served_ids(session, root, model, word) for word in (YES, NO)]
    if found[0] is None or found[1] is None:
        return default
    for word, ids in zip((YES, NO), found, strict=True):
        if ids is None or len(ids) != 1:
            raise ConfigurationError(
                f"the server's model {model!r} has {word!r} as {len(ids or ())} tokens: the score "
                "is defined only where it is one. Is it a Qwen3-Reranker?"
            )
    return found[0][0], found[1][0]


async def _template(options: RerankerOptions, session: HttpSession, setup: Setup) -> Probed:
    """Return the template state: from the options, the dialect, or a probe."""
    dialect = setup.dialect
    possible = trait(dialect, "templates")
    if options.template != "auto":
        if options.template not in possible:
            raise ConfigurationError(
                f"template={options.template!r} is not possible with {_name(dialect)}: expected "
                f"one of {', '.join(possible)}"
            )
        if setup.sees and options.template in ("client", "prompt"):
            raise prompt_of_seeing_models(setup.url)
        return Probed(options.template, counts=False)
    documented: Template | None = trait(dialect, "documented")
    if documented is not None:
        return Probed(documented, counts=trait(dialect, "counts_prompt"))
    if setup.facts.server == OWN_SERVICE:
        takes_one = "server" in possible and setup.facts.takes_instruction
        return Probed("server" if takes_one else "server-fixed", counts=not setup.sees)
    if setup.sees:
        return await template_of_seeing_model(session, setup.url, dialect, options.model)
    return await find_template(session, setup.url, dialect, options.model)


def _name(dialect: Dialect) -> str:
    return getattr(dialect, "name", type(dialect).__name__)
