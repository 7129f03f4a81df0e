"""The Qwen3-Reranker prompt as literal strings, and the instructions that training mixes in."""

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

SYSTEM = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

OTHER_INSTRUCTIONS = (
    "Given the user query, retrieval the relevant passages",
    "Retrieval document that can answer user's query",
    "Given a question, retrieve passages that answer the question",
    "Given a question about software, find the documentation that explains it",
    "Find the passage that contains the answer",
    "Given a few keywords, retrieve the paragraphs they were taken from",
    "Given a sentence, retrieve the text that it belongs to",
    "Retrieve Wikipedia paragraphs relevant to the query",
    "Given a customer question, retrieve help articles that resolve it",
    "Rank the documents by how well they match the query",
    "Search the company handbook for the section that answers the question",
    "Given a claim, retrieve documents that support or refute the claim",
    "Decide if the document is about the same topic as the query",
)


def instruction_head(instruction: str) -> str:
    """The prompt up to and including `<Query>:`; a space and the query follow."""
    return f"{SYSTEM}<Instruct>: {instruction}\n<Query>:"


def query_tail(query: str) -> str:
    """The prompt between `<Query>:` and the document; a space and the document follow."""
    return f" {query}\n<Document>:"
