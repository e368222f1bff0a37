"""The table formats by name; those that need an extra are imported only when they are used."""

from __future__ import annotations

from collections.abc import Sequence

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import TABLES, table_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import Format, Rewritten
from streamlic.errors import DatasetConflict, StreamlicError
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
        from streamlic.tables.iceberg.format import IcebergFormat  # noqa: PLC0415  # an extra

        return IcebergFormat(store, chosen.catalog or "", partition_by=chosen.partition_by)
    from streamlic.tables.delta.format import DeltaFormat  # noqa: PLC0415  # an extra

    return DeltaFormat(store, partition_by=chosen.partition_by)


def seen_parts(store: Store, lake: LakeState, parts: Sequence[Rewritten]) -> list[Rewritten]:
    """Return the part files, of those that a lake has, that readers of the tables see whole.

    Another program may have removed rows: written again, they would come back.
    """
    if not lake.is_in_place or lake.format is None:
        return [*parts]
    tables, seen = format_of(store, lake.format), set[str]()
    for table in sorted({table_of(one.file.name) for one in parts}):
        seen |= tables.whole(table) or set()
    return [one for one in parts if one.file.name in seen]


def check_seen(store: Store, lake: LakeState, parts: Sequence[Rewritten], advice: str = "") -> None:
    """Raise DatasetConflict unless readers see these part files whole: their rows are copied."""
    seen = {one.file.name for one in seen_parts(store, lake, parts)}
    if gone := [one.file.name for one in parts if one.file.name not in seen]:
        raise DatasetConflict(
            f"readers do not see all of {store.where(gone[0])}, which has rows to keep: another "
            "program has removed some from its table, and they would come back",
            advice=f"{advice}restore the version of the table before that, or export into another "
            "{dest}",
        )


def unlike_the_log(store: Store) -> list[str]:
    """Return where readers of the tables see other part files than the commit log says.

    A writer may be active meanwhile: what differs counts if the log is still the same.
    """
    lake = load_lake(store)
    if lake.format is None or lake.pending is not None:
        return []
    tables = format_of(store, lake.format)
    problems = []
    for table in TABLES:
        try:
            seen, whole = tables.visible(table), tables.whole(table)
        except StreamlicError as error:
            problems.append(f"{table}: {error.described()}")
            continue
        if seen is not None:
            problems += _differences(table, seen, _promised(lake, table))
        if seen != whole:
            problems.append(f"{table}: another program has deleted rows that its part files have")
    return problems if problems and load_lake(store).number == lake.number else []


def _promised(lake: LakeState, table: str) -> set[str]:
    """Return the names of a table's part files that readers must see."""
    shown = (run for run in lake.runs.values() if run.is_published)
    files = [file for run in shown for file in run.live_files]
    files += [one.file for one in lake.live_rewritten]
    return {file.name for file in files if table_of(file.name) == table}


def _differences(table: str, seen: set[str], promised: set[str]) -> list[str]:
    missing, foreign = sorted(promised - seen), sorted(seen - promised)
    return [
        *(f"{name}: readers of the table {table} do not see it" for name in missing),
        *(f"{name}: readers of the table {table} see it, and the log does not" for name in foreign),
    ]
