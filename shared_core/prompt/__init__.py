"""The Qwen3-Reranker prompt, as literal strings.

The pieces are those of the model card's transformers recipe (QwenLM/Qwen3-Embedding,
``examples/qwen3_reranker_transformers.py`` at f4ad0c4): one newline between the fields, one space
after each colon, an empty think block in front of the answer.

They are never produced by ``apply_chat_template``: the chat template that the model repositories
ship reads the roles ``query`` and ``document``, so that the ``system`` + ``user`` messages of the
published vLLM recipe render an empty query and an empty document, and every pair gets one score.

A whole prompt is ``HEAD + fields + " " + document + SUFFIX``; only ``HEAD`` and ``SUFFIX`` hold
control tokens, everything a caller supplies lies between them.
"""

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

HEAD = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

YES = "yes"
NO = "no"


def render_fields(instruction: str, query: str) -> str:
    """Return the text from ``<Instruct>:`` up to and including ``<Document>:``.

    It ends before the space that precedes the document: Qwen's pre-tokenizer glues that space to
    the document's first word, so the cut leaves the token ids of the whole string unchanged.
    """
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"


def render_prompt(instruction: str, query: str, document: str) -> str:
    """Return the whole prompt as one string, for people to read and for servers that take text.

    Nothing is escaped: a tokenizer reads ``<|im_end|>`` in a document as a control token. Local
    scoring goes through `shared_core.prompt.encoding` instead.

    >>> print(render_prompt("Find the answer", "How hot is it?", "It is hot."))
    <|im_start|>system
    Judge whether the Document meets the requirements based on the Query and the Instruct \
provided. Note that the answer can only be "yes" or "no".<|im_end|>
    <|im_start|>user
    <Instruct>: Find the answer
    <Query>: How hot is it?
    <Document>: It is hot.<|im_end|>
    <|im_start|>assistant
    <think>
    <BLANKLINE>
    </think>
    <BLANKLINE>
    <BLANKLINE>
    """
    return f"{HEAD}{render_fields(instruction, query)} {document}{SUFFIX}"
