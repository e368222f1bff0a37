"""Delta tables: Delta's log says which part files readers see, and each change is one commit.

Rules:
1. Part files are written under their final names, where no reader looks until Delta's log names
   them. Plain readers of Parquet would see them early: a Delta lake is read as Delta.
2. Each table is a Delta table of its own. A change is one commit in each table that it touches.
3. The commit holds the number of the change, as Delta's application transaction. A change is shown
   if the table's number is not lower. Of two commits with numbers of one lake Delta takes one.
4. Where ``licenses`` is partitioned, its part files lie in one directory a partition, for polars
   2.1, which reads partition values from paths. All other readers take them from Delta's log.
5. A table that another program made, or another lake, is refused. Other programs may rewrite the
   files of a table of ours, or restore an earlier version: rows can be added to it then, and not
   replaced.
6. A table is looked at again before each attempt at a commit. deltalake's own retries are off: they
   take no notice of a rewrite that comes in between.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from streamlic.dataset.column_meanings import MEANINGS
from streamlic.dataset.lake import LICENSES, TABLES, table_of
from streamlic.dataset.records import PartFile
from streamlic.errors import DatasetConflict, IntegrityError, StoreError, UsageError
from streamlic.storage.base import Store
from streamlic.tables.delta.stats import stats_of
from streamlic.tables.delta.table import (
    AddAction,
    DataFile,
    LostCommit,
    RemoveAction,
    Table,
    run_of_part,
    with_columns,
)
from streamlic.tables.table_format import Change, Kept

EXPORT_DATE: Final = "export_date"
"""The partition column: the UTC date at which the run started. It is not in the files."""
_EXPORT_DATE_FIELD: Final = pa.field(EXPORT_DATE, pa.date32())
_ATTEMPTS: Final = 10
_RESTORE: Final = "restore the version before that, or export into another {dest}"
_RESTORE_OR_ADD: Final = f"add to it with {{mode=append}}, {_RESTORE}"
_CHANGED = re.compile(r"%[0-9A-Fa-f]{2}|\\")


class DeltaFormat:
    """A lake of Delta tables.

    ``partition_by`` is the partition column of ``licenses`` in a new lake: EXPORT_DATE, or None for
    none. In an existing one it must be the table's, or None: then the table says it.
    Raises UsageError for a path that deltalake would read as another one.
    """

    name = "delta"

    def __init__(self, store: Store, *, partition_by: str | None = None) -> None:
        where = store.where()
        found = _CHANGED.search(where if "://" in where else os.path.abspath(where))  # noqa: PTH100
        if found:
            raise UsageError(
                f"deltalake reads {found[0]!r} in a path as another character: expected a path "
                f"without it, got {where}",
                parameter="dest",
            )
        self._store = store
        self._partition_by = partition_by
        self._created = set[str]()

    def check(self, change: Change) -> None:
        """Raise an error if a table is gone, is another's, or has other files than expected."""
        for table in TABLES:
            delta = self._opened(table, change)
            if delta:
                self._check(delta, table, change)
                _removed(delta, table, change)
                if table in change.schemas:
                    delta.missing_columns(self._schema(table, change, delta.partition_by))

    def try_out(self, change: Change) -> None:
        """Check: deltalake reaches files in the way of the lake's store."""
        self.check(change)

    def show(self, change: Change) -> None:
        """Make a change visible, once, in one commit for each table."""
        for table in TABLES:
            if table in change.schemas or change.hidden_of(table):
                self._show(table, change)

    def visible(self, table: str) -> set[str] | None:
        """Return the names of the files that readers of a table see."""
        opened = Table.opened(self._store, table)
        return {f"{table}/{path}" for path in opened.files} if opened else set()

    def whole(self, table: str) -> set[str] | None:
        """Return the same: a table whose files have deletion vectors is refused."""
        return self.visible(table)

    def forget_versions(self, keep_days: int, kept: Kept, *, dry_run: bool = False) -> list[str]:
        """Delete part files that no version of the last ``keep_days`` days needs; return them."""
        from streamlic.tables.delta.maintenance import shorten_logs, vacuum  # noqa: PLC0415

        unneeded = vacuum(self._store, keep_days=keep_days, kept=kept, dry_run=dry_run)
        if not dry_run:
            shorten_logs(self._store)
        return unneeded

    def _show(self, table: str, change: Change) -> None:
        shown = [file for file in change.shown if table_of(file.name) == table]
        hidden = change.hidden_of(table)
        if not (shown or hidden) and table in self._created:
            return
        where, stats, why = self._store.where(table), list[str](), ""
        for _ in range(_ATTEMPTS):
            delta = self._opened(table, change)
            if delta is None and table not in change.schemas:
                return  # There is nothing to hide.
            if delta is None:
                self._create(table, change)
                continue
            self._check(delta, table, change)
            self._created.add(table)
            if not (shown or hidden) or _is_shown(delta, change):
                return
            stats = stats or list(stats_of(self._store, shown))
            try:
                if shown and delta.add_columns(self._schema(table, change, delta.partition_by)):
                    continue  # It is another version now, and this change may be in it.
                actions = _actions(delta, table, change, shown, stats)
                delta.commit(actions, _application(change), change.number, _note(change))
            except LostCommit as error:
                why = str(error)
                continue
            except StoreError:
                # It may have landed: an answer was lost, or only a checkpoint failed after it.
                later = Table.opened(self._store, table)
                if not later or not _is_shown(later, change):
                    raise
            return
        raise StoreError(
            f"the Delta table {where} takes no commit: other writers committed first, "
            f"{_ATTEMPTS} times ({why})"
        )

    def _opened(self, table: str, change: Change) -> Table | None:
        """Return a table, None if there is none yet; IntegrityError if there is none any more."""
        delta = Table.opened(self._store, table)
        if delta is None and table in change.existing:
            raise IntegrityError(
                f"{self._store.where(table)} is not a Delta table any longer, and part files of "
                "this lake were in it",
                advice="bring back its directory _delta_log, or export into another {dest}",
            )
        return delta

    def _create(self, table: str, change: Change) -> None:
        partition_by = (self._partition_by,) if self._partition_by and table == LICENSES else ()
        Table.create(
            self._store,
            table,
            self._schema(table, change, partition_by),
            lake=change.lake,
            partition_by=partition_by,
        )

    def _schema(self, table: str, change: Change, partition_by: Sequence[str]) -> pa.Schema:
        more = [_EXPORT_DATE_FIELD] if EXPORT_DATE in partition_by else []
        return with_columns(change.schemas[table], MEANINGS[table], *more)

    def _check(self, delta: Table, table: str, change: Change) -> None:
        """Raise DatasetConflict unless this lake can continue the table."""
        if delta.transaction(_application(change)) is None and (
            delta.owner != change.lake or delta.files
        ):
            owner = "another lake of streamlic" if delta.owner else "another program"
            raise DatasetConflict(
                f"{delta.where} is a Delta table of {owner}", advice="choose another {dest}"
            )
        asked = (self._partition_by,) if self._partition_by else delta.partition_by
        if table == LICENSES and asked != delta.partition_by:
            raise DatasetConflict(
                f"the Delta table {delta.where} is not partitioned by {self._partition_by}",
                advice="choose another {dest} for another partition",
            )
        if features := delta.unsupported(removes=bool(change.hidden_of(table))):
            raise DatasetConflict(
                f"the Delta table {delta.where} has features that streamlic does not write: "
                f"{', '.join(features)}",
                advice="turn them off there (ALTER TABLE … DROP FEATURE), or choose another {dest}",
            )
        if delta.partition_by not in ((), (EXPORT_DATE,)):
            raise DatasetConflict(
                f"the Delta table {delta.where} is partitioned by {', '.join(delta.partition_by)}, "
                f"and streamlic writes none or {EXPORT_DATE}",
                advice="choose another {dest}",
            )


def _application(change: Change) -> str:
    return f"streamlic/{change.lake}"


def _note(change: Change) -> str:
    """Return what the history of the table says of a change."""
    run = f"run {change.run}, " if change.run else ""
    return f"streamlic: {run}change {change.number}"


def _is_shown(delta: Table, change: Change) -> bool:
    last = delta.transaction(_application(change))
    return last is not None and last >= change.number


def _actions(
    delta: Table,
    table: str,
    change: Change,
    shown: Sequence[PartFile],
    stats: Sequence[str],
) -> list[AddAction | RemoveAction]:
    now = int(time.time() * 1000)
    changes_data = not change.is_rewrite
    removed = _removed(delta, table, change)
    dates = {file.partition.get(EXPORT_DATE) for file in removed.values()}
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(path, changes_data, now, file.bytes, file.partition)
        for path, file in removed.items()
    ]
    for part, text in zip(shown, stats, strict=True):
        partition: dict[str, str | None] = {}
        if delta.partition_by:
            date: str | None = _date_of(part)
            if change.is_rewrite and date not in dates:
                date = _only(dates, part)
            partition = {EXPORT_DATE: date}
        path = _path_of(part.name)
        actions.append(AddAction(path, part.bytes, partition, now, changes_data, text))
    return actions


def _removed(delta: Table, table: str, change: Change) -> dict[str, DataFile]:
    """Return the files that are to be hidden, by path, but for those that readers do not see.

    Raises DatasetConflict if rows that must go may be in files of another program, if they are in
    files that another one has restored, or if a rewrite would bring back rows that it has removed.
    """
    hidden = change.hidden_of(table)
    files = delta.files if hidden else {}
    if restored := change.restored(f"{table}/{path}" for path in files):
        raise DatasetConflict(
            f"another program has restored an earlier version of the Delta table {delta.where}: "
            f"readers see {restored}, which a later run has replaced",
            advice="restore the last version that streamlic wrote, or export into another {dest}",
        )
    removed = {path: files[path] for name in hidden if (path := _path_of(name)) in files}
    if len(removed) < len(hidden):
        _check_no_other_files(delta, table, change)
        if change.is_rewrite:
            raise DatasetConflict(
                f"another program has removed files from the Delta table {delta.where}, and their "
                "rows would come back",
                advice=_RESTORE if change.is_recorded else "give the same command again",
            )
    return removed


def _check_no_other_files(delta: Table, table: str, change: Change) -> None:
    """Raise DatasetConflict if rows that must go may be in files of another program."""
    for path in delta.files:
        if run_of_part(f"{table}/{path}") is None:
            raise DatasetConflict(
                f"another program has rewritten files of the Delta table {delta.where}, such as "
                f"{path!r}: streamlic cannot find the rows there that it must replace or remove",
                advice=_RESTORE if change.is_recorded else _RESTORE_OR_ADD,
            )


def _path_of(name: str) -> str:
    return name.partition("/")[2]


def _date_of(part: PartFile) -> str:
    """Return the UTC date at which the run of a part file started: its id starts with it."""
    run = run_of_part(part.name)
    if run is None:
        raise IntegrityError(f"{part.name} is not the name of a part file")
    return f"{run[:4]}-{run[4:6]}-{run[6:8]}"


def _only(dates: set[str | None], part: PartFile) -> str | None:
    if len(dates) != 1:
        raise IntegrityError(
            f"{part.name} has rows of several partitions: {', '.join(sorted(map(str, dates)))}"
        )
    return next(iter(dates))
