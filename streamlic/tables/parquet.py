"""Plain Parquet: a part file becomes visible when it gets its name in its table.

Readers take every ``part-….parquet`` in a table's directory and do not read the log. So a file must
not have such a name before its record is durable. No store can change many names at once: a reader
that lists a directory in the middle sees some of a run's files, or those of a run and of the one
that it replaces. On a local disk that takes a system call a file, in an object store a copy.
"""

from __future__ import annotations

from streamlic.dataset.lake import TABLES, staged_name, table_of
from streamlic.storage.base import NotFound, Store
from streamlic.tables.table_format import Change, Kept, missing_file


class ParquetFormat:
    """Plain Parquet files in a store."""

    name = "parquet"

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, change: Change) -> None:
        """There are only files."""

    def try_out(self, change: Change) -> None:
        """There are only files."""

    def show(self, change: Change) -> None:
        """Give the files of a change their names, then delete those that it hides."""
        for table in TABLES:
            names = [file.name for file in change.shown if table_of(file.name) == table]
            try:
                self._store.publish([(staged_name(name), name) for name in names])
            except NotFound as error:
                raise missing_file(self._store, str(error)) from error
        # Last: the licenses of the newest run in ``runs`` are whole at every moment.
        self._store.delete(*change.hidden)

    def visible(self, table: str) -> set[str] | None:
        """A listing says what readers see."""

    def whole(self, table: str) -> set[str] | None:
        """A listing says it."""

    def forget_versions(self, keep_days: int, kept: Kept, *, dry_run: bool = False) -> list[str]:
        """There are no versions."""
        del keep_days, kept, dry_run
        return []
