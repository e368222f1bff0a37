"""Nights of exports into a bucket: killed, refused, repeated; the same rows as on local disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import EmulatorConfig, emulated_accounts
from streamlic.storage.open_store import open_store
from streamlic.tables.formats import format_of
from streamlic.tables.iceberg.catalog import open_catalog
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
from tests.support.nights import Expected
from tests.support.object_servers import SeaweedServer, catalog_variables
from tests.support.old_duckdb import read_with_old_duckdb, s3_secret

CATALOG = "nights"


@dataclass(frozen=True)
class Url:
    """A DEST in a bucket, used as a path is."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")


class CloudExpected(Expected):
    """What a lake in a bucket must have, as readers of its format see it."""

    table_format = "delta"

    def read(self, dest: Any, table: str) -> pa.Table:
        if self.table_format == "delta":
            return pa.table(DeltaTable(str(dest / table)).to_pyarrow_table())
        found = open_catalog(f"{CATALOG}.lake").find(table)
        assert found is not None
        # Not pyiceberg's own reader: it makes an empty list of one that is null.
        return pl.scan_iceberg(found).collect().to_arrow()


class CloudPlatform(Platform):
    @property
    def table_format(self) -> str:
        assert isinstance(self.expected, CloudExpected)
        return self.expected.table_format

    @property
    def command(self) -> list[str]:
        more = ["--catalog", f"{CATALOG}.lake"] if self.table_format == "iceberg" else []
        return [*super().command, "--format", self.table_format, *more, "--take-over"]

    def unfinished(self) -> bool:
        runs = load_lake(open_store(str(self.dest))).oldest_first
        return any(run.commits and not run.is_complete for run in runs)

    def parts(self) -> Mapping[str, int]:
        store = open_store(str(self.dest))
        chosen = load_lake(store).format
        assert chosen is not None
        return dict.fromkeys(format_of(store, chosen).visible("licenses") or (), 1)


@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    ("accounts", "changes", "nights"),
    [
        pytest.param(12, 0.2, [REFUSED, REPEATED, GIVEN_UP, PLAIN], id="short"),
        pytest.param(
            500, 0.03, [LONG.get(night, PLAIN) for night in range(30)], id="long",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
async def test_nights_in_a_bucket_are_whole_and_no_account_is_lost(  # noqa: PLR0917
    seaweed: SeaweedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str,
    mode: str,
    accounts: int,
    changes: float,
    nights: list[str],
) -> None:
    for name, value in {**seaweed.environment, **catalog_of(seaweed, tmp_path)}.items():
        monkeypatch.setenv(name, value)
    expected = CloudExpected(mode, PAGE_ROWS)
    expected.table_format = table_format
    dest: Any = Url(seaweed.dest(f"nights-{uuid4().hex[:8]}"))
    platform = CloudPlatform(dest, mode, "45%", expected)
    config = EmulatorConfig(
        accounts=emulated_accounts(accounts, records=15, unhealthy_share=0.05),
        page_size=PAGE_ROWS,
        changes=changes,
    )
    async with faulty(config, platform.fault) as platform.emulator:
        for number, what in enumerate(nights):
            platform.emulator.night = number
            await live_through(platform, what)
    await asyncio.to_thread(expected.check, dest)
    assert verify_dataset(open_store(str(dest))).problems == []
    rows = Counter(expected.read(dest, "licenses")["_run"].to_pylist())
    for reader, counted in (await asyncio.to_thread(other_readers, expected, dest)).items():
        assert counted == rows, reader
    assert await asyncio.to_thread(old_duckdb_rows, seaweed, expected, dest) == rows


def other_readers(expected: CloudExpected, dest: Url) -> dict[str, Counter[str]]:
    """Return the number of licenses of each run, as other readers see them."""
    where = str(dest / "licenses")
    if expected.table_format == "delta":
        runs = {
            "polars": pl.scan_delta(where).select("_run").collect()["_run"].to_list(),
            "pyarrow": DeltaTable(where).to_pyarrow_dataset().to_table(["_run"])["_run"],
        }
    else:
        found = open_catalog(f"{CATALOG}.lake").find("licenses")
        assert found is not None
        runs = {"pyiceberg": found.scan(selected_fields=("_run",)).to_arrow()["_run"]}
    return {name: Counter(map(str, column)) for name, column in runs.items()}


def old_duckdb_rows(server: SeaweedServer, expected: CloudExpected, dest: Url) -> Counter[str]:
    """Return the number of licenses of each run, as DuckDB with its extensions sees them."""
    scan = f"delta_scan('{dest / 'licenses'}')"
    if expected.table_format == "iceberg":
        found = open_catalog(f"{CATALOG}.lake").find("licenses")
        assert found is not None
        scan = f"iceberg_scan('{found.metadata_location}')"
    query = f"SELECT _run, count(*) FROM {scan} GROUP BY 1"  # noqa: S608  (names of our own)
    return Counter(dict(read_with_old_duckdb(s3_secret(server.environment), query)))


def catalog_of(server: SeaweedServer, directory: Path) -> dict[str, str]:
    """Return the variables of a catalog in SQLite whose tables are in the server's bucket."""
    given = {"uri": f"sqlite:///{directory}/catalog.db", **server.iceberg_files(server.port)}
    return {**catalog_variables(CATALOG, given), "POLARS_ICEBERG_PLANNER": "pyiceberg"}
