"""Scoring by a server: any that reranks, through httpx."""
