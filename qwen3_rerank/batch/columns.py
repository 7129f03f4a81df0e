"""Columns of an input, and which of the two layouts it has."""

from __future__ import annotations

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
    """

    query_id: str = "query_id"
    query: str = "query"
    document_id: str = "document_id"
    document: str = "document"
    documents: str = "documents"
    document_ids: str = "document_ids"


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns that one input has.

    Attributes:
        layout: Whether a row is a pair, or a query with a list of documents.
        query: The column of queries.
        texts: The column of documents, or of lists of them.
        query_id: The column of query ids, if there is one.
        ids: The column of document ids, or of lists of them, if there is one.
        query_id_type, id_type: The types of the ids, if a parquet file tells them; a parquet output
            holds them alike.
    """

    layout: Layout
    query: str
    texts: str
    query_id: str | None
    ids: str | None
    query_id_type: IdType = "text"
    id_type: IdType = "text"

    @property
    def key(self) -> str:
        """The column that tells queries apart."""
        return self.query_id or self.query

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        found = (self.query_id, self.query, self.ids, self.texts)
        return [name for name in found if name is not None]


def shape_of(names: Collection[str], columns: Columns, where: str) -> Shape:
    """Return the shape of an input with columns of these names.

    Raises:
        BatchInputError: A column is missing, or there is one too many.
    """
    named = [getattr(columns, field.name) for field in fields(columns)]
    if len(set(named)) < len(named):
        raise BatchInputError(f"two columns have one name: {', '.join(named)}")
    there = ", ".join(map(str, names)) or "none"
    if columns.query not in names:
        raise BatchInputError(
            f"{where} has no column {columns.query!r} (there are: {there}); name the one that "
            "holds the query (--query-column)"
        )
    is_pairs, is_lists = columns.document in names, columns.documents in names
    if is_pairs == is_lists:
        raise BatchInputError(
            f"{where} has {'both' if is_pairs else 'neither'} of {columns.document!r} (a document "
            f"a row) and {columns.documents!r} (a list a row); there are: {there}. Name the one "
            "that holds the texts (--document-column or --documents-column)"
        )
    ids = columns.document_id if is_pairs else columns.document_ids
    return Shape(
        "pairs" if is_pairs else "lists",
        columns.query,
        columns.document if is_pairs else columns.documents,
        columns.query_id if columns.query_id in names else None,
        ids if ids in names else None,
    )
