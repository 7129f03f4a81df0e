"""The options as a LlamaIndex component: made, changed, copied, dumped and restored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from llama_index.core.bridge.pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.schema import MetadataMode

from llama_index_qwen3_rerank.instruction_prompt import (
    InstructionPrompts,
    InstructionTemplate,
    instruction_from_prompt,
)
from shared_core import ConfigurationError, RankingOptions, Reranker, RerankerOptions
from shared_core.options import Instruction

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

# The loaded model depends on these. The instruction is not among them: it goes with every call.
MODEL_OPTIONS = frozenset(RerankerOptions.model_fields) - {"instruction"}


class CallOptions(TypedDict, total=False):
    """The options that need no other model, so that a copy can have its own."""

    instruction: Instruction | BasePromptTemplate | None
    top_k: int | None
    top_n: int | None
    score_threshold: float | None
    min_docs: int
    metadata_mode: MetadataMode
    keep_retrieval_score: bool
    callback_manager: CallbackManager


class RerankerComponent(InstructionPrompts, RerankerOptions, RankingOptions, BaseNodePostprocessor):
    """A postprocessor's options, and the one `Reranker` that they describe.

    Making, copying, dumping and restoring one loads no model.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        protected_namespaces=(),
        validate_assignment=True,
    )

    top_k: int | None = Field(default=5, ge=1)
    metadata_mode: MetadataMode = MetadataMode.EMBED
    keep_retrieval_score: bool = False
    # Never `None` once constructed: `model_post_init` makes one.
    reranker: Reranker = Field(default=None, exclude=True, repr=False)  # type: ignore[assignment]

    @property
    def top_n(self) -> int | None:
        """LlamaIndex's name for ``top_k``."""
        return self.top_k

    @top_n.setter
    def top_n(self, value: int | None) -> None:
        self.top_k = value

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy with other options that shares the loaded model.

        Args:
            **options: What is left out stays as it is.

        Raises:
            ConfigurationError: An option belongs to the model: that takes a new `Qwen3Rerank`.
            ValueError: An option is unknown or out of range, or contradicts another one.
        """
        refuse_model_options(options)
        kept = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in MODEL_OPTIONS
        }
        if "top_n" in options:
            del kept["top_k"]
        return type(self)(**{**kept, **options})

    def unload(self) -> None:
        """Free the model; the next call loads it again. Everything that shares it is affected."""
        self.reranker.unload()

    def close(self) -> None:
        """Free everything for good, also for what shares the reranker. Closing twice is fine."""
        self.reranker.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await self.reranker.aclose()

    @model_validator(mode="before")
    @classmethod
    def _accept_top_n(cls, data: Any) -> Any:
        """Accept ``top_n`` for ``top_k``."""
        if not isinstance(data, dict) or "top_n" not in data:
            return data
        if "top_k" in data:
            raise ValueError("top_n is another name for top_k: give one of them")
        return {"top_k" if name == "top_n" else name: value for name, value in data.items()}

    @field_validator("instruction", mode="before")
    @classmethod
    def _accept_templates(cls, value: Any) -> Any:
        """Accept a `PromptTemplate`, and what `to_dict` made of one."""
        if isinstance(value, BasePromptTemplate):
            return instruction_from_prompt(value)
        if isinstance(value, dict) and value.keys() == {"template"}:
            return InstructionTemplate(value["template"])
        return value

    def model_post_init(self, context: Any) -> None:
        """Make the reranker, which loads nothing yet, or take over the options of the given one."""
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
                f"{', '.join(differing)}: given, but the reranker that was given as well has "
                "another value. These options are fixed by the reranker: set them there."
            )
        inherited = RerankerOptions.model_fields.keys() - self.model_fields_set
        self.__dict__ |= {name: getattr(options, name) for name in inherited}

    if not TYPE_CHECKING:  # A type checker would take this as leave to assign any name.

        def __setattr__(self, name: str, value: Any) -> None:
            refuse_model_options([name])
            before = self.__dict__.copy()
            try:
                super().__setattr__(name, value)
            except ValueError:
                # pydantic has stored the value already when a check of the whole refuses it.
                self.__dict__ |= before
                raise

    def to_json(self, **kwargs: Any) -> str:
        """Return the options as JSON.

        Raises:
            TypeError: The instruction is a function.
        """
        if callable(self.instruction) and not isinstance(self.instruction, InstructionTemplate):
            raise TypeError(
                "the instruction is a function, which JSON cannot hold; "
                'use a PromptTemplate with "{query_str}"'
            )
        return super().to_json(**kwargs)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy that shares the model; `with_options` also checks the values.

        Raises:
            ConfigurationError: ``update`` has an option that belongs to the model.
        """
        refuse_model_options(update or ())
        copied = super().model_copy(update=update, deep=deep)
        # pydantic makes a deep copy with updates without asking `__deepcopy__`.
        copied.__dict__["reranker"] = self.reranker
        if "callback_manager" not in (update or ()):
            copied.__dict__["callback_manager"] = self.callback_manager
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the options; the loaded model and the callback manager are shared."""
        memo = {} if memo is None else memo
        memo |= {id(live): live for live in (self.reranker, self.callback_manager)}
        return super().__deepcopy__(memo)

    # LlamaIndex's own pair removes what it cannot pickle from the *living* object, with a log line,
    # and rebuilds the copy through `__init__`, falling back silently when that fails.
    def __getstate__(self) -> dict[Any, Any]:
        """Return the options and the reranker, which pickles without its model."""
        state = BaseModel.__getstate__(self)
        fields = {name: v for name, v in state["__dict__"].items() if name != "callback_manager"}
        return {**state, "__dict__": fields}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        fields = {**state["__dict__"], "callback_manager": CallbackManager()}
        BaseModel.__setstate__(self, {**state, "__dict__": fields})


def refuse_model_options(names: Iterable[str]) -> None:
    """Raise if one of these options can only be chosen when the reranker is made.

    Raises:
        ConfigurationError: One of them is.
    """
    fixed = sorted((MODEL_OPTIONS | {"reranker"}) & set(names))
    if fixed:
        raise ConfigurationError(
            f"{', '.join(fixed)} cannot change where the loaded model is shared: "
            "make a new Qwen3Rerank"
        )
