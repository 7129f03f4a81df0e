"""`/docs`: the routes on one page that needs nothing from elsewhere, so it works offline."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from qwen3_rerank.service.middleware import OPEN_PATHS

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem; }
code, pre { font: 14px/1.45 ui-monospace, Consolas, monospace; }
pre { padding: .75rem; overflow-x: auto; background: #8881; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; }
tr + tr td { border-top: 1px solid #8883; }
"""

_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
DOCS_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The page's ``Content-Security-Policy``: nothing but its own style."""

_EXAMPLES: dict[str, dict[str, Any]] = {
    "/rerank": {
        "query": "Which planet is red?",
        "documents": ["Venus is hot.", "Mars looks red."],
        "instruction": "Find the answer",
        "top_n": 1,
    },
    "/v1/rerank": {
        "model": "any",
        "query": "Which planet is red?",
        "documents": ["Venus is hot.", "Mars looks red."],
    },
    "/v2/rerank": {
        "model": "any",
        "query": "Which planet is red?",
        "documents": ["Venus is hot.", "Mars looks red."],
    },
    "/rerank/batch": {
        "queries": ["Which planet is red?", "And which is hot?"],
        "documents_batch": [["Venus is hot.", "Mars looks red."], ["Venus is hot."]],
    },
    "/score": {"text_1": "Which planet is red?", "text_2": ["Venus is hot.", "Mars looks red."]},
    "/v1/score": {"text_1": "Which planet is red?", "text_2": ["Mars looks red."]},
    "/api/predict": {"query": "Which planet is red?", "documents": ["Mars looks red."]},
}


def docs_page(document: Mapping[str, Any], *, needs_key: bool, has_page: bool) -> str:
    """Return the page for an OpenAPI document.

    Args:
        document: The document, with the request bodies' schemas in place.
    """
    title = f"{document['info']['title']} {document['info']['version']}"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width"><link rel=icon href="data:,">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(document['info']['description'])} ",
        'For programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation, needs_key))
    rest = [("/docs", "This page."), ("/openapi.json", "The routes for programs, as OpenAPI.")]
    if has_page:
        rest.append(("/ui", "A page to try it on, for browsers."))
    for path, text in rest:
        parts.append(_operation(path, "get", {"description": text}, needs_key))
    return "".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any], needs_key: bool) -> str:
    text = operation.get("description") or operation.get("summary") or ""
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(text)}</p>"]
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    is_open = path in OPEN_PATHS
    body = None if schema is None else _EXAMPLES.get(path) or _example(schema)
    parts.append(f"<pre>{escape(_curl(path, body, needs_key and not is_open))}</pre>")
    if schema is not None:
        required = schema.get("required", [])
        rows = [
            f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}"
            f"<td>{escape(_type(field))}<td>{escape(field.get('description', ''))}"
            for name, field in schema["properties"].items()
        ]
        parts.append(f"<table>{''.join(rows)}</table>")
    return "".join(parts)


def _curl(path: str, body: object, needs_key: bool) -> str:
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    head = f"curl http://localhost:8000{path}{key}"
    if body is None:
        return head
    text = json.dumps(body, ensure_ascii=False)
    return f"{head} \\\n  -H 'Content-Type: application/json' -d '{text}'"


def _example(schema: Mapping[str, Any]) -> object:
    """Return the least that fits a schema: what is required, filled in by type."""
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        return {name: _example(fields.get(name, {})) for name in schema.get("required", [])}
    if kind == "array":
        return [_example(schema.get("items", {}))]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0])
    return {"integer": 1, "number": 0.5, "boolean": True}.get(str(kind), "…")


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        kinds = dict.fromkeys(_type(option) for option in field["anyOf"])
        return " or ".join(kind for kind in kinds if kind and kind != "null")
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {})) or 'anything'}"
    if field.get("type") == "object" and "properties" in field:
        return "{" + ", ".join(field["properties"]) + "}"
    return str(field.get("type", ""))
