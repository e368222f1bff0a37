"""Two million licenses of 500 accounts, with the limits of the API enforced, a worker killed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, emulated_accounts
from tests.spark.cluster import Cluster
from tests.spark.test_source import same
from tests.support.cli import TOKEN
from tests.support.reading import settings_of
from tests.support.server_thread import pages, served

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ACCOUNTS, ROWS, PAGE = 500, 4000, 1000
PAGES = ACCOUNTS * ROWS // PAGE


@pytest.mark.parametrize("is_killed", [False, True], ids=["undisturbed", "killed"])
def test_a_read_of_two_million_licenses(
    spark: SparkSession, cluster: Cluster, tmp_path: Path, *, is_killed: bool
) -> None:
    """No request is one too many, and the rows are those of ``export``."""
    from streamlic.integrations.spark import register

    register(spark)
    accounts = emulated_accounts(ACCOUNTS, records=ROWS)
    dest, found = tmp_path / "lake", tmp_path / "found"
    with served(EmulatorConfig(accounts=accounts, token=TOKEN)) as emulator:
        connection = settings_of(emulator.url)
        streamlic.export(dest, all_accounts=True, connection=connection, limit=PAGE)
    config = EmulatorConfig(accounts=accounts, token=TOKEN, rate_limits=True)
    with served(config) as emulator, ThreadPoolExecutor() as pool:
        options = {"baseUrl": emulator.url, "allAccounts": "true", "limit": str(PAGE)}
        frame = spark.read.format("truto").options(**options, slots="2").load()
        names = ", ".join(frame.columns)
        started = time.monotonic()
        writing = pool.submit(frame.write.parquet, str(found))
        if is_killed:
            cluster.wait_for(lambda: pages(emulator) > PAGES / 2)
            assert not writing.done()
            cluster.kill_worker(1)
        writing.result()
        seconds = time.monotonic() - started
        print(f"{pages(emulator):,} requests in {seconds:.1f} s, {emulator.refused} refused")
        assert emulator.refused == 0
        assert pages(emulator) >= PAGES if is_killed else pages(emulator) == PAGES
        assert same(found, dest, names) == (ACCOUNTS * ROWS, 0, 0)
