"""What Delta's log says of a part file's rows, so that readers can skip it: from its footer.

Rules:
1. Only a file's footer is read, of several files at the same time.
2. A bound may be looser than the values, never tighter. A column without bounds has none.
3. Timestamps have milliseconds: a minimum is rounded down, a maximum up. Texts have 32 characters:
   a maximum that was cut ends with a character that is greater than what followed.

Source: "Per-file Statistics" in Delta's ``PROTOCOL.md``, and for long texts Delta on Spark
(``StatisticsCollection``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.dataset.records import PartFile
from streamlic.errors import IntegrityError
from streamlic.storage.base import NotFound, Store

_FILES_AT_ONCE = 16
_TEXT_CHARACTERS = 32
_LAST_ASCII, _LAST = "\x7f", "\U0010ffff"
_MILLISECOND = timedelta(milliseconds=1)


def stats_of(store: Store, files: Sequence[PartFile]) -> Iterator[str]:
    """Yield the statistics of each file, as JSON, in order.

    Raises IntegrityError if one is missing, or is not the file that was promised.
    """
    left = iter(files)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        # No more files than this are open, however many there are.
        while some := list(islice(left, _FILES_AT_ONCE)):
            yield from threads.map(lambda file: _stats(store, file), some)


def _stats(store: Store, file: PartFile) -> str:
    try:
        with store.open(file.name) as source:
            footer = pq.read_metadata(source)
    except NotFound as error:
        raise IntegrityError(
            f"a part file in {store.where()} was promised and is missing: {error}",
            advice="fetch again with {restart=True}, or into another {dest}",
        ) from error
    except pa.ArrowInvalid as error:
        raise IntegrityError(f"{store.where(file.name)}: not a Parquet file: {error}") from error
    if footer.num_rows != file.rows:
        raise IntegrityError(
            f"{store.where(file.name)}: the commit log promises {file.rows} rows, and it has "
            f"{footer.num_rows}"
        )
    lows, highs, nulls = dict[str, Any](), dict[str, Any](), dict[str, int]()
    for column in range(footer.num_columns):
        name = footer.schema.column(column).name
        if footer.schema.column(column).path != name:  # Inside a list: Delta has none of these.
            continue
        chunks = [
            footer.row_group(group).column(column).statistics
            for group in range(footer.num_row_groups)
        ]
        if not chunks or not all(chunk and chunk.has_null_count for chunk in chunks):
            continue
        nulls[name] = sum(chunk.null_count for chunk in chunks)
        bounds = _bounds([chunk for chunk in chunks if chunk.num_values])
        if bounds:
            lows[name], highs[name] = bounds
    return json.dumps(
        {"numRecords": file.rows, "minValues": lows, "maxValues": highs, "nullCount": nulls}
    )


def _bounds(chunks: list[pq.Statistics]) -> tuple[Any, Any] | None:
    """Return a column's bounds, as the log writes them; None if it has none."""
    if not chunks or not all(chunk.has_min_max for chunk in chunks):
        return None
    try:
        low, high = min(chunk.min for chunk in chunks), max(chunk.max for chunk in chunks)
        if isinstance(low, bool):
            return None
        if isinstance(low, int):
            return low, high
        if isinstance(low, float):
            return (low, high) if math.isfinite(low) and math.isfinite(high) else None
        if isinstance(low, datetime):
            return _moment(low), _moment(high, is_lifted=True)
    except (OverflowError, ValueError):  # A time before the year 1, or after 9999.
        return None
    return _text(low), _text(high, is_lifted=True)


def _moment(value: datetime, *, is_lifted: bool = False) -> str:
    below = value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=None)
    if is_lifted and value.microsecond % 1000:
        below += _MILLISECOND
    return f"{below.isoformat(timespec='milliseconds')}Z"


def _text(value: str, *, is_lifted: bool = False) -> str:
    size = _TEXT_CHARACTERS
    if not is_lifted or len(value) <= size:
        return value[:size]
    while size < len(value) and value[size] == _LAST:
        size += 1
    if size == len(value):
        return value
    return value[:size] + (_LAST_ASCII if value[size] < _LAST_ASCII else _LAST)
