"""The HTTP service around a `Reranker` (extra ``serve``)."""
