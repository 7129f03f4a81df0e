"""The prompt's literal bytes."""

import hashlib

from shared_core import prompt


def test_the_prompt_is_the_model_cards_byte_for_byte() -> None:
    assert prompt.render_prompt("I", "Q", "D") == (
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
        "<Instruct>: I\n<Query>: Q\n<Document>: D<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_nothing_around_the_texts_changes_unnoticed() -> None:
    """A digest, so that an edit of both this file and the prompt has to be meant."""
    text = prompt.render_prompt(prompt.DEFAULT_INSTRUCTION, "", "")
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "65e8c9e512d80b473813e0c5672480a79e352906eed1e07f2bfd61a518da244c"


def test_the_texts_are_put_in_as_they_are() -> None:
    """Braces, percent signs and newlines are not formatting."""
    assert prompt.render_fields("{query}", "%s {0}") == (
        "<Instruct>: {query}\n<Query>: %s {0}\n<Document>:"
    )
