"""Columns of an input, and which of the two layouts it has."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Literal

from qwen3_rerank.batch.errors import BatchInputError

Layout = Literal["pairs", "lists"]
IdType = Literal["int64", "uint64", "text", "null"]
"""What a column of ids holds; ``"null"`` if a parquet file says that it has no values at all."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns.

    ``query`` and one of ``document`` (a row is a pair) and ``documents`` (a row is a query with a
    list) have to be there; the ids are used where they are.

    Attributes:
        query_id: Names a query; a string or an integer. Without it, equal texts are one query.
        query: The text of the query.
        document_id: Names a document; a string or an integer.
        document: The text of the document.
        documents: A list of texts.
        document_ids: A list of ids, as long as ``documents``.
        image: A document's images: a path, a URL or a ``data:`` address, or a list of them; in rows
            of lists, such a value for each document. Only read if it is named.
        query_image: A query's images, likewise.
    """

    query_id: str = "query_id"
    query: str = "query"
    document_id: str = "document_id"
    document: str = "document"
    documents: str = "documents"
    document_ids: str = "document_ids"
    image: str | None = None
    query_image: str | None = None

    @property
    def has_images(self) -> bool:
        """Whether a column of images is named."""
        return self.image is not None or self.query_image is not None


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns that one input has.

    Attributes:
        layout: Whether a row is a pair, or a query with a list of documents.
        texts: The column of documents, or of lists of them; ``None`` if all of them are images.
        ids: The column of document ids, or of lists of them, if there is one.
        query_id_type, id_type: The types of the ids, if a parquet file tells them; a parquet output
            holds them alike.
        images, query_images: The columns of images, if they are named.
        folder: Where images are that have a path without a root.
    """

    layout: Layout
    query: str
    texts: str | None
    query_id: str | None
    ids: str | None
    query_id_type: IdType = "text"
    id_type: IdType = "text"
    images: str | None = None
    query_images: str | None = None
    folder: str = ""

    @property
    def key(self) -> str:
        """The column that tells queries apart."""
        return self.query_id or self.query

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        found = (
            *(self.query_id, self.query, self.ids, self.texts),
            *(self.images, self.query_images),
        )
        return [name for name in found if name is not None]


def shape_of(names: Collection[str], columns: Columns, where: str) -> Shape:
    """Return the shape of an input with columns of these names.

    Raises:
        BatchInputError: A column is missing, or there is one too many.
    """
    given = [getattr(columns, field.name) for field in fields(columns)]
    named = [name for name in given if name is not None]
    if len(set(named)) < len(named):
        raise BatchInputError(f"two columns have one name: {', '.join(named)}")
    there = ", ".join(map(str, names)) or "none"
    if columns.query not in names:
        raise BatchInputError(
            f"{where} has no column {columns.query!r} (there are: {there}); name the one that "
            "holds the query (--query-column)"
        )
    for name in (columns.image, columns.query_image):
        if name is not None and name not in names:
            raise BatchInputError(f"{where} has no column {name!r} of images (there are: {there})")
    is_pairs, is_lists = columns.document in names, columns.documents in names
    if columns.image is not None and not is_lists:
        is_pairs = True
    if is_pairs == is_lists:
        raise BatchInputError(
            f"{where} has {'both' if is_pairs else 'neither'} of {columns.document!r} (a document "
            f"a row) and {columns.documents!r} (a list a row); there are: {there}. Name the one "
            "that holds the texts (--document-column or --documents-column)"
        )
    if columns.query_image is not None and columns.query_id not in names:
        raise BatchInputError(
            f"{where} has no column {columns.query_id!r}, which tells queries with images apart; "
            f"there are: {there}. Name the one that holds their ids (--query-id-column)"
        )
    ids = columns.document_id if is_pairs else columns.document_ids
    texts = columns.document if is_pairs else columns.documents
    return Shape(
        "pairs" if is_pairs else "lists",
        columns.query,
        texts if texts in names else None,
        columns.query_id if columns.query_id in names else None,
        ids if ids in names else None,
        images=columns.image,
        query_images=columns.query_image,
        folder=os.getcwd() if columns.has_images else "",
    )
