"""Ray datasets as inputs: they are written to disk once, since their rows have no fixed place.

What a dataset yields may come in another order, or be other rows, the next time it is run; blocks
of it could not be done again. So the copy is the input, also after a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qwen3_rerank.batch.errors import BatchInputError
from qwen3_rerank.reading.folders import OutputFolder

FOLDER = ".dataset"
_ROWS_OF_A_GROUP = 4096
_ROWS_OF_A_FILE = 1 << 18


def is_dataset(value: Any) -> bool:
    """Return whether a value is a Ray dataset, without importing Ray."""
    return any(
        kind.__module__.partition(".")[0] == "ray" and kind.__name__ == "Dataset"
        for kind in type(value).__mro__
    )


def copy_dataset(dataset: Any, out: OutputFolder) -> Path:
    """Return the folder with a dataset's rows, in parquet files.

    Raises:
        BatchInputError: The dataset has no rows, or rows of different types.
    """
    out.remove_tree(FOLDER)
    folder = out.folder(FOLDER, create=True).path
    writer: pq.ParquetWriter | None = None
    written = 0
    try:
        for table in dataset.iter_batches(batch_format="pyarrow", batch_size=_ROWS_OF_A_GROUP):
            if writer is None or written % _ROWS_OF_A_FILE == 0:
                if writer is not None:
                    writer.close()
                path = folder / f"part-{written // _ROWS_OF_A_FILE:06d}.parquet"
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
            written += len(table)
    except pa.ArrowException as error:
        raise BatchInputError(f"the dataset's rows differ in their types: {error}") from error
    finally:
        if writer is not None:
            writer.close()
    if not written:
        raise BatchInputError("the dataset has no rows")
    return folder
