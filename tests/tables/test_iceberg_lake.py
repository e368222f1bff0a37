"""A lake of Iceberg tables keeps the promises of every lake, next to other programs, too."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import names_in_tables
from streamlic.dataset.records import Format
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables import upkeep
from streamlic.tables.base import LakeWriter
from streamlic.tables.formats import unlike_the_log
from streamlic.tables.iceberg import maintenance
from streamlic.tables.iceberg.catalog import open_catalog
from streamlic.tables.upkeep import compact
from tests.tables.iceberg_lake import use_catalog
from tests.tables.lake_tests import complete, ids, part, start
from tests.tables.other_programs import OPTIONS, TableFormatTests


class TestIcebergLake(TableFormatTests):
    format = Format(name="iceberg", catalog="local")

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

    def drop(self, store: Store) -> None:  # noqa: ARG002
        opened = open_catalog("local")
        opened.catalog.drop_table(opened.identifier("licenses"))
