"""Scores and ranked lists as parquet or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from qwen3_rerank.batch.columns import IdType, Shape
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.rows import Judged
from shared_core.ranking import rank


def write_scores(stream: BinaryIO, job: Job, shape: Shape, judged: Sequence[Judged]) -> None:
    """Write one row per pair, in the order of the input."""
    schema = [("row", pa.int64())]
    if shape.layout == "lists":
        schema.append(("index", pa.int32()))
    if shape.query_id is not None:
        schema.append(("query_id", _id_type(shape.query_id_type)))
    if shape.ids is not None:
        schema.append(("document_id", _id_type(shape.id_type)))
    schema += [
        ("score", pa.float64()),
        ("logit", pa.float64()),
        ("n_tokens", pa.int32()),
        ("truncated", pa.bool_()),
    ]
    if job.calibration:
        schema.append(("probability", pa.float64()))
    if job.has_windows:
        schema += [("window_start", pa.int64()), ("window_end", pa.int64())]
    names = [name for name, _ in schema]
    rows = ({name: getattr(pair, name) for name in names} for pair in judged)
    _write(stream, job, pa.schema(schema), rows)


def write_rankings(stream: BinaryIO, job: Job, shape: Shape, judged: Sequence[Judged]) -> None:
    """Write one row per query, its documents best first; ``row`` is that of its first document."""
    place = "row" if shape.layout == "pairs" else "index"
    places = "rows" if shape.layout == "pairs" else "indexes"
    schema = [("row", pa.int64())]
    if shape.query_id is not None:
        schema.append(("query_id", _id_type(shape.query_id_type)))
    else:
        schema.append(("query", pa.large_string()))
    if shape.ids is not None:
        schema.append(("document_ids", pa.list_(_id_type(shape.id_type))))
    schema += [
        (places, pa.list_(pa.int64())),
        ("scores", pa.list_(pa.float64())),
        ("logits", pa.list_(pa.float64())),
    ]
    if job.calibration:
        schema += [("probabilities", pa.list_(pa.float64())), ("no_answer", pa.float64())]
    if job.has_windows:
        schema += [(name, pa.list_(pa.int64())) for name in ("window_starts", "window_ends")]
    names = {name for name, _ in schema}

    def rows() -> Iterator[dict[str, Any]]:
        for query in _queries(judged, shape):
            kept = [query[index] for index in _order(query, job)]
            row = {
                "row": query[0].row,
                "query_id": query[0].query_id,
                "query": query[0].query,
                "document_ids": [pair.document_id for pair in kept],
                places: [getattr(pair, place) for pair in kept],
                "scores": [pair.score for pair in kept],
                "logits": [pair.logit for pair in kept],
                "probabilities": [pair.probability for pair in kept],
                "no_answer": _no_answer(query),
                "window_starts": [pair.window_start for pair in kept],
                "window_ends": [pair.window_end for pair in kept],
            }
            yield {name: value for name, value in row.items() if name in names}

    _write(stream, job, pa.schema(schema), rows())


def _order(query: Sequence[Judged], job: Job) -> list[int]:
    """Return which documents to keep, best first."""
    options = job.ranking
    probabilities = [pair.probability for pair in query if pair.probability is not None]
    return rank(
        [pair.logit for pair in query],
        top_k=options.top_k,
        score_threshold=options.score_threshold,
        probabilities=probabilities or None,
        min_probability=options.min_probability,
        min_docs=options.min_docs,
    )


def _no_answer(query: Sequence[Judged]) -> float | None:
    """Return the probability that no document of a query is right, of those not kept, too."""
    calibration = query[0].calibration
    return None if calibration is None else calibration.no_answer_of([p.logit for p in query])


def _queries(judged: Sequence[Judged], shape: Shape) -> Iterator[list[Judged]]:
    """Yield the pairs of one query after another."""
    if shape.layout == "lists":
        groups = groupby(judged, lambda pair: pair.row)
    elif shape.query_id is not None:
        groups = groupby(judged, lambda pair: pair.query_id)
    else:
        groups = groupby(judged, lambda pair: pair.query)
    for _, group in groups:
        yield list(group)


def _id_type(kind: IdType) -> pa.DataType:
    return {"int64": pa.int64(), "uint64": pa.uint64()}.get(kind, pa.large_string())


def _write(stream: BinaryIO, job: Job, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    if job.format == "jsonl":
        stream.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        return
    # Column by column, ids as text where the input does not say that they are integers.
    table = list(rows)
    columns = [
        pa.array([_plain(row[field.name], field.type) for row in table], type=field.type)
        for field in schema
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), stream, compression="zstd")


def _plain(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_plain(item, kind.value_type) for item in value]
    return str(value) if pa.types.is_large_string(kind) and value is not None else value
