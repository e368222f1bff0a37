"""The table of plain Parquet files: the promises of every table, and its names."""

from __future__ import annotations

from pathlib import Path

from streamlic.dataset.lake import run_of
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
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert found == sorted(file.name for file in run.files)
    assert [len(run.files_of(table)) for table in ("accounts", "runs")] == [1, 1]
    assert all(run_of(file.name) == run.id for file in run.files)


def test_staged_files_are_not_found_by_readers_that_search_a_tree(tmp_path: Path) -> None:
    land(tmp_path, "new", pages=4)
    assert list(tmp_path.rglob("*.staged"))
    assert not list(tmp_path.rglob("*.parquet"))
