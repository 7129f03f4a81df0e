"""The HTTP service: what `Reranker` does, for everything that speaks HTTP. Extra ``serve``."""
