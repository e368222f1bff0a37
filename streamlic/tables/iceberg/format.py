"""Iceberg tables: a change becomes visible by one commit in the catalog for each table.

Rules:
1. A table has a property with the number of its last change, set by the commit that makes the
   change. So a change is made once, also after a crash, and after its snapshot has expired.
2. pyiceberg must not commit again by itself what another writer was first with: it would not look
   at the property. So the table's own retries are off, and each attempt starts with a look.
3. A part file is added and removed whole, by its name. Rows are never rewritten.
4. Part files have their final names at once: readers see what the table's snapshot names.
5. ``export_date`` is in no file: readers take the value of a partition column that a file lacks
   from the table's metadata (Iceberg's specification, "Column Projection").

Iceberg has no commit for several tables that all catalogs offer. So licenses come first, runs last.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count

import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, TableProperties

from streamlic.dataset.lake import LICENSES, TABLES, table_of
from streamlic.errors import DatasetConflict, IntegrityError, StoreError, UsageError
from streamlic.storage.base import Store
from streamlic.tables.iceberg.catalog import may_have_landed, open_catalog, shortened
from streamlic.tables.iceberg.columns import add_columns, check_names, check_types
from streamlic.tables.iceberg.files import (
    EXPORT_DATE,
    change_files,
    has_delete_files,
    live_files,
    run_date,
)
from streamlic.tables.iceberg.trial import try_out
from streamlic.tables.table_format import Change, Kept

LAKE_PROPERTY = "streamlic.lake"
CHANGE_PROPERTY = "streamlic.change"
RUN_PROPERTY = "streamlic.run"

WAITS = (0.2, 1.0, 3.0, 10.0)
"""Seconds before each further attempt at a commit whose outcome is not known."""
_ROLL_BACK = "set the table to streamlic's last snapshot, or export into another {dest}"
_ROLL_BACK_OR_ADD = f"add to it with {{mode=append}}, {_ROLL_BACK}"
_PROPERTIES = {
    TableProperties.COMMIT_NUM_RETRIES: "0",
    # Else a lake of many commits has as many manifests, and all the metadata that it ever had.
    TableProperties.MANIFEST_MERGE_ENABLED: "true",
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
}


class IcebergFormat:
    """A lake whose tables are Iceberg tables of a catalog: ``NAME`` or ``NAME.NAMESPACE``.

    ``partition_by`` is ``export_date`` or nothing: the date on which a run started, in UTC.
    Raises UsageError if pyiceberg is not configured for the catalog or cannot reach the store.
    """

    name = "iceberg"

    def __init__(self, store: Store, catalog: str, *, partition_by: str | None = None) -> None:
        if store.where().startswith("az://"):
            raise UsageError(
                "Iceberg has no names such as az://: expected"
                f" abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…, got {store.where()}",
                parameter="dest",
            )
        self.store = store
        self.catalog = open_catalog(catalog)
        self._partition_by = partition_by
        self._looked_at: set[str] = set()

    def __repr__(self) -> str:
        return f"IcebergFormat({self.catalog.full_name()!r})"

    def check(self, change: Change) -> None:
        """Raise an error if a table is gone, is another's, or has other files than expected."""
        for table in TABLES:
            with self.catalog.translated(table):
                found = self._found(change, table)
                hidden = {*change.hidden_of(table)}
                if found:
                    self._check(found, change, table)
                if found and hidden:
                    self._look(found, change, table, set(), hidden)
                if found and table in change.schemas:
                    check_types(found, change.schemas[table], self.catalog.full_name(table))

    def try_out(self, change: Change) -> None:
        """Check, and try what a commit needs of the catalog and of its files."""
        try_out(self.catalog, self.store, self.path(LICENSES), lambda: self.check(change))

    def show(self, change: Change) -> None:
        """Make a change visible, once, in one commit for each table that it touches."""
        for table in TABLES:
            shown = [file.name for file in change.shown if table_of(file.name) == table]
            hidden = {*change.hidden_of(table)}
            if shown or hidden:
                with self.catalog.translated(table):
                    self._show(change, table, shown, hidden)

    def visible(self, table: str) -> set[str] | None:
        """Return the names of the part files that readers of a table see."""
        with self.catalog.translated(table):
            return self._names(self.placed(table), table)

    def whole(self, table: str) -> set[str] | None:
        """Return the names of the part files of which readers see every row.

        There are none if the table has delete files of another program: they may be about any.
        """
        with self.catalog.translated(table):
            found = self.placed(table)
            return set() if found and has_delete_files(found) else self._names(found, table)

    def path(self, name: str) -> str:
        """Return the location of a part file, or of a table, as Iceberg's metadata has it.

        A path is absolute there: readers start elsewhere, and DEST may be given in other ways.
        """
        where = self.store.where(name).rstrip("/")
        return where if "://" in where else os.path.abspath(where)  # noqa: PTH100  (".." goes, too)

    def forget_versions(self, keep_days: int, kept: Kept, *, dry_run: bool = False) -> list[str]:
        """Expire snapshots older than ``keep_days`` days, with the part files of theirs."""
        from streamlic.tables.iceberg.maintenance import expire  # noqa: PLC0415  # it imports this

        return expire(self, keep_days=keep_days, kept=kept, dry_run=dry_run)

    def _show(self, change: Change, table: str, shown: list[str], hidden: set[str]) -> None:
        for attempt in count():
            try:
                found = self._found(change, table)
                if found is None and not shown:
                    return
                found = found or self._create(change, table)
                self._check(found, change, table)
                if int(found.properties.get(CHANGE_PROPERTY, "0")) < change.number:
                    self._commit(found, change, table, shown, hidden)
            except Exception as error:
                self._looked_at.discard(table)
                if not may_have_landed(error) or attempt == len(WAITS):
                    raise
                time.sleep(WAITS[attempt])
            else:
                self._looked_at.add(table)
                return

    def _found(self, change: Change, table: str) -> Table | None:
        """Return a table, None if there is none yet; IntegrityError if there is none any more."""
        found = self.catalog.find(table)
        if found is None and table in change.existing:
            raise IntegrityError(
                f"Iceberg table {self.catalog.full_name(table)} is gone from the catalog, and part"
                f" files of this lake were in it: its newest metadata is in {self.path(table)}/"
                "metadata",
                parameter="catalog",
                advice="register it again, or export into another {dest}",
            )
        return found

    def _create(self, change: Change, table: str) -> Table:
        """Create a table without rows. Another writer may be first."""
        schema = change.schemas[table]
        if self._is_partitioned(table):
            schema = schema.append(pa.field(EXPORT_DATE, pa.date32()))
        try:
            self._commit_new(change, table, schema)
        except NoSuchNamespaceError:  # Glue says so at the commit, other catalogs before it.
            with suppress(NamespaceAlreadyExistsError):
                self.catalog.catalog.create_namespace(self.catalog.namespace)
            return self._create(change, table)
        created = self.catalog.find(table)
        if created is None:
            raise StoreError(f"Iceberg table {self.catalog.full_name(table)} vanished")
        return created

    def _commit_new(self, change: Change, table: str, schema: pa.Schema) -> None:
        work = self.catalog.catalog.create_table_transaction(
            self.catalog.identifier(table),
            schema,
            location=self.path(table),
            properties={**_PROPERTIES, LAKE_PROPERTY: change.lake},
        )
        if self._is_partitioned(table):
            with work.update_spec() as spec:
                spec.add_identity(EXPORT_DATE)
        names = work.table_metadata.schema().name_mapping
        work.set_properties({TableProperties.DEFAULT_NAME_MAPPING: names.model_dump_json()})
        work.commit_transaction()

    def _check_place(self, found: Table, table: str) -> None:
        """Raise DatasetConflict unless the table lies in this lake, by the same name of its place.

        The paths in the table's metadata tell nothing of the files here otherwise.
        """
        name, where = self.catalog.full_name(table), self.path(table)
        if found.location().rstrip("/") != where:
            raise DatasetConflict(
                f"Iceberg table {name} lies in {shortened(found.location())}, expected {where}: it"
                " is another's, or the catalog chooses the places of its tables itself",
                parameter="catalog",
                advice="name another namespace with {catalog}, or {dest} as its tables have it",
            )

    def _check(self, found: Table, change: Change, table: str) -> None:
        """Raise DatasetConflict unless the table is this lake's, as this lake needs it."""
        name = self.catalog.full_name(table)
        self._check_place(found, table)
        check_names(found, table, name)
        if found.properties.get(LAKE_PROPERTY) != change.lake:
            raise DatasetConflict(
                f"Iceberg table {name} belongs to another lake, or to another program",
                parameter="catalog",
                advice="name another namespace of the catalog with {catalog}",
            )
        retries = found.properties.get(TableProperties.COMMIT_NUM_RETRIES)
        if retries != "0":
            raise DatasetConflict(
                f"Iceberg table {name}: expected its property {TableProperties.COMMIT_NUM_RETRIES}"
                f" to be 0, got {retries}: a commit that is repeated unseen doubles rows",
                parameter="catalog",
            )
        fields = [(str(field.transform), field.name) for field in found.spec().fields]
        expected = [("identity", EXPORT_DATE)] if self._is_partitioned(table) else []
        if fields != expected:
            raise DatasetConflict(
                f"Iceberg table {name}: expected it to be partitioned by"
                f" {EXPORT_DATE if expected else 'nothing'}, got"
                f" {', '.join(name for _, name in fields) or 'nothing'}",
                parameter="partition_by",
            )

    def _commit(
        self, found: Table, change: Change, table: str, shown: list[str], hidden: set[str]
    ) -> None:
        added = [self.path(name) for name in shown]
        removed: list[DataFile] = []
        if hidden or table not in self._looked_at:
            # Not for each commit: it takes a look at every file of the table.
            there, removed = self._look(found, change, table, set(added), hidden)
            added = [path for path in added if path not in there]
        work = found.transaction()
        work.set_properties({CHANGE_PROPERTY: str(change.number)})
        if shown:
            check_types(found, change.schemas[table], self.catalog.full_name(table))
            add_columns(work, change.schemas[table])
        if added or removed:
            said = {RUN_PROPERTY: change.run, CHANGE_PROPERTY: str(change.number)}
            change_files(work, found.io, added, removed, said, is_rewrite=change.is_rewrite)
        work.commit_transaction()

    def _look(
        self, found: Table, change: Change, table: str, added: set[str], hidden: set[str]
    ) -> tuple[set[str], list[DataFile]]:
        """Return which of the files to add are there, and those to remove.

        IntegrityError if some of these are not, and other files are that streamlic did not write:
        another program has rewritten the table, and their rows may be in its files. Also if one has
        rolled the table back, and if a rewrite would bring back rows that one has removed.
        """
        name = self.catalog.full_name(table)
        there, removed, ours, foreign = set[str](), list[DataFile](), list[str](), ""
        wanted = {self.path(name) for name in hidden}
        for file in live_files(found):
            ours.append(self._name(table, file.file_path))
            if file.file_path in added:
                there.add(file.file_path)
            elif file.file_path in wanted:
                removed.append(file)
            elif run_date(file.file_path) is None:
                foreign = file.file_path
        if foreign and len(removed) < len(wanted):
            raise IntegrityError(
                f"Iceberg table {name} has no longer all part files that"
                f" this run replaces, and has {foreign} instead: another program has rewritten it",
                advice=_ROLL_BACK if change.is_recorded else _ROLL_BACK_OR_ADD,
            )
        if hidden and (restored := change.restored(ours)):
            raise IntegrityError(
                f"another program has rolled Iceberg table {name} back: readers see {restored},"
                " which a later run has replaced",
                advice=_ROLL_BACK,
            )
        is_less = not there and len(removed) < len(wanted)
        if change.is_rewrite and (is_less or has_delete_files(found)):
            raise IntegrityError(
                f"another program has removed rows from the Iceberg table {name}, and they would"
                " come back",
                advice=_ROLL_BACK if change.is_recorded else "give the same command again",
            )
        return there, removed

    def _is_partitioned(self, table: str) -> bool:
        return table == LICENSES and self._partition_by is not None

    def placed(self, table: str) -> Table | None:
        """Return a table that lies in this lake, None if there is none."""
        found = self.catalog.find(table)
        if found:
            self._check_place(found, table)
        return found

    def _names(self, found: Table | None, table: str) -> set[str]:
        return {self._name(table, one.file_path) for one in live_files(found)} if found else set()

    def _name(self, table: str, path: str) -> str:
        """Return a file's name in the lake; its path if it lies elsewhere."""
        directory = self.path(table) + "/"
        return f"{table}/{path.removeprefix(directory)}" if path.startswith(directory) else path
