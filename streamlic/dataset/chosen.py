"""Values to find in a column of a part file: by the statistics of its row groups, then by row."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class Chosen:
    """Texts to find in a column; None finds null."""

    def __init__(self, values: Iterable[str | None]) -> None:
        self._values = pa.array(list(values), pa.string())
        self._has_null = self._values.null_count > 0
        self._sorted = sorted(self._values.drop_null().to_pylist())

    def may_be_in(self, column: pq.ColumnChunkMetaData) -> bool:
        """Return whether a row group's column may hold any of them, by its statistics."""
        statistics = column.statistics
        if statistics is None or not statistics.has_null_count:
            return True
        if self._has_null and statistics.null_count:
            return True
        if not statistics.has_min_max:  # All are null, or too long.
            return bool(statistics.null_count < column.num_values)
        # Texts compare by code points, and UTF-8 in the same order.
        first = bisect_left(self._sorted, statistics.min)
        return first < len(self._sorted) and bool(self._sorted[first] <= statistics.max)

    def mask(self, column: Any) -> Any:
        """Return which of a column's values are among them."""
        import pyarrow.compute as pc  # noqa: PLC0415  (slow to load, and few runs need it)

        return pc.is_in(column, value_set=self._values)
