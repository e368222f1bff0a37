"""A row group in batches of few bytes, however large it is in memory.

Rules:
1. A row group takes more bytes in memory than in its file: a dictionary holds each value once, and
   a null in a list takes next to nothing. The estimate here counts both.
2. The estimate is an average. Of a row group that may be large, few rows are read at a time anyway:
   its large rows may be neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.storage.base import Store

_MOST_ROWS = 8_192
_FEW_ROWS = 64
_FEW_FROM_BATCHES = 16
_MOST_COPIES = 4
_VALUE_BYTES = 8
_NESTED_VALUE_BYTES = 16
"""What a value takes in memory besides its bytes: its offset, its null bit, its levels."""
_READ_BUFFER_BYTES = 64 << 10  # For each column.


@contextmanager
def opened(
    store: Store, name: str, dictionaries: list[str] | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a part file to read page by page; ``dictionaries`` are columns to leave encoded."""
    with (
        store.open(name) as content,
        pq.ParquetFile(
            content, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False, read_dictionary=dictionaries
        ) as file,
    ):
        yield file


def batches_of(
    store: Store, name: str, file: pq.ParquetFile, number: int, batch_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group in batches of about ``batch_bytes``."""
    rows = rows_at_once(store, name, file, number, batch_bytes)
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
    """Return the batches as one, and empty the list."""
    joined = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    batches.clear()
    return joined


def rows_at_once(
    store: Store,
    name: str,
    file: pq.ParquetFile,
    number: int,
    batch_bytes: int,
    *,
    columns: Collection[str] | None = None,
) -> int:
    """Return how many rows of a row group take about ``batch_bytes``.

    ``columns`` are those that are read, by default all.
    """
    group = file.metadata.row_group(number)
    rows = int(group.num_rows)
    size = _bytes_at_most(store, name, group, number, batch_bytes, wanted=columns)
    row_bytes = max(size // max(rows, 1), 1)
    is_large = size > batch_bytes * _FEW_FROM_BATCHES
    return min(max(batch_bytes // row_bytes, 1), _FEW_ROWS if is_large else _MOST_ROWS)


def _bytes_at_most(
    store: Store,
    name: str,
    group: pq.RowGroupMetaData,
    number: int,
    batch_bytes: int,
    *,
    wanted: Collection[str] | None,
) -> int:
    """Estimate what a row group takes in memory, rather too high than too low."""
    chunks = (group.column(place) for place in range(group.num_columns))
    columns = [
        one for one in chunks if wanted is None or one.path_in_schema.partition(".")[0] in wanted
    ]
    overhead = sum(
        column.num_values * (_NESTED_VALUE_BYTES if "." in column.path_in_schema else _VALUE_BYTES)
        for column in columns
    )
    sizes = {
        column.path_in_schema: column.data_page_offset - column.dictionary_page_offset
        for column in columns
        if column.has_dictionary_page and column.physical_type == "BYTE_ARRAY"
    }
    small = [column for column, size in sizes.items() if size <= batch_bytes // _MOST_COPIES]
    # Looking into a large one would take several times its bytes: assume that its values are long.
    repeated = sum(_longest(store, name, number, small)) + (len(sizes) - len(small)) * (
        batch_bytes // _MOST_COPIES
    )
    encoded = sum(column.total_uncompressed_size for column in columns)
    return int(encoded + overhead + repeated * group.num_rows)


def _longest(store: Store, name: str, number: int, columns: list[str]) -> list[int]:
    """Return the bytes of the longest value in each column's dictionary, which one row shows."""
    if not columns:
        return []
    with opened(store, name, columns) as file:
        row = next(file.iter_batches(1, row_groups=[number], columns=columns, use_threads=False))
    dictionaries = (
        column.dictionary for column in row.columns if isinstance(column, pa.DictionaryArray)
    )
    import pyarrow.compute as pc  # noqa: PLC0415  (slow to load, and few runs need it)

    return [pc.max(pc.binary_length(one)).as_py() or 0 for one in dictionaries]
