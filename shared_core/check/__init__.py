"""`Reranker.check`: does a model or a server score as Qwen3-Reranker should?"""
