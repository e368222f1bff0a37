"""Exports into Delta tables in a bucket, killed by the server at a write, and repeated."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import polars as pl
import pytest
from deltalake import DeltaTable

from streamlic.dataset.lake import ACCOUNTS, LICENSES, RUNS, TABLES
from streamlic.emulator import EmulatorConfig, emulated_accounts, running_emulator
from tests.support.cli import run_cli, start_cli
from tests.support.watched_s3 import WatchedS3, watched_s3

RECORDS, ACCOUNT_COUNT = 30, 3
CONFIG = EmulatorConfig(accounts=emulated_accounts(ACCOUNT_COUNT, records=RECORDS), page_size=10)
LAST_WRITES = range(12)
"""At the end of a run: its part files, its record, three tables with a commit each, and more."""


@pytest.fixture(scope="module")
def s3() -> Iterator[WatchedS3]:
    with watched_s3() as watched, pytest.MonkeyPatch.context() as patched:
        for name, value in watched.env.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="lakes")
        yield watched


def command(dest: str, url: str) -> list[str]:
    return [
        "export", dest, "--all-accounts", "--base-url", url, "--rate-limit", "none", "--json",
        "--quiet", "--format", "delta", "--partition-by", "export_date", "--mode", "append",
    ]  # fmt: skip


def check(dest: str, runs: int) -> None:
    """Check that the last run of the day is there once, and every run in the histories."""
    read = {table: pl.read_delta(f"{dest}/{table}") for table in TABLES}
    licenses = read[LICENSES]
    assert licenses.height == licenses["id"].n_unique() == RECORDS * ACCOUNT_COUNT
    assert set(licenses["export_date"]) == {datetime.now(UTC).date()}
    assert read[RUNS].height == runs
    assert read[ACCOUNTS].height == runs * ACCOUNT_COUNT
    newest = read[RUNS].sort("_exported_at")["_run"][-1]
    assert set(licenses["_run"]) == {newest}


@pytest.mark.long
@pytest.mark.parametrize("last", LAST_WRITES)
async def test_a_killed_export_is_resumed_and_a_repeated_one_replaces_its_day(
    s3: WatchedS3, last: int
) -> None:
    dest = f"s3://lakes/killed-{last}"
    async with running_emulator(CONFIG) as emulator:
        s3.watch()
        ended = await run_cli(*command(f"{dest}-whole", emulator.url))
        assert ended.code == 0, ended.err
        s3.watch(kills=s3.writes - last)
        killed = await start_cli(*command(dest, emulator.url))
        s3.has_client(killed.pid)
        await killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        s3.watch()
        for runs in (1, 2):
            ended = await run_cli(*command(dest, emulator.url), "--take-over")
            assert ended.code == 0, ended.err
            check(dest, runs)
    verified = await run_cli("verify", dest)
    assert verified.code == 0, verified.err
    assert DeltaTable(f"{dest}/{LICENSES}").version() == 2
