"""The table formats by name; those that need an extra are imported only when they are used."""

from __future__ import annotations

from streamlic.dataset.records import Format
from streamlic.storage.base import Store
from streamlic.tables.parquet import ParquetFormat
from streamlic.tables.table_format import TableFormat
from streamlic.tables.table_options import check_library


def format_of(store: Store, chosen: Format) -> TableFormat:
    """Return the format of the tables in this store; UsageError if its library is missing."""
    if chosen.name == "parquet":
        return ParquetFormat(store)
    check_library(chosen.name)
    if chosen.name == "iceberg":
        from streamlic.tables.iceberg import IcebergFormat  # noqa: PLC0415  # an extra

        return IcebergFormat(store, chosen.catalog or "", partition_by=chosen.partition_by)
    from streamlic.tables.delta import DeltaFormat  # noqa: PLC0415  # an extra

    return DeltaFormat(store, partition_by=chosen.partition_by)
