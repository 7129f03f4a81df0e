"""Base classes of the adapters: options as pydantic fields, and the `Reranker` made from them.

Framework-free. An adapter class inherits from `AdapterOptions` (or `RerankerHolder`, if it does not
rank) and from its framework's base class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, ValidationError, field_serializer, model_validator

from shared_core.errors import ConfigurationError
from shared_core.no_answer import OnNoAnswer, check_on_no_answer, refuse_function
from shared_core.options import RankingOptions, RerankerOptions
from shared_core.options.calls import RankingCallOptions
from shared_core.options.option import About, option
from shared_core.options.remote import without_inputs
from shared_core.options.windows import WINDOW_OPTIONS, LongDocuments
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.reranker import Reranker
from shared_core.shown import Cut

if TYPE_CHECKING:
    from typing_extensions import Self

MODEL_OPTIONS = frozenset(RerankerOptions.model_fields) - {"instruction"} - WINDOW_OPTIONS
"""The options that a `Reranker` is made of. Instruction and windows go with every call."""


class AdapterCallOptions(RankingCallOptions, total=False):
    """The options that a single call to any adapter may change."""

    on_no_answer: OnNoAnswer
    long_documents: LongDocuments
    window_tokens: int
    window_overlap: int | None


class RerankerHolder(RerankerOptions):
    """The options of a `Reranker` as pydantic fields, and the reranker made from them.

    Making one loads nothing: a `Reranker` loads its model on first use, once for all threads.
    Copies, shallow and deep, share the reranker; a pickled one loads a model of its own.

    ``api_key`` and ``headers`` are in no dump, no ``repr`` and no error: whoever restores a dump
    gives them again, or sets the environment variable. A pickle has them, for the worker that it
    is sent to: guard it as you guard the key.

    Attributes:
        reranker: The reranker in use. Give one to share its model; the options left out are then
            those of that reranker, and giving others is an error.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, validate_assignment=True)

    shared_with_copies: ClassVar[tuple[str, ...]] = ("reranker", "dialect")
    """The fields that even deep copies share."""

    reranker: Reranker = Field(  # type: ignore[assignment]  # never None: see model_post_init
        default=None, exclude=True, repr=False
    )

    @model_validator(mode="before")
    @classmethod
    def _take_none_for_absent(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("reranker", data) is None:
            return {name: value for name, value in data.items() if name != "reranker"}
        return data

    def model_post_init(self, context: Any, /) -> None:
        """Make the reranker from the options, or copy the options of a shared reranker."""
        super().model_post_init(context)
        if self.reranker is None:
            # Not an assignment: that is refused below.
            self.__dict__["reranker"] = Reranker.from_options(self)
            return
        options = self.reranker.options
        differing = sorted(
            name
            for name in MODEL_OPTIONS & self.model_fields_set
            if getattr(self, name) != getattr(options, name)
        )
        if differing:
            raise ConfigurationError(
                f"got both reranker and other values for {', '.join(differing)}: give what belongs "
                "to the model to Reranker(...) itself, or leave reranker out"
            )
        inherited = RerankerOptions.model_fields.keys() - self.model_fields_set
        self.__dict__ |= {name: getattr(options, name) for name in inherited}
        self.check_windows()

    @property
    def call_options(self) -> dict[str, Any]:
        """The instruction and the options for long documents, which every call receives."""
        # The reranker's own instruction was copied to this object, so `None` is the default.
        instruction = DEFAULT_INSTRUCTION if self.instruction is None else self.instruction
        windows = {name: getattr(self, name) for name in sorted(WINDOW_OPTIONS)}
        return {"instruction": instruction, **windows}

    if not TYPE_CHECKING:  # A type checker would take this as leave to assign any name.

        def __setattr__(self, name: str, value: Any) -> None:
            refuse_model_options([name], type(self).__name__)
            before = self.__dict__.copy()
            try:
                super().__setattr__(name, value)
            except ValidationError as error:
                # pydantic has stored the value already when a check of the whole refuses it.
                self.__dict__ |= before
                raise without_inputs(error, type(self).model_fields) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy that shares the model. Values are not checked; ``with_options`` does.

        Raises:
            ConfigurationError: ``update`` has an option that belongs to the model.
        """
        refuse_model_options(update or (), type(self).__name__)
        copied = self.__deepcopy__() if deep else self.__copy__()
        return super(RerankerHolder, copied).model_copy(update=update) if update else copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the options; the reranker and other objects of the user's are shared."""
        memo = {} if memo is None else memo
        shared = [getattr(self, name) for name in self.shared_with_copies]
        memo |= {id(value): value for value in shared}
        return super().__deepcopy__(memo)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the options that differ from their defaults, as a dump has them, so no secrets."""
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            if field is None or field.exclude:
                continue
            if value != field.get_default(call_default_factory=True):
                yield name, value

    @field_serializer("dialect", when_used="json")
    def _name_dialect(self, dialect: Any) -> Any:
        refuse_dialect_object(dialect)
        return dialect

    def unload(self) -> None:
        """Free the model until the next call, for all that share the reranker."""
        self.reranker.unload()

    def close(self) -> None:
        """Free all resources. Later calls raise `ClosedError`, for all that share the reranker."""
        self.reranker.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await self.reranker.aclose()


class AdapterOptions(RerankerHolder, RankingOptions):
    """All options of an adapter that ranks: keeps five documents by default."""

    shared_with_copies = (*RerankerHolder.shared_with_copies, "on_no_answer")

    top_k: int | None = Field(default=5, ge=1)
    on_no_answer: OnNoAnswer = option(
        "keep",
        'In the adapters, with a calibration: what is returned where nothing answers: "keep" the '
        'documents, "empty" none, or those of a function of query and documents.',
        About("Ranking"),
    )

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what needs a calibration where there is none, which a shared reranker may have."""
        super().model_post_init(context)
        check_on_no_answer(self.on_no_answer, self.calibration)

    @field_serializer("on_no_answer", when_used="json")
    def _name_on_no_answer(self, on_no_answer: Any) -> Any:
        refuse_function(on_no_answer)
        return on_no_answer

    @model_validator(mode="before")
    @classmethod
    def _accept_top_n(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "top_n" not in data:
            return data
        if "top_k" in data:
            raise ConfigurationError("got both top_k and top_n, which are one option: use top_k")
        return {"top_k" if name == "top_n" else name: value for name, value in data.items()}

    @property
    def ranking_options(self) -> dict[str, Any]:
        """The options of the ranking that every call receives; the adapter cuts texts itself."""
        names = RankingOptions.model_fields.keys() - {"return_window", "compress", "evidence"}
        kept = {name: getattr(self, name) for name in sorted(names)}
        return kept | {"evidence": self.seeks_evidence}

    @property
    def cut(self) -> Cut:
        """What of a long document, or of every one, is returned in its place."""
        return "evidence" if self.compress else "window" if self.return_window else None

    @property
    def top_n(self) -> int | None:
        """An alias of ``top_k``."""
        return self.top_k

    @top_n.setter
    def top_n(self, value: int | None) -> None:
        self.top_k = value

    def _changed(self, options: Mapping[str, Any]) -> Self:
        """Return a copy with changed options, all checked together, over the same reranker.

        Raises:
            ConfigurationError: An option belongs to the model: that takes a new object.
            ValueError: An option is unknown or out of range, or contradicts another.
        """
        refuse_model_options(options, type(self).__name__)
        kept = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in MODEL_OPTIONS
        }
        if "top_n" in options and "top_k" not in options:
            del kept["top_k"]
        return type(self)(**{**kept, **options})


def refuse_dialect_object(dialect: Any) -> None:
    """Raise if a dialect is an object: JSON can hold a name only.

    Raises:
        TypeError: The dialect is an object of the user's, which JSON cannot hold.
    """
    if not isinstance(dialect, str):
        raise TypeError(
            f"the dialect is an object ({type(dialect).__name__}), which JSON cannot hold: dump to "
            "Python objects, or pickle"
        )


def refuse_model_options(names: Iterable[str], owner: str) -> None:
    """Raise if one of these options can only be chosen when the reranker is made.

    Raises:
        ConfigurationError: One of them is.
    """
    fixed = sorted((MODEL_OPTIONS | {"reranker"}) & set(names))
    if fixed:
        raise ConfigurationError(
            f"{', '.join(fixed)} cannot change on a {owner} whose model is shared with its copies: "
            f"make a new {owner}"
        )
