"""Part files and changes of a lake for tests of table formats, without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from streamlic.dataset.lake import LICENSES, TABLES, schema_of, table_of
from streamlic.dataset.records import PartFile
from streamlic.storage.base import Store
from streamlic.tables.delta.format import DeltaFormat
from streamlic.tables.delta.table import run_of_part
from streamlic.tables.table_format import Change
from tests.support.batches import SCHEMA, license_rows

BUCKET = "lakes"
LAKE = "0123456789abcdef"
NIGHTS = (
    "20261123T020000Z-00000001",
    "20261124T020000Z-00000002",
    "20261125T020000Z-00000003",
    "20261124T080000Z-00000004",
)
"""Runs: of three nights, and one more of the second date."""
ROWS = 12
"""Of a part file."""


class Lake:
    """A lake whose part files and changes a test makes itself."""

    def __init__(
        self, store: Store, *, schema: pa.Schema = SCHEMA, partition_by: str | None = None
    ) -> None:
        self.store = store
        self.format = DeltaFormat(store, partition_by=partition_by)
        self.partition_by = partition_by
        self.schemas = {table: schema_of(table, schema) for table in TABLES}

    def path(self, name: str) -> Path:
        """Return where a local store has a file."""
        return Path(self.store.where(name))

    def part(self, run: str, number: int, table: str = LICENSES) -> str:
        """Return the name of a part file of a run."""
        place = f"{table}/"
        if self.partition_by and table == LICENSES:
            place += f"{self.partition_by}={run[:4]}-{run[4:6]}-{run[6:8]}/"
        return f"{place}part-{run}-000001-{number:06d}.parquet"

    def rows(self, run: str, parts: int = 1) -> list[dict[str, Any]]:
        """Return the licenses of a run."""
        rows = license_rows(0, ROWS * parts, run[-4:])
        return [{**row, "_run": run, "_exported_at": _moment(run)} for row in rows]

    def ids(self, run: str, parts: int = 1) -> list[str]:
        """Return the ids of a run's licenses, sorted."""
        return sorted(row["id"] for row in self.rows(run, parts))

    def night(self, run: str, parts: int = 1) -> list[PartFile]:
        """Write a run's part files of all tables, unless they exist; return them."""
        rows = self.rows(run, parts)
        row = {"_run": run, "_exported_at": _moment(run)}
        files = [
            self.write(self.part(run, number + 1), rows[number * ROWS :][:ROWS])
            for number in range(parts)
        ]
        return files + [self.write(self.part(run, 1, table), [row]) for table in TABLES[1:]]

    def names(self, run: str, *tables: str) -> set[str]:
        """Return the names of a run's visible part files, of some tables or all."""
        return {
            name
            for table in tables or TABLES
            for name in self.format.visible(table) or ()
            if run_of_part(name) == run
        }

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> PartFile:
        """Write a part file, unless it exists."""
        if not self.store.exists(name):
            self.store.make_directory(name.rpartition("/")[0])
            staged = self.store.stage(name)
            schema = self.schemas[table_of(name)]
            pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), staged.path)
            staged.keep()
            staged.wait()
        data = self.store.read(name)
        return PartFile(name, len(rows), len(data), hashlib.sha256(data).hexdigest())

    def show(
        self,
        number: int,
        shown: Sequence[PartFile],
        *,
        hidden: Iterable[str] = (),
        **given: Any,
    ) -> None:
        """Show a change."""
        self.format.show(self.change(number, shown, hidden=hidden, **given))

    def change(
        self, number: int, shown: Sequence[PartFile], *, hidden: Iterable[str] = (), **given: Any
    ) -> Change:
        """Return a change."""
        runs = [run_of_part(file.name) or "" for file in shown]
        return Change(
            **{
                "lake": LAKE,
                "number": number,
                "run": runs[0] if runs else "",
                "shown": shown,
                "hidden": sorted(hidden),
                "schemas": self.schemas if shown else {},
                **given,
            }
        )


def ids_read(lake: Lake, reader: str = "deltalake") -> list[str]:
    """Return the ids of the licenses that a reader of Delta sees, sorted."""
    where = lake.store.where(LICENSES)
    if reader == "polars":
        import polars as pl

        return sorted(pl.scan_delta(where).select("id").collect()["id"])
    delta = DeltaTable(where)
    if reader == "pyarrow":
        table = delta.to_pyarrow_dataset().to_table(columns=["id"])
    else:
        table = pa.table(delta.to_pyarrow_table(columns=["id"]))
    return sorted(table["id"].to_pylist())


def _moment(run: str) -> datetime:
    return datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
