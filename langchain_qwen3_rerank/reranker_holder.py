"""What `Qwen3Rerank` and `Qwen3CrossEncoder` have in common: options that make one `Reranker`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, model_validator

from shared_core.errors import ConfigurationError
from shared_core.options import RerankerOptions
from shared_core.reranker import Reranker

if TYPE_CHECKING:
    from typing_extensions import Self

MODEL_OPTIONS = frozenset(RerankerOptions.model_fields) - {"instruction"}
"""The options that a `Reranker` is made of. The instruction can change from call to call."""


class RerankerHolder(RerankerOptions):
    """Options as plain fields, and the reranker that they describe.

    Making one loads nothing: a `Reranker` loads its model on first use, once for all threads.
    Copies, shallow and deep, share the reranker; a pickled one loads a model of its own.

    Attributes:
        reranker: The reranker in use. Give one to share its model; the options then are those of
            that reranker, and giving others is an error.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    reranker: Reranker = Field(  # type: ignore[assignment]  # never None: see model_post_init
        default=None, exclude=True, repr=False
    )

    @model_validator(mode="before")
    @classmethod
    def _take_options_of_given_reranker(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "reranker" not in data:
            return data
        data = dict(data)
        reranker = data["reranker"]
        if reranker is None:
            del data["reranker"]
            return data
        clashing = sorted(MODEL_OPTIONS & data.keys())
        if clashing:
            raise ConfigurationError(
                f"got both reranker and {', '.join(clashing)}: give what belongs to the model to "
                "Reranker(...) itself, or leave reranker out"
            )
        if isinstance(reranker, Reranker):
            for name in RerankerOptions.model_fields:
                data.setdefault(name, getattr(reranker.options, name))
        return data

    def model_post_init(self, context: Any, /) -> None:
        """Make the reranker that the options describe, unless one was given."""
        super().model_post_init(context)
        if self.reranker is None:
            # Not an assignment: that is refused below.
            self.__dict__["reranker"] = Reranker.from_options(self)

    if not TYPE_CHECKING:  # A type checker would take this as leave to assign any name.

        def __setattr__(self, name: str, value: Any) -> None:
            refuse_model_options([name], type(self).__name__)
            super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy that shares the model.

        Raises:
            ConfigurationError: ``update`` has an option that belongs to the model.
        """
        refuse_model_options(update or (), type(self).__name__)
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__["reranker"] = self.reranker  # A deep copy with updates has another.
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.reranker)] = self.reranker
        return super().__deepcopy__(memo)

    def unload(self) -> None:
        """Free the model; the next call loads it again. Holds for all that share the reranker."""
        self.reranker.unload()

    def close(self) -> None:
        """Free everything. Later calls raise `ClosedError`, for all that share the reranker."""
        self.reranker.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await self.reranker.aclose()


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
