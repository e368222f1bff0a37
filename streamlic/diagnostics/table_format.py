"""Whether the tables of a lake can have their format: its library, options, memory and catalog."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from streamlic.dataset.lake import LICENSES
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import Format, WantedFormat
from streamlic.diagnostics.check import Check, failed
from streamlic.errors import StreamlicError
from streamlic.storage.base import Store
from streamlic.tables.formats import format_of
from streamlic.tables.table_format import Change
from streamlic.tables.table_options import (
    FORMATS,
    check_library,
    check_table_options,
    format_for,
)


def check_format(
    wanted: WantedFormat,
    store: Store | None,
    lake: LakeState,
    *,
    memory_bytes: int,
    is_online: bool = True,
) -> Check:
    """Check the format that was asked for, or else the one that a lake has.

    ``store`` is where the lake is, or would be: its tables are tried as an export tries them.
    """
    facts: dict[str, Any] = {
        "format": wanted.name, "partition_by": wanted.partition_by, "catalog": wanted.catalog,
        "exists": None,
    }  # fmt: skip
    try:
        check_table_options(wanted, memory_bytes=memory_bytes)
        chosen = format_for(store.where() if store else "", wanted, lake.format)
        facts |= {"format": chosen.name, "partition_by": chosen.partition_by}
        facts["catalog"] = chosen.catalog
        check_library(chosen.name)
        if store is not None and is_online:  # First: it does not take longer than a minute.
            _try_tables(store, chosen, lake)
        if chosen.catalog is not None and is_online:
            facts["exists"] = _is_in_catalog(chosen.catalog)
    except StreamlicError as error:
        return failed("format", error, None, facts)
    library = FORMATS[chosen.name]
    says = f"{chosen.name}, by {library} {metadata.version(library)}" if library else chosen.name
    if facts["exists"] is not None:
        has = "has the table licenses" if facts["exists"] else "can be asked, and has no table yet"
        says += f"; catalog {chosen.catalog} {has}"
    return Check(name="format", state="ok", found=says, facts=facts)


def _try_tables(store: Store, chosen: Format, lake: LakeState) -> None:
    """Raise what would keep an export from publishing."""
    # A new lake has no identity yet, and no table can be its own.
    change = Change(
        lake=lake.id,
        number=lake.number + 1,
        run="",
        shown=(),
        hidden=(),
        existing=frozenset(lake.tables_seen()),
    )
    format_of(store, chosen).try_out(change)


def _is_in_catalog(catalog: str) -> bool:
    """Return whether an Iceberg catalog has a table of licenses; raises why it cannot be asked."""
    from streamlic.tables.iceberg.catalog import open_catalog  # noqa: PLC0415  (loads pyiceberg)

    opened = open_catalog(catalog)
    with opened.translated(LICENSES):
        return opened.find(LICENSES) is not None
