"""Scoring by any reranking server, through httpx."""
