"""A lake of Delta tables keeps the promises of every lake, next to other programs, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamlic.dataset.records import WantedFormat
from streamlic.storage.base import Store
from tests.tables.other_programs import TableFormatTests

deltalake = pytest.importorskip("deltalake")


class TestDeltaLake(TableFormatTests):
    format = WantedFormat(name="delta")

    def visible(self, store: Store) -> list[str]:
        where = store.where("licenses")
        if not (Path(where) / "_delta_log").exists():
            return []
        ids: list[str] = (
            deltalake.DeltaTable(where).to_pyarrow_table(columns=["id"])["id"].to_pylist()
        )
        return sorted(ids)

    def delete_rows(self, store: Store, where: str) -> None:
        deltalake.DeltaTable(store.where("licenses")).delete(where)

    def restore(self, store: Store) -> None:
        table = deltalake.DeltaTable(store.where("licenses"))
        table.restore(table.version() - 1)

    def drop(self, store: Store) -> None:
        shutil.rmtree(Path(store.where("licenses")) / "_delta_log")
