"""Protocol of a dialect: builds the requests for one kind of server, and parses its replies.

A dialect has no network access and no retries, and only states its limits. Splitting, checking and
ordering are done elsewhere, once for all dialects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any, ClassVar, Literal, Protocol

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.contents import ImageShape, Sent
from shared_core.scorers.remote.failures import shortened

Template = Literal["server", "server-fixed", "client", "prompt"]
"""The author of the prompt: the server, with an instruction; the server, with a fixed one; the
client, as a wrapped query and document; the client, as one whole prompt."""

Scale = Literal["probability", "logit"]
"""The scale of a server's numbers."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The content of one request, in the form that its template state needs.

    Attributes:
        model: The name to send.
        query: The query, wrapped in state ``client``; empty in state ``prompt``. With images, in
            the dialect's own shape of them.
        documents: The documents, likewise.
        instruction: To be sent in state ``server``, else ``None``.
        prefix: In state ``prompt``, what all prompts begin with: text, or token ids.
        rests: In state ``prompt``, how each goes on after ``prefix``: text, or token ids.
        yes_id, no_id: Token ids of the two answers.
        max_document_tokens: Ask the server to cut longer documents; ``None`` if that is done here.
    """

    model: str
    query: Sent = ""
    documents: Sequence[Sent] = ()
    instruction: str | None = None
    prefix: str | list[int] = ""
    rests: Sequence[str | list[int]] = ()
    yes_id: int = 9693
    no_id: int = 2152
    max_document_tokens: int | None = None

    def __len__(self) -> int:
        return len(self.documents) or len(self.rests)

    @property
    def prompts(self) -> list[str | list[int]]:
        """The complete prompts of state ``prompt``."""
        return [self.prefix + rest for rest in self.rests]  # type: ignore[operator]  # both alike


USAGE = (("usage", "prompt_tokens"), ("usage", "total_tokens"))
"""Where most replies have their count of tokens."""


def items_body(batch: Batch) -> dict[str, Any]:
    """Return the body of state ``prompt`` for servers that score one prefix with many items."""
    return {
        "model": batch.model,
        "query": batch.prefix,
        "items": list(batch.rests),
        "label_token_ids": [batch.yes_id, batch.no_id],
        "apply_softmax": True,
        "item_first": False,
    }


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a reply: the document's position in the request, and its score.

    Attributes:
        n_tokens, truncated: What the server says of the prompt, where it does.
    """

    index: int
    value: float
    n_tokens: int | None = attribute(default=None, repr=False)
    truncated: bool | None = attribute(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The scores and token count of a reply.

    Attributes:
        rows: In the server's order.
        tokens: Tokens of all prompts that it counted; `tokens` tells counts from inventions.
        scale: The scale of its numbers, if the reply states it; else the dialect's holds.
    """

    rows: list[Row]
    tokens: int | None = None
    scale: Scale | None = None


class Dialect(Protocol):
    """One wire format. Subclass it for the defaults, or write a class of the same shape.

    Attributes:
        name: The name in the option ``dialect``.
        path: The route, below the base URL; may hold ``{model}``.
        templates: The template states it can be used in, the preferred first.
        documented: The state it is known to be in; ``None`` if that has to be found out.
        scale: The scale of its numbers.
        takes_ids: Whether prompts may be token ids.
        max_documents: The most documents of one request.
        max_bytes: The most bytes of one request body.
        max_tokens: The most tokens of one request, the query counted once per document.
        base_url: The address of a hosted API.
        key_variables: Environment variables that hold its key, after ``QWEN3_RERANK_API_KEY``.
        retried: Statuses to repeat a request on, besides those of all servers.
        reserved: Literals that the server would replace inside of a query.
        counts_prompt: Whether the server is known to count the tokens of whole prompts, so that
            fewer than a prompt has mean that there is none.
        judges_otherwise: Whether its models are rerankers of other kinds, with other prompts.
        remedy: What to do where the server turns out not to score the published prompt.
        cuts_silently: Whether the server cuts the end of a whole prompt that is too long.
        counts_tokens: Whether what it counts are tokens.
        images: How it takes images, if its model sees.
        asks: Whether the server is asked about itself even where dialect and template are given:
            it depends on the answer what is sent or where to.
    """

    name: ClassVar[str]
    path: ClassVar[str] = "/v1/rerank"
    templates: tuple[Template, ...] = ("server-fixed",)
    documented: Template | None = None
    scale: Scale = "probability"
    takes_ids: bool = False
    max_documents: int = 256
    max_bytes: int = 8 * 2**20
    max_tokens: int | None = None
    base_url: ClassVar[str | None] = None
    key_variables: ClassVar[tuple[str, ...]] = ()
    retried: ClassVar[frozenset[int]] = frozenset()
    reserved: ClassVar[tuple[str, ...]] = ()
    counts_prompt: ClassVar[bool] = False
    judges_otherwise: ClassVar[bool] = False
    remedy: ClassVar[str] = (
        "Start it with the template of `qwen3-rerank template`, or use another server: see "
        "docs/servers.md."
    )
    cuts_silently: ClassVar[bool] = False
    counts_tokens: ClassVar[bool] = True
    images: ClassVar[ImageShape] = "none"
    asks: ClassVar[bool] = False

    def build(self, batch: Batch) -> dict[str, Any]:
        """Return the JSON body of a request."""
        ...

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        """Return the scores in a decoded JSON reply.

        Raises:
            InvalidReplyError: The reply has another form than expected.
        """
        ...


def trait(dialect: Dialect, name: str) -> Any:
    """Return an attribute of a dialect, or its default if a user's class lacks it."""
    return getattr(dialect, name, getattr(Dialect, name, None))


def field(reply: Any, *names: str) -> Any:
    """Return ``reply[name][name]…``.

    Raises:
        InvalidReplyError: One of them is missing.
    """
    value = reply
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidReplyError(
                f"the reply has no {'.'.join(names)}: expected it, got {describe(reply)}"
            )
        value = value[name]
    return value


def rows(items: Any, score_name: str, index_name: str = "index") -> list[Row]:
    """Return the rows of ``[{"index": …, score_name: …}, …]``, in their order.

    Raises:
        InvalidReplyError: The value has another type.
    """
    return [
        Row(whole(field(item, index_name), index_name), number(field(item, score_name), score_name))
        for item in sequence(items)
    ]


def in_order(values: Any, name: str = "score") -> list[Row]:
    """Return the rows of ``[number, …]``, which are in input order."""
    return [Row(index, number(value, name)) for index, value in enumerate(sequence(values))]


def sequence(value: Any) -> list[Any]:
    """Return a JSON array as it is.

    Raises:
        InvalidReplyError: The value is not an array.
    """
    if not isinstance(value, list):
        raise InvalidReplyError(f"expected a list of scores, got {describe(value)}")
    return value


def number(value: Any, name: str) -> float:
    """Return a finite JSON number.

    Raises:
        InvalidReplyError: The value is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidReplyError(f"{name} is {describe(value)}, expected a number")
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise InvalidReplyError(f"{name} is {converted}, expected a finite number")
    return converted


def whole(value: Any, name: str) -> int:
    """Return a JSON integer; some servers write ``1.0``.

    Raises:
        InvalidReplyError: The value has another type.
    """
    converted = number(value, name)
    if not converted.is_integer():
        raise InvalidReplyError(f"{name} is {converted}, expected a whole number")
    return int(converted)


def tokens(reply: Any, *paths: Sequence[str]) -> int | None:
    """Return the first count of prompt tokens that a reply has, else ``None``; none is required.

    0 is no count. Nor is what stands beside search units or tokens of an output: no model that
    scores has either, so that a gateway has made the count up from the texts (LiteLLM does).
    Xinference repeats its count as that of the output.
    """
    output = _whole_at(reply, ("meta", "tokens", "output_tokens"))
    is_made_up = output != _whole_at(reply, ("meta", "tokens", "input_tokens"))
    if (output and is_made_up) or _whole_at(reply, ("meta", "billed_units", "search_units")):
        return None
    return next(filter(None, (_whole_at(reply, path) for path in paths)), None)


def _whole_at(reply: Any, path: Sequence[str]) -> int | None:
    value = reply
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def describe(value: Any) -> str:
    """Return a short description of a reply's value, for an error message."""
    if isinstance(value, Mapping):
        return "an object with " + (
            ", ".join(repr(shortened(str(name), 40)) for name in list(value)[:8]) or "nothing"
        )
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return shortened(repr(value), 80)
