"""A row group in batches of few bytes, whatever it takes as a whole.

Rules:
1. What a row group takes in memory is not what it takes in its file: a dictionary holds each value
   once, and a null of a list takes next to nothing. Both are reckoned with here.
2. It is an average. Of a row group that may take much, few rows are read at once all the same: its
   large rows may lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_MOST_ROWS = 8_192
_FEW_ROWS = 64
_FEW_FROM_BATCHES = 16
_MOST_COPIES = 4
_VALUE_BYTES = 8
_NESTED_VALUE_BYTES = 16
"""Of a value in memory beside its own bytes: where it begins, whether it is null, its levels."""
_READ_BUFFER_BYTES = 64 << 10  # For each column.


def opened(path: Path, dictionaries: list[str] | None = None) -> pq.ParquetFile:
    """Open a part file to be read page by page; ``dictionaries`` are columns to be left encoded."""
    return pq.ParquetFile(
        path, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False, read_dictionary=dictionaries
    )


def batches_of(
    path: Path, file: pq.ParquetFile, number: int, batch_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group in batches of about ``batch_bytes``."""
    rows = _rows_at_once(path, file.metadata.row_group(number), number, batch_bytes)
    gathered: list[pa.RecordBatch] = []
    gathered_bytes = 0
    for batch in file.iter_batches(rows, row_groups=[number], use_threads=False):
        gathered.append(batch)
        gathered_bytes += batch.nbytes
        if gathered_bytes * 2 > batch_bytes:
            yield _joined(gathered)
            gathered_bytes = 0
    if gathered:
        yield _joined(gathered)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the batches as one, and forget them."""
    joined = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    batches.clear()
    return joined


def _rows_at_once(path: Path, group: pq.RowGroupMetaData, number: int, batch_bytes: int) -> int:
    """Return how many rows of a row group take about ``batch_bytes``."""
    rows: int = max(group.num_rows, 1)
    row_bytes = max(_bytes_at_most(path, group, number, batch_bytes) // rows, 1)
    is_large = row_bytes * rows > batch_bytes * _FEW_FROM_BATCHES
    return min(max(batch_bytes // row_bytes, 1), _FEW_ROWS if is_large else _MOST_ROWS)


def _bytes_at_most(path: Path, group: pq.RowGroupMetaData, number: int, batch_bytes: int) -> int:
    """Return about what a row group takes in memory, rather more than less."""
    columns = [group.column(place) for place in range(group.num_columns)]
    beside = sum(
        column.num_values * (_NESTED_VALUE_BYTES if "." in column.path_in_schema else _VALUE_BYTES)
        for column in columns
    )
    sizes = {
        column.path_in_schema: column.data_page_offset - column.dictionary_page_offset
        for column in columns
        if column.has_dictionary_page and column.physical_type == "BYTE_ARRAY"
    }
    small = [name for name, size in sizes.items() if size <= batch_bytes // _MOST_COPIES]
    # To look into a large one would take several times its bytes: so its values are long.
    repeated = sum(_longest(path, number, small)) + (len(sizes) - len(small)) * (
        batch_bytes // _MOST_COPIES
    )
    return int(group.total_byte_size + beside + repeated * group.num_rows)


def _longest(path: Path, number: int, names: list[str]) -> list[int]:
    """Return the bytes of the longest value in each column's dictionary, which one row shows."""
    if not names:
        return []
    with opened(path, names) as file:
        row = next(file.iter_batches(1, row_groups=[number], columns=names, use_threads=False))
    dictionaries = (
        column.dictionary for column in row.columns if isinstance(column, pa.DictionaryArray)
    )
    return [pc.max(pc.binary_length(one)).as_py() or 0 for one in dictionaries]
