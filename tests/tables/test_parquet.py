"""The table of plain Parquet files: the promises of every table, and its names."""

from __future__ import annotations

from pathlib import Path

from streamlic.storage.local import LocalStore
from streamlic.tables.base import Table
from streamlic.tables.parquet import ParquetTable
from tests.support.batches import land, visible_ids
from tests.tables.table_tests import TableTests


class TestParquetTable(TableTests):
    def open_table(self, store: LocalStore) -> Table:
        return ParquetTable(store)

    def visible(self, table: Table) -> list[str]:
        return visible_ids(Path(table.store.where()))


def test_readers_find_the_part_files_by_their_names(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    assert sorted(path.name for path in tmp_path.glob("licenses/*.parquet")) == sorted(
        file.name for file in run.files
    )
    assert all(file.name.startswith(f"part-{run.id}-") for file in run.files)
