"""The forms of the prompt: the text models', and that of the models that judge images, too.

Sources: `shared_core.prompt` for the text models; QwenLM/Qwen3-VL-Embedding at 8ce3aab,
``src/models/qwen3_vl_reranker.py``, for the others. Their fields have neither a newline after the
instruction nor a space after the last two colons, and nothing is thought before the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared_core.prompt import DEFAULT_INSTRUCTION, HEAD, SUFFIX, render_fields

IMAGE_START, IMAGE_END = "<|vision_start|>", "<|vision_end|>"
NOTHING = "NULL"
"""What stands for a content without a text and without images."""

VISION_INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."


@dataclass(frozen=True, slots=True)
class Form:
    """The literal parts of a prompt: ``head + fields + opening + document + suffix``.

    Attributes:
        head: The system message and the beginning of the user's.
        suffix: The end of the user's message and the beginning of the answer.
        fields: Returns the text between the head and the opening, of an instruction and a query.
        opening: What is read together with the document, since a tokenizer may join them.
        control_tokens: The control tokens in the head, the suffix and around images.
        default_instruction: The instruction where none is given.
    """

    head: str
    suffix: str
    fields: Callable[[str, str], str]
    opening: str
    control_tokens: tuple[str, ...]
    default_instruction: str

    def instruction(self, resolved: str) -> str:
        """Return an instruction in force, with this form's default for that of the text models."""
        return self.default_instruction if resolved == DEFAULT_INSTRUCTION else resolved


def opened_query(instruction: str) -> str:
    """Return the text from ``<Instruct>:`` up to the query, in the prompt for images."""
    return f"<Instruct>: {instruction}<Query>:"


def closed_query(query: str) -> str:
    """Return the text from the query up to ``<Document``, in the prompt for images.

    It ends before ``>:``, which Qwen's tokenizer joins with punctuation that follows.
    """
    return f"{query}\n<Document"


def _vision_fields(instruction: str, query: str) -> str:
    return opened_query(instruction) + closed_query(query)


TEXT_FORM = Form(
    HEAD,
    SUFFIX,
    render_fields,
    " ",
    ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    DEFAULT_INSTRUCTION,
)
VISION_FORM = Form(
    HEAD,
    "<|im_end|>\n<|im_start|>assistant\n",
    _vision_fields,
    ">:",
    ("<|im_start|>", "<|im_end|>", IMAGE_START, IMAGE_END),
    VISION_INSTRUCTION,
)
