"""Nights of exports into Iceberg tables: killed, refused, repeated; the same rows as in Parquet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.table import Table

from streamlic.dataset.lake import LICENSES, RUNS
from streamlic.emulator import EmulatorConfig, emulated_accounts
from streamlic.tables.iceberg.catalog import open_catalog
from streamlic.tables.iceberg.files import live_files
from tests.job.test_many_accounts import faulty
from tests.job.test_thirty_nights import (
    GIVEN_UP,
    LONG,
    PAGE_ROWS,
    PLAIN,
    REFUSED,
    REPEATED,
    Platform,
    live_through,
)
from tests.support.nights import Expected, RunsWatcher
from tests.tables.iceberg_lake import use_catalog


def table_named(name: str) -> Table | None:
    return open_catalog("local").find(name)


class IcebergExpected(Expected):
    def read(self, dest: Path, table: str) -> pa.Table:  # noqa: ARG002
        found = table_named(table)
        assert found is not None
        # Not pyiceberg's own reader: it makes an empty list of one that is null.
        return pl.scan_iceberg(found).collect().to_arrow()


class IcebergPlatform(Platform):
    @property
    def command(self) -> list[str]:
        return [*super().command, "--format", "iceberg", "--catalog", "local"]

    def parts(self) -> Mapping[str, int]:
        found = table_named(LICENSES)
        return {file.file_path: file.record_count for file in live_files(found)} if found else {}

    def parts_by_name(self) -> Mapping[str, int]:
        found = self.parts().items()
        return {f"{LICENSES}/{path.rpartition('/licenses/')[2]}": rows for path, rows in found}


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    ("accounts", "changes", "nights"),
    [
        pytest.param(12, 0.2, [REFUSED, REPEATED, GIVEN_UP, PLAIN], id="short"),
        pytest.param(
            500, 0.03, [LONG.get(night, PLAIN) for night in range(30)], id="long",
            marks=pytest.mark.long,
        ),
    ],
)  # fmt: skip
async def test_nights_are_whole_and_no_account_is_lost(  # noqa: PLR0917
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    accounts: int,
    changes: float,
    nights: list[str],
) -> None:
    use_catalog(tmp_path, monkeypatch.setenv)
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    expected = IcebergExpected(mode, PAGE_ROWS)
    platform = IcebergPlatform(tmp_path / "lake", mode, "45%", expected)
    config = EmulatorConfig(
        accounts=emulated_accounts(accounts, records=15, unhealthy_share=0.05),
        page_size=PAGE_ROWS,
        changes=changes,
    )
    async with faulty(config, platform.fault) as platform.emulator:
        with RunsWatcher(mode, platform.parts_by_name) as watcher:
            for number, what in enumerate(nights):
                platform.emulator.night = number
                await live_through(platform, what)
                await asyncio.to_thread(watcher.look)
        await asyncio.to_thread(expected.check, platform.dest)
    assert not watcher.wrong, watcher.wrong
    rows = expected.read(platform.dest, RUNS).select(["_run", "rows"]).to_pylist()
    assert watcher.seen == {(row["_run"], row["rows"]) for row in rows}
