"""A lake of Delta tables keeps the promises of every lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlic.dataset.records import Format
from streamlic.storage.base import Store
from tests.tables.lake_tests import LakeTests

deltalake = pytest.importorskip("deltalake")


class TestDeltaLake(LakeTests):
    format = Format(name="delta")

    def visible(self, store: Store) -> list[str]:
        where = store.where("licenses")
        if not (Path(where) / "_delta_log").exists():
            return []
        ids: list[str] = (
            deltalake.DeltaTable(where).to_pyarrow_table(columns=["id"])["id"].to_pylist()
        )
        return sorted(ids)
