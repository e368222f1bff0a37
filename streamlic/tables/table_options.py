"""Which format the tables of a lake have, and what it needs: checked before anything is read."""

from __future__ import annotations

import re
from importlib.util import find_spec

from streamlic.errors import UsageError

FORMATS = {"parquet": None, "delta": "deltalake", "iceberg": "pyiceberg"}
"""The table formats, each with the library that it needs. An extra has the format's name."""
PARTITIONS = ("export_date",)
MIN_ICEBERG_MEMORY_BYTES = 192 << 20
"""The smallest aim of a job that commits to Iceberg: pyiceberg takes 47 MiB of it, and more to
commit."""
_CATALOG = re.compile(r"[^\s.]+(\.[^\s.]+)*")


def check_table_options(
    format_name: str | None, *, partition_by: str | None, catalog: str | None, memory_bytes: int
) -> None:
    """Raise UsageError for a format that is unknown or cannot be used, or a wrong combination."""
    if format_name is not None and format_name not in FORMATS:
        raise UsageError(
            f"expected one of {', '.join(FORMATS)}, got {format_name!r}", parameter="format"
        )
    _check_partition(format_name, partition_by)
    _check_catalog(format_name, catalog)
    if format_name == "iceberg" and memory_bytes < MIN_ICEBERG_MEMORY_BYTES:
        raise UsageError(
            f"expected at least {MIN_ICEBERG_MEMORY_BYTES >> 20}MiB of memory for Iceberg, "
            f"got {memory_bytes >> 20}MiB",
            parameter="memory_bytes",
            advice="{format=delta} needs less",
        )
    if format_name is not None:
        check_library(format_name)


def check_library(format_name: str) -> None:
    """Raise UsageError if a format's library is not installed."""
    library = FORMATS[format_name]
    if library is not None and find_spec(library) is None:
        raise UsageError(
            f"{library} is not installed: pip install 'streamlic[{format_name}]'",
            parameter="format",
        )


def _check_partition(format_name: str | None, partition_by: str | None) -> None:
    if partition_by is None:
        return
    if partition_by not in PARTITIONS:
        raise UsageError(
            f"expected {' or '.join(PARTITIONS)}, got {partition_by!r}", parameter="partition_by"
        )
    if format_name in (None, "parquet"):
        raise UsageError(
            "plain Parquet has no partitions: they need a table format",
            parameter="partition_by",
            advice="choose {format=delta} or {format=iceberg}",
        )


def _check_catalog(format_name: str | None, catalog: str | None) -> None:
    if catalog is None:
        if format_name == "iceberg":
            raise UsageError(
                "Iceberg needs a catalog: its name in the configuration of pyiceberg "
                "(.pyiceberg.yaml, or PYICEBERG_CATALOG__NAME__URI)",
                parameter="catalog",
            )
        return
    if format_name != "iceberg":
        raise UsageError(
            f"a catalog is for Iceberg tables, and the format is {format_name or 'parquet'}",
            parameter="catalog",
            advice="add {format=iceberg}",
        )
    if not _CATALOG.fullmatch(catalog):
        raise UsageError(
            f"expected NAME or NAME.NAMESPACE, got {catalog[:50]!r}", parameter="catalog"
        )
