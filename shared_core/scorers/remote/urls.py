"""URLs of routes, from base URLs with or without the end of a route."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_ROUTE = re.compile(
    r"(?<!/)(/v[12])?"  # what follows two slashes is a host
    r"(/(rerank|reranks|reranking|score|classify|completions|generative_scoring|ranking))?$"
)


def server_root(base_url: str) -> str:
    """Return the address of a server without any route that the user gave.

    >>> server_root("http://localhost:8000/v1"), server_root("http://gate/qwen/v1/rerank/")
    ('http://localhost:8000', 'http://gate/qwen')
    """
    return _ROUTE.sub("", base_url.rstrip("/")).rstrip("/")


def route(base_url: str, path: str, model: str = "") -> str:
    """Return the URL of a route; a base URL that ends with the route is kept.

    >>> route("http://localhost:8000/v2", "/v1/rerank")
    'http://localhost:8000/v1/rerank'
    >>> route("http://localhost:8000/v2/rerank", "/v1/rerank")
    'http://localhost:8000/v2/rerank'
    """
    address = base_url.rstrip("/")
    end = path.rstrip("/").rpartition("/")[2]
    if end and urlsplit(address).path.rpartition("/")[2] == end:
        return address
    return join(server_root(address), path, model)


def join(root: str, path: str, model: str = "") -> str:
    """Join a root and a path; segments that end one and begin the other appear once.

    >>> join("https://api.novita.ai/openai", "/openai/v1/rerank")
    'https://api.novita.ai/openai/v1/rerank'
    >>> join("https://api.deepinfra.com", "/v1/inference/{model}", "Qwen/Qwen3-Reranker-8B")
    'https://api.deepinfra.com/v1/inference/Qwen/Qwen3-Reranker-8B'
    """
    has = [part for part in urlsplit(root).path.split("/") if part]
    wants = [part for part in path.split("/") if part]
    for length in range(min(len(has), len(wants)), 0, -1):
        if has[-length:] == wants[:length]:
            wants = wants[length:]
            break
    tail = "/".join(wants).replace("{model}", quote(model, safe="/:"))
    return f"{root}/{tail}" if tail else root
