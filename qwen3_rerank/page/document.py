"""The page's HTML document, made once: right behind any path prefix, with its security policy."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass

import httpx
from starlette.types import ASGIApp

# Gradio writes an address of the page into the document. Which one it is only the browser knows:
# a proxy may have other names, ports and path prefixes.
ROOT = "http://page.invalid"
_ROOT_IN_BROWSER = 'location.origin + location.pathname.replace(/\\/+$/, "")'
# It would be looked for outside the page's path, as would an icon that is not named.
_MANIFEST = '<link rel="manifest" href="/manifest.json" />'
_ICON = '<link rel="icon" href="./favicon.ico" />'
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
# Gradio makes functions of text at run time, and elements with styles of their own.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' {scripts}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Document:
    """The document.

    Attributes:
        compressed: The same, by gzip.
        policy: The value of its ``Content-Security-Policy``.
    """

    content: bytes
    compressed: bytes
    policy: str


async def made(app: ASGIApp) -> Document:
    """Return the document of a Gradio application whose root is `ROOT`.

    Raises:
        RuntimeError: The document is not as expected.
    """
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=ROOT) as client:
        reply = await client.get("/")
    root = json.dumps(ROOT)
    if reply.status_code != 200 or root not in reply.text:
        raise RuntimeError(f"Gradio's document is not as expected (HTTP {reply.status_code})")
    text = reply.text.replace(root, _ROOT_IN_BROWSER).replace(_MANIFEST, _ICON)
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(text)]
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    content = text.encode()
    return Document(content, gzip.compress(content, mtime=0), _POLICY.format(scripts=scripts))
