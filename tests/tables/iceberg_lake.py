"""A lake of Iceberg tables in a SQL catalog, for tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table

from streamlic.dataset.lake import TABLES, schema_of, table_of
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import PartFile
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables.iceberg.format import IcebergFormat
from streamlic.tables.table_format import Change
from tests.support.batches import SCHEMA, license_batch

RUN = "20260102T030405Z-00000001"
SCHEMAS = {table: schema_of(table, SCHEMA) for table in TABLES}
PART_ROWS = 20


class IcebergLake:
    """Part files in a directory, and the tables that show them."""

    def __init__(
        self,
        root: Path,
        *,
        partition_by: str | None = None,
        store: Store | None = None,
        catalog: str = "local",
    ) -> None:
        self.store = store or LocalStore(root / "lake")
        self.partition_by = partition_by
        self.format = IcebergFormat(self.store, catalog, partition_by=partition_by)

    def part(
        self,
        number: int,
        *,
        table: str = "licenses",
        run: str = RUN,
        rows: int = PART_ROWS,
        exported_at: Sequence[datetime] = (),
        schema: pa.Schema | None = None,
    ) -> PartFile:
        """Write a part file under its final name, as a run does; its ids are its number's."""
        directory = table
        if self.partition_by and table == "licenses":
            directory += f"/export_date={run[:4]}-{run[4:6]}-{run[6:8]}"
        name = f"{directory}/part-{run}-000001-{number:06d}.parquet"
        self.store.make_directory(directory)
        schema = schema or SCHEMAS[table]
        rows_of = license_batch(number * PART_ROWS, rows).to_pylist()
        moment = datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        for place, row in enumerate(rows_of):
            row["_run"] = run
            row["_exported_at"] = exported_at[place % len(exported_at)] if exported_at else moment
        part = Part(
            self.store,
            name,
            schema,
            staged=name,
            row_group_bytes=1 << 20,
            compression="zstd",
            long_text_columns=frozenset({"description"}),
        )
        if rows_of:
            part.write(pa.RecordBatch.from_pylist(rows_of, schema=schema))
        part.close()
        part.wait()
        return PartFile(name, part.rows, part.bytes, part.sha256)

    def change(
        self,
        number: int,
        shown: Sequence[PartFile] = (),
        hidden: Sequence[PartFile] = (),
        **given: Any,
    ) -> Change:
        return Change(
            **{
                "lake": "lake-1",
                "number": number,
                "run": RUN,
                "shown": shown,
                "hidden": [file.name for file in hidden],
                "schemas": {table_of(file.name): SCHEMAS[table_of(file.name)] for file in shown},
                **given,
            }
        )

    def table(self, name: str = "licenses") -> Table:
        """Return a table as any reader opens it."""
        found = self.format.catalog.find(name)
        assert found is not None
        return found

    def parts(self, name: str = "licenses") -> list[int]:
        """Return the numbers of the part files whose rows a reader sees, sorted.

        Each must be there whole, and once.
        """
        rows = self.table(name).scan(selected_fields=("_run",)).count()
        visible = self.format.visible(name)
        assert visible is not None
        assert rows == len(visible) * PART_ROWS
        return sorted(int(name[-14:-8]) for name in visible)


def use_catalog(root: Path, setenv: Callable[[str, str], None]) -> None:
    """Configure the catalog ``local``, as a user does."""
    root.mkdir(parents=True, exist_ok=True)
    setenv("PYICEBERG_CATALOG__LOCAL__URI", f"sqlite:///{root}/catalog.db")


# Deaths, in a process of their own: ``python -m tests.tables.iceberg_lake …``


class Deaths:
    """Kills this process at its ``step``-th point: before and after all that writes or commits."""

    def __init__(self, step: int) -> None:
        self._left = step
        for owner, name in [
            (PyArrowFile, "create"),
            (PyArrowFileIO, "delete"),
            (SqlCatalog, "commit_table"),
            (SqlCatalog, "create_namespace"),
        ]:
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **given: Any) -> Any:
            self._count()
            done = work(*args, **given)
            self._count()
            return done

        return counted

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def work(root: Path) -> None:
    """Show all changes of a small lake, as a writer does that does not know which were shown."""
    lake = IcebergLake(root)
    old = [lake.part(number) for number in (1, 2)]
    new = [lake.part(number) for number in (3, 4)]
    accounts, runs = lake.part(1, table="accounts"), lake.part(1, table="runs")
    lake.format.show(lake.change(1, [*old, accounts]))
    lake.format.show(lake.change(2, [*new, runs], old))


def died(root: Path, step: int) -> bool:
    """Work in a process that dies at a step; return whether it did."""
    child = os.fork()
    if not child:
        if step:
            Deaths(step)
        work(root)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def seen(root: Path) -> None:
    """Print what a reader sees of licenses, accounts and runs, in a process of its own."""
    if not os.fork():
        lake = IcebergLake(root)
        tables = [lake.format.catalog.find(table) for table in TABLES]
        print([lake.parts(name) if at else None for name, at in zip(TABLES, tables, strict=True)])
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0


def main(directory: Path, first: int, every: int, again: list[int]) -> None:
    """Die at each step, and once more while that is repaired; print what is seen after each."""
    for step in count(first, every):
        for second in again:
            root = directory / f"{step}-{second}"
            use_catalog(root, os.environ.__setitem__)
            if not died(root, step):
                return
            seen(root)
            died(root, second)
            seen(root)
            assert not died(root, 0)
            seen(root)


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[2:]]
    main(Path(sys.argv[1]), numbers[0], numbers[1], numbers[2:])
