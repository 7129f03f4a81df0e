"""A LlamaIndex component that holds the options: construction, copies and serialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import (
    BaseModel,
    Field,
    field_validator,
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
from llama_index_qwen3_rerank.vectors import EmbedModel
from shared_core.adapter import AdapterCallOptions, AdapterOptions, refuse_dialect_object
from shared_core.no_answer import refuse_function
from shared_core.options import Instruction

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class CallOptions(AdapterCallOptions, total=False):
    """The options that a copy may change, since they do not affect the model."""

    instruction: Instruction | BasePromptTemplate | None
    embed_model: EmbedModel | None
    metadata_mode: MetadataMode
    images: bool
    keep_retrieval_score: bool
    callback_manager: CallbackManager


class RerankerComponent(InstructionPrompts, AdapterOptions, BaseNodePostprocessor):
    """The options of a postprocessor, and the `Reranker` made from them.

    Making, copying, dumping and restoring one loads no model.
    """

    shared_with_copies = (*AdapterOptions.shared_with_copies, "callback_manager", "embed_model")

    metadata_mode: MetadataMode = MetadataMode.EMBED
    images: bool = True
    keep_retrieval_score: bool = True
    embed_model: EmbedModel | None = Field(default=None, exclude=True, repr=False)

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy with other options that shares the loaded model.

        Args:
            **options: What is left out stays as it is.

        Raises:
            ConfigurationError: An option belongs to the model: that takes a new `Qwen3Rerank`.
            ValueError: An option is unknown or out of range, or contradicts another one.
        """
        return self._changed(options)

    @field_validator("instruction", mode="before")
    @classmethod
    def _accept_templates(cls, value: Any) -> Any:
        """Accept a `PromptTemplate`, or its form in the output of `to_dict`."""
        if isinstance(value, BasePromptTemplate):
            return instruction_from_prompt(value)
        if isinstance(value, dict) and value.keys() == {"template"}:
            return InstructionTemplate(value["template"])
        return value

    def to_json(self, **kwargs: Any) -> str:
        """Return the options as JSON.

        Raises:
            TypeError: The instruction or ``on_no_answer`` is a function, or the dialect an object.
        """
        if callable(self.instruction) and not isinstance(self.instruction, InstructionTemplate):
            raise TypeError(
                "the instruction is a function, which JSON cannot hold; "
                'use a PromptTemplate with "{query_str}"'
            )
        refuse_dialect_object(self.dialect)
        refuse_function(self.on_no_answer)
        return super().to_json(**kwargs)

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
