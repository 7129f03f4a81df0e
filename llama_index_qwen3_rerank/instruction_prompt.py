"""The instruction as a LlamaIndex prompt, which can be read, replaced and contain the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.prompts.mixin import PromptDictType, PromptMixin, PromptMixinType
from llama_index.core.prompts.utils import get_template_vars

from shared_core import DEFAULT_INSTRUCTION

if TYPE_CHECKING:
    from shared_core.options import Instruction

QUERY_PLACEHOLDER = "{query_str}"


@dataclass(frozen=True, slots=True)
class InstructionTemplate:
    """An instruction that contains the query, as a function of it.

    >>> InstructionTemplate("Find what answers: {query_str}")("who?")
    'Find what answers: who?'
    """

    template: str

    def __call__(self, query: str) -> str:
        """Return the instruction for one query."""
        return self.template.replace(QUERY_PLACEHOLDER, query)


def instruction_from_prompt(prompt: BasePromptTemplate) -> str | InstructionTemplate:
    """Return the instruction that is equivalent to a prompt template.

    Raises:
        ValueError: The prompt is not a `PromptTemplate`, computes its variables with functions, or
            has other variables than ``query_str``, which nothing here could fill.
    """
    if not isinstance(prompt, PromptTemplate):
        raise ValueError(
            f"the instruction must be a PromptTemplate, got {type(prompt).__name__}: "
            "Qwen3-Reranker's prompt has one sentence for it, no roles"
        )
    if prompt.function_mappings or prompt.output_parser is not None:
        raise ValueError(
            "function_mappings and output_parser have no effect on an instruction; "
            "give a function of the query as the instruction instead"
        )
    # Filling the variable in with itself applies the partial arguments and renamed variables.
    text = prompt.format(query_str=QUERY_PLACEHOLDER)
    unknown = sorted(set(get_template_vars(text)) - {"query_str"})
    if unknown:
        raise ValueError(
            f"an instruction can contain {QUERY_PLACEHOLDER} only, got {{{'}, {'.join(unknown)}}}"
        )
    return InstructionTemplate(text) if QUERY_PLACEHOLDER in text else text


class InstructionPrompts(PromptMixin):
    """A mixin with `get_prompts` and `update_prompts` for the prompt ``"instruction"``.

    A class of its own, because LlamaIndex opens a tracing span for each of these three methods
    that a postprocessor class defines itself.
    """

    if TYPE_CHECKING:
        instruction: Instruction | None

    def _get_prompts(self) -> PromptDictType:
        """Return the instruction; nothing if it is a function, which no template can express."""
        instruction = DEFAULT_INSTRUCTION if self.instruction is None else self.instruction
        if isinstance(instruction, InstructionTemplate):
            return {"instruction": PromptTemplate(instruction.template)}
        return {"instruction": PromptTemplate(instruction)} if isinstance(instruction, str) else {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        """Replace the instruction.

        Raises:
            ValueError: There is no such prompt here, or it cannot be an instruction.
        """
        unknown = sorted(key for key in prompts if key != "instruction")
        if unknown:
            raise ValueError(f'the only prompt here is "instruction", got {unknown}')
        if "instruction" in prompts:
            self.instruction = instruction_from_prompt(prompts["instruction"])

    def _get_prompt_modules(self) -> PromptMixinType:
        """Return nothing: no other module is inside."""
        return {}
