"""Images of LlamaIndex nodes and queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llama_index.core.schema import BaseNode, ImageNode, Node, NodeWithScore, QueryBundle

from shared_core import Content
from shared_core.images.content import ImageSource
from shared_core.images.parts import of_base64


def query_content(query: QueryBundle) -> str | Content:
    """Return a query's text, with the image that its ``image_path`` names."""
    if query.image_path is None:
        return query.query_str
    return Content(query.query_str, [query.image_path])


def node_contents(nodes: Sequence[NodeWithScore], texts: Sequence[str]) -> list[str | Content]:
    """Return the text of each node, with its image if it has one."""
    found = ((_image(node.node), text) for node, text in zip(nodes, texts, strict=True))
    return [text if image is None else Content(text, [image]) for image, text in found]


def _image(node: BaseNode) -> ImageSource | None:
    """Return the image of an `ImageNode`, or a node's image resource: data, path or URL."""
    if isinstance(node, ImageNode):
        return _first(node.image, node.image_path, node.image_url)
    if isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        return _first(resource.data, resource.path, resource.url)
    return None


def _first(
    data: str | bytes | None, path: str | Path | None, url: object | None
) -> ImageSource | None:
    if data:
        return of_base64(data)
    return path or (str(url) if url else None)
