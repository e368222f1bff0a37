"""``spark.read.format("truto")`` on a cluster: the rows that ``export`` lands, and no more requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

import streamlic
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts
from tests.support.cli import TOKEN
from tests.support.reading import settings_of
from tests.support.server_thread import served

if TYPE_CHECKING:
    from pyspark.sql import DataFrameReader, SparkSession

pytestmark = pytest.mark.spark
ACCOUNTS = emulated_accounts(24, records=50, sizes="power-law")
PAGE = 100
ROWS = sum(one.records for one in ACCOUNTS.values())
PAGES = sum(-(-one.records // PAGE) for one in ACCOUNTS.values())


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator) -> None:
    emulator.requests.clear()


@pytest.fixture(scope="module")
def lake(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of the same accounts, which ``export`` made."""
    dest = tmp_path_factory.mktemp("exported") / "lake"
    connection = settings_of(emulator.url)
    streamlic.export(dest, all_accounts=True, connection=connection, limit=PAGE)
    return dest


@pytest.fixture
def source(spark: SparkSession, emulator: Emulator) -> DataFrameReader:
    """Return a reader of the emulator's licenses, which lacks nothing but the accounts."""
    from streamlic.integrations.spark import register

    register(spark)
    reader = spark.read.format("truto").option("baseUrl", emulator.url).option("limit", PAGE)
    return reader.option("rateLimit", "none")


def pages(emulator: Emulator) -> int:
    return sum("licenses" in one.path for one in emulator.requests)


def same(found: Path, lake: Path, columns: str) -> tuple[int, int, int]:
    """Return the rows of a directory of Parquet, and how many differ from a lake's, both ways."""
    duckdb.sql("set timezone = 'UTC'")
    ours = f"select {columns} from read_parquet('{lake}/licenses/*.parquet')"
    theirs = f"select {columns} from read_parquet('{found}/*.parquet')"
    counts = [
        duckdb.sql(f"select count(*) from ({query})").fetchall()[0][0]
        for query in (theirs, f"{theirs} except all {ours}", f"{ours} except all {theirs}")
    ]
    return counts[0], counts[1], counts[2]


def test_all_accounts_have_the_rows_that_export_lands(
    source: DataFrameReader, emulator: Emulator, lake: Path, tmp_path: Path
) -> None:
    emulator.requests.clear()
    frame = source.option("allAccounts", "true").load()
    columns = ["integrated_account_id", "integration", "tenant_id"]
    assert frame.columns == [*columns, *streamlic.LICENSE_SCHEMA.names]
    frame.write.option("compression", "zstd").parquet(str(tmp_path / "found"))
    names = ", ".join(frame.columns)
    assert same(tmp_path / "found", lake, names) == (ROWS, 0, 0)
    assert pages(emulator) == PAGES
