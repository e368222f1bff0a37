"""The first rows of a lake's table, or of one part file, in bounded memory.

Rules:
1. Of a lake the newest run comes first. Rows that readers do not see are left out.
2. A row group is read if its statistics allow that it has chosen rows, and then in batches of few
   bytes, of the columns that are asked for. Nothing is read after the last row that is taken.
3. The columns are those of the newest part file. An older file may lack some of them: null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamlic.dataset.batch_sizes import opened, rows_at_once
from streamlic.dataset.chosen import Chosen
from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.destination import why_no_dataset
from streamlic.dataset.lake import (
    ACCOUNT_COLUMN,
    EXPORTED_AT_COLUMN,
    RUN_COLUMN,
    run_of,
    table_of,
)
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import PartFile
from streamlic.dataset.run_state import RunState
from streamlic.errors import IntegrityError, UsageError
from streamlic.formatting import visible
from streamlic.storage.base import NotFound, Store

_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 8_192


@dataclass(frozen=True)
class Rows:
    """Rows that can be read: part files in their order, and the values that choose among them.

    ``names`` are the part files, ``chosen`` the values to find by column.
    """

    store: Store
    names: Sequence[str]
    chosen: Mapping[str, Chosen] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        """Return the columns; none if there is no part file."""
        for name in self.names[:1]:
            with _opened(self.store, name) as file:
                return file.schema_arrow
        return pa.schema([])

    def batches(self, schema: pa.Schema, most_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the first rows, in batches of ``schema``, which may have a part of the columns."""
        left = most_rows
        for name in self.names:
            with _opened(self.store, name) as file:
                for batch in self._batches_of(name, file, schema.names, most_rows):
                    if left <= 0:
                        return
                    some = _as(schema, batch.slice(0, left))
                    left -= some.num_rows
                    yield some
            if left <= 0:
                return

    def _batches_of(
        self, name: str, file: pq.ParquetFile, columns: Iterable[str], most_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield a part file's chosen rows, of the columns that it has."""
        places = {file.schema.column(leaf).path: leaf for leaf in range(len(file.schema))}
        if any(column not in places for column in self.chosen):
            return
        wanted = {*columns, *self.chosen} & {*file.schema_arrow.names}
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if not all(
                one.may_be_in(group.column(places[name])) for name, one in self.chosen.items()
            ):
                continue
            rows = rows_at_once(self.store, name, file, number, _BATCH_BYTES, columns=wanted)
            most = _BATCH_ROWS if self.chosen else most_rows
            for batch in file.iter_batches(
                min(rows, most), row_groups=[number], columns=[*wanted], use_threads=False
            ):
                kept = batch
                for column, one in self.chosen.items():
                    kept = kept.filter(one.mask(kept[column]))
                if kept.num_rows:
                    yield kept


@dataclass(frozen=True)
class TableRows(Rows):
    """Rows of a lake's table.

    ``rows`` is how many the table has, and ``why_none`` why none of them may be found.
    """

    rows: int = 0
    why_none: str = ""


def rows_of_table(
    store: Store, table: str, *, account: str | None = None, run: str | None = None
) -> TableRows:
    """Return the rows of a lake's table, of one account or one run if that is given.

    ``run`` is an id or a key. Raises UsageError if there is no lake, or no such run with rows that
    readers see; IntegrityError if the commit log is damaged.
    """
    if why := why_no_dataset(store):
        raise UsageError(why)
    lake = load_lake(store)
    runs = lake.oldest_first
    if not runs:
        raise UsageError(f"{store.where()} is not a streamlic lake: it has no run")
    shown = [one for one in reversed(runs) if one.is_published]
    only = _run_named(run, shown) if run is not None else None
    files = [file for file in _newest_first(lake, shown, only) if table_of(file.name) == table]
    return TableRows(
        store, [file.name for file in files], _chosen(account, only.id if only else None),
        rows=sum(file.rows for file in files), why_none=_why_none(runs, only),
    )  # fmt: skip


def _newest_first(
    lake: LakeState, shown: Sequence[RunState], only: RunState | None
) -> list[PartFile]:
    """Return the part files that readers see and that may have rows of a run, or of any."""
    places = {run.id: place for place, run in enumerate(shown)}
    files = [(places[run.id], file) for run in shown for file in run.live_files]
    files += [(min(places[run_id] for run_id in one.runs), one.file) for one in lake.live_rewritten]
    # A run may have rows of earlier runs, never of later ones.
    last = places[only.id] if only else len(shown)
    return [file for place, file in sorted(files, key=itemgetter(0)) if place <= last]


def rows_of_file(store: Store, name: str, *, account: str | None = None) -> Rows:
    """Return the rows of one Parquet file, of one account if that is given."""
    rows = Rows(store, [name], _chosen(account, None))
    if account is not None and ACCOUNT_COLUMN not in rows.schema().names:
        raise UsageError(f"{store.where(name)} has no column {ACCOUNT_COLUMN}")
    return rows


def _why_none(runs: Sequence[RunState], only: RunState | None) -> str:
    if only and only.is_expired:
        return f"run {only.id} has expired: its licenses were too old to be kept"
    hidden = next((one.id for one in reversed(runs) if not one.is_published), None)
    if only and only.is_replaced:
        return f"run {only.id} was replaced by a later one, which has none of its licenses"
    if hidden and not only:
        return f"run {hidden} is not complete, so readers do not see its rows yet"
    return ""


def columns_named(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """Return these columns of a schema, in this order; UsageError for unknown ones."""
    names = list(dict.fromkeys(names))
    known = ", ".join(map(visible, schema.names))
    if not names:
        raise UsageError(f"expected columns, got none: they are {known}", parameter="columns")
    unknown = [name for name in names if name not in schema.names]
    if unknown:
        which = "column" if len(unknown) == 1 else "columns"
        raise UsageError(
            f"no {which} {', '.join(unknown)}: the columns are {known}",
            parameter="columns",
        )
    return pa.schema([schema.field(name) for name in names])


def telling_columns(schema: pa.Schema, of_licenses: Iterable[str]) -> pa.Schema:
    """Return the columns that tell most; all columns of a table that is not known."""
    account = ["integration", ACCOUNT_COLUMN]
    run = ["run_key", "started_at", "mode", "complete", "accounts", "accounts_failed", "rows"]
    for telling in (
        [*run, RUN_COLUMN],
        [*account, "outcome", "reason", "rows", "pages", "error_kind", EXPORTED_AT_COLUMN],
        [*account, *of_licenses],
        [*of_licenses],
    ):
        if all(name in schema.names for name in telling):
            return pa.schema([schema.field(name) for name in telling])
    return schema


def _run_named(name: str, shown: Sequence[RunState]) -> RunState:
    """Return the newest run with this id or key."""
    for run in shown:
        if name in (run.id, run.key):
            return run
    newest = ", ".join(run.key or run.id for run in shown[:3])
    has = f"the newest are {newest}" if shown else "no run is complete"
    raise UsageError(f"no run {name} that readers see: {has}", parameter="run")


def _chosen(account: str | None, run: str | None) -> dict[str, Chosen]:
    given = {ACCOUNT_COLUMN: account, RUN_COLUMN: run}
    return {name: Chosen([value]) for name, value in given.items() if value is not None}


def _as(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with the columns of a schema, null where it lacks one."""
    columns = []
    for one in schema:
        if one.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, one.type))
        elif batch[one.name].type == one.type:
            columns.append(batch[one.name])
        else:
            columns.append(pc.cast(batch[one.name], one.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@contextmanager
def _opened(store: Store, name: str) -> Iterator[pq.ParquetFile]:
    """Open a part file; IntegrityError if it is missing or damaged."""
    try:
        with opened(store, name) as file:
            yield file
    except NotFound as error:
        again = ", or run the command again if an export was replacing it" if run_of(name) else ""
        raise IntegrityError(
            f"{store.where(name)} is missing: check it with streamlic verify{again}"
        ) from error
    except (OSError, KeyError, pa.ArrowException) as error:
        raise IntegrityError(f"{store.where(name)} cannot be read: {error}") from error
