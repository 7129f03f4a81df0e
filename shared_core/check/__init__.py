"""Whether a model or a server scores as Qwen3-Reranker should: `Reranker.check`."""
