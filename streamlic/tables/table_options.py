"""Which format the tables of a lake have, and what it needs: checked before anything is read."""

from __future__ import annotations

import re
from importlib.util import find_spec

from streamlic.dataset.records import UNPARTITIONED, Format, WantedFormat
from streamlic.errors import DatasetConflict, UsageError
from streamlic.formatting import how_to_install

FORMATS = {"parquet": None, "delta": "deltalake", "iceberg": "pyiceberg"}
"""The table formats, each with the library that it needs. An extra has the format's name."""
PARTITIONS = ("export_date", UNPARTITIONED)
MIN_ICEBERG_MEMORY_BYTES = 192 << 20
"""The smallest aim of a job that commits to Iceberg: pyiceberg takes 47 MiB of it, and more to
commit."""
_CATALOG = re.compile(r"[^\s.]+(\.[^\s.]+)*")


def check_table_options(wanted: WantedFormat, *, memory_bytes: int) -> None:
    """Raise UsageError for a format that is unknown or cannot be used, or a wrong combination.

    What is left out may be the lake's own: ``format_for`` decides when that is known.
    """
    format_name = wanted.name
    if format_name is not None and format_name not in FORMATS:
        raise UsageError(
            f"expected one of {', '.join(FORMATS)}, got {format_name!r}", parameter="format"
        )
    if wanted.partition_by not in (None, *PARTITIONS):
        raise UsageError(
            f"expected {' or '.join(PARTITIONS)}, got {wanted.partition_by!r}",
            parameter="partition_by",
        )
    if wanted.catalog is not None and not _CATALOG.fullmatch(wanted.catalog):
        raise UsageError(
            f"expected NAME or NAME.NAMESPACE, got {wanted.catalog[:50]!r}", parameter="catalog"
        )
    if format_name is not None:
        _check_partition(format_name, wanted.partition_by)
        _check_catalog(format_name, wanted.catalog)
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
            f"{library} is not installed: {how_to_install(format_name)}",
            parameter="format",
        )


def format_for(where: str, wanted: WantedFormat | None, found: Format | None) -> Format:
    """Return the format of a lake: the one that it has, or that of a new one.

    Raises DatasetConflict, which names the option, if a lake has another than is wanted; UsageError
    if a new one lacks what its format needs.
    """
    wanted = wanted or WantedFormat()
    if found is not None:
        _check_same(where, wanted, found)
        return found
    name = wanted.name or "parquet"
    _check_partition(name, wanted.partition_by)
    _check_catalog(name, wanted.catalog)
    if name == "iceberg" and wanted.catalog is None:
        raise UsageError(
            "Iceberg needs a catalog: its name in the configuration of pyiceberg "
            "(.pyiceberg.yaml, or PYICEBERG_CATALOG__NAME__URI)",
            parameter="catalog",
        )
    by = None if wanted.partition_by == UNPARTITIONED else wanted.partition_by
    return Format(name=name, partition_by=by, catalog=wanted.catalog)


def needs_lake(wanted: WantedFormat) -> bool:
    """Return whether only the lake says if the options that are given are right."""
    is_without_catalog = wanted.name == "iceberg" and wanted.catalog is None
    is_for_any = wanted.name is None and bool(wanted.catalog or wanted.partition_by)
    return is_without_catalog or is_for_any


def _check_same(where: str, wanted: WantedFormat, found: Format) -> None:
    """Raise DatasetConflict for the first option that differs from the lake."""
    is_by = found.partition_by or UNPARTITIONED
    differing = ""
    if wanted.name not in (None, found.name):
        differing, is_now, asked = "format", f"a lake of {found.name} tables", wanted.name
    elif wanted.catalog not in (None, found.catalog):
        is_now = f"in the catalog {found.catalog}" if found.catalog else "in no catalog"
        differing, is_now, asked = "catalog", f"a lake {is_now}", f"the catalog {wanted.catalog}"
    elif wanted.partition_by not in (None, is_by):
        is_now = f"partitioned by {is_by}" if found.partition_by else "not partitioned"
        differing, asked = "partition_by", wanted.partition_by
    if differing:
        raise DatasetConflict(
            f"{where} is {is_now}, and was asked for {asked}",
            parameter=differing,
            advice=f"leave {{{differing}}} out, or choose another {{dest}}",
        )


def _check_partition(format_name: str, partition_by: str | None) -> None:
    if format_name == "parquet" and partition_by not in (None, UNPARTITIONED):
        raise UsageError(
            "plain Parquet has no partitions: they need a table format",
            parameter="partition_by",
            advice="choose {format=delta} or {format=iceberg}",
        )


def _check_catalog(format_name: str, catalog: str | None) -> None:
    if catalog is not None and format_name != "iceberg":
        raise UsageError(
            f"a catalog is for Iceberg tables, and the format is {format_name}",
            parameter="catalog",
            advice="add {format=iceberg}",
        )
