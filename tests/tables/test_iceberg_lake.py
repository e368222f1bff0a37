"""A lake of Iceberg tables keeps the promises of every lake, next to other programs, too."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import StringType

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import names_in_tables
from streamlic.dataset.records import Rewritten, WantedFormat
from streamlic.errors import DatasetConflict, IntegrityError
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables import upkeep
from streamlic.tables.base import LakeWriter
from streamlic.tables.formats import check_seen, unlike_the_log
from streamlic.tables.iceberg import maintenance
from streamlic.tables.iceberg.catalog import open_catalog
from streamlic.tables.runs import open_run
from streamlic.tables.upkeep import compact, expire
from tests.tables.delete_files import delete_first_row
from tests.tables.iceberg_lake import use_catalog
from tests.tables.lake_tests import complete, ids, part, start
from tests.tables.other_programs import ASKED, OPTIONS, TableFormatTests


class TestIcebergLake(TableFormatTests):
    format = WantedFormat(name="iceberg", catalog="local")

    @pytest.fixture(autouse=True)
    def catalog(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        use_catalog(tmp_path, monkeypatch.setenv)

    def copied(self, start: Path, name: str) -> Path:  # noqa: ARG002
        """Iceberg's metadata has whole paths: the lake itself is brought back."""
        catalog, saved = start.with_name("catalog.db"), start.with_name("saved")
        if not saved.exists():
            shutil.copytree(start, saved / "lake")
            shutil.copy(catalog, saved)
        shutil.rmtree(start)
        shutil.copytree(saved / "lake", start)
        shutil.copy(saved / "catalog.db", catalog)
        return start

    def test_a_lake_may_be_named_from_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a path from the current directory, or an absolute one: readers have another one."""
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
        for number, dest in enumerate(("../lake", "../below/../lake", str(tmp_path / "lake"))):
            lake = self.opened(LocalStore(dest))
            run = start(lake)
            complete(lake, run, part(lake, run, 20 * number))
        monkeypatch.chdir(tmp_path)
        assert self.visible(LocalStore(tmp_path)) == ids(0, 20, 40)

    def test_a_lake_under_another_name_of_its_place_is_refused(self, lake: LakeWriter) -> None:
        """The paths in the tables' metadata are not those of its files: all would seem unneeded."""
        self.nights(lake, 2)
        Path(lake.store.where()).with_name("link").symlink_to(lake.store.where())
        linked = LocalStore(Path(lake.store.where()).with_name("link"))
        before = names_in_tables(lake.store)
        for work in (
            lambda: expire(linked, keep=1, options=OPTIONS),
            lambda: self.opened(linked).forget_versions(0),
            lambda: compact(linked, OPTIONS),
        ):
            with pytest.raises(DatasetConflict, match=r"lies in .*/lake/\w+, expected .*/link"):
                work()
        [problem, *_] = unlike_the_log(linked)
        assert "lies in" in problem
        assert names_in_tables(lake.store) == before
        assert unlike_the_log(lake.store) == []

    def test_rows_that_delete_files_name_are_not_copied(self, lake: LakeWriter) -> None:
        """Other programs delete rows by files that name them: the part files still have them."""
        self.nights(lake, 2)
        table = open_catalog("local").find("licenses")
        assert table is not None
        delete_first_row(table)
        seen = self.visible(lake.store)
        assert len(seen) == 39
        assert "another program has deleted rows" in unlike_the_log(lake.store)[0]
        done = compact(lake.store, OPTIONS)
        assert done.tables["licenses"].rewritten_files == 0
        assert done.tables["accounts"].rewritten_files == 2
        again = self.writer(lake.store)
        run = open_run(again, **{**ASKED, "accounts": [None], "mode": "overwrite"})
        files = [Rewritten(file, []) for old in again.runs for file in old.license_files]
        with pytest.raises(DatasetConflict, match="they would come back"):
            check_seen(lake.store, again.lake, files)
        complete(again, run, part(again, run, 40))
        assert self.visible(lake.store) == ids(40)

    def test_a_compaction_that_was_overtaken_by_delete_files_is_not_promised(
        self, lake: LakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.nights(lake, 2)
        rewrite = LakeWriter.rewrite

        def late(*given: Any) -> None:
            table = open_catalog("local").find("licenses")
            assert table is not None
            delete_first_row(table)
            rewrite(*given)

        with monkeypatch.context() as patch:
            patch.setattr(LakeWriter, "rewrite", late)
            with pytest.raises(IntegrityError, match="would come back"):
                compact(lake.store, OPTIONS)
        assert len(self.visible(lake.store)) == 39

    def test_a_column_that_was_renamed_is_not_added_again(self, lake: LakeWriter) -> None:
        self.nights(lake, 1)
        table = open_catalog("local").find("licenses")
        assert table is not None
        with table.update_schema() as update:
            update.rename_column("name", "license_name")
        with pytest.raises(DatasetConflict, match="has renamed or dropped the column name of"):
            open_run(self.writer(lake.store), **ASKED)
        with table.update_schema() as update:
            update.rename_column("license_name", "name")
            update.add_column("note", StringType())
        again = self.writer(lake.store)
        run = open_run(again, **ASKED)
        complete(again, run, part(again, run, 20))
        assert self.visible(lake.store) == ids(0, 20)

    def test_a_column_of_another_type_is_not_promised(
        self, lake: LakeWriter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.nights(lake, 1)
        table = open_catalog("local").find("licenses")
        assert table is not None
        with table.update_schema() as update:
            update.delete_column("available_quantity")
        with table.update_schema() as update:
            update.add_column("available_quantity", StringType())
        again = self.writer(lake.store)
        run = open_run(again, **ASKED)
        words = "column available_quantity .* is string, and its new rows have long"
        with pytest.raises(DatasetConflict, match=words):
            complete(again, run, part(again, run, 20))
        assert load_lake(lake.store).pending is None
        assert capsys.readouterr().out == "", "pyiceberg writes a table of the types there"

    def test_an_expiry_that_was_overtaken_deletes_nothing_of_its_rival(
        self, lake: LakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was stopped after it looked at a table, before it lists its files."""
        self.nights(lake, 3)
        stopped = self.opened(lake.store)

        def late(store: Store) -> list[str]:
            patch.undo()
            rival = self.opened(store)
            self.nights(rival, 1)
            with monkeypatch.context() as again:
                again.setattr(upkeep, "writer_lock", lambda _: nullcontext())
                compact(store, OPTIONS)
            return names_in_tables(store)

        with monkeypatch.context() as patch:
            patch.setattr(maintenance, "names_in_tables", late)
            stopped.forget_versions(7)
        assert unlike_the_log(lake.store) == []
        promised = {file.name for file in load_lake(lake.store).live_files}
        assert promised <= {*names_in_tables(lake.store)}

    def visible(self, store: Store) -> list[str]:  # noqa: ARG002
        table = open_catalog("local").find("licenses")
        if table is None:
            return []
        ids: list[str] = table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
        return sorted(ids)

    def delete_rows(self, store: Store, where: str) -> None:  # noqa: ARG002
        table = open_catalog("local").find("licenses")
        assert table is not None
        table.delete(where)

    def restore(self, store: Store) -> None:  # noqa: ARG002
        table = open_catalog("local").find("licenses")
        assert table is not None
        snapshot = table.current_snapshot()
        assert snapshot is not None
        assert snapshot.parent_snapshot_id is not None
        table.manage_snapshots().rollback_to_snapshot(snapshot.parent_snapshot_id).commit()

    def drop(self, store: Store) -> None:  # noqa: ARG002
        opened = open_catalog("local")
        opened.catalog.drop_table(opened.identifier("licenses"))
