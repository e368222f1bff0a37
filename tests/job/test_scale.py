"""Thousands of accounts: as fast as limits allow, in memory that stays, recovered in seconds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest

from streamlic.dataset.commit_log import load_runs
from streamlic.emulator import EmulatedAccount, emulated_accounts
from streamlic.storage.local import LocalStore
from tests.support.cli import TOKEN, Ended, run_cli, start_cli, start_interpreter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's"),
]
LATENCY_MS = 50
PAGE_SIZE = 500
MEASURE = """
import sys
from streamlic.cli.commands import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


@asynccontextmanager
async def emulator(*args: str) -> AsyncIterator[str]:
    """Run an emulator in a process of its own; give its URL."""
    process = await start_interpreter("emulate", *args)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def measured(*args: str) -> tuple[Ended, float]:
    """Run streamlic in a process of its own; return how it ended, and its VmHWM in MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return Ended(0, out.decode(), err.decode()), int(err.split()[-1]) / 1024


def named(file: Path, accounts: Mapping[str, EmulatedAccount]) -> list[str]:
    file.write_text("\n".join(accounts))
    return ["--accounts-file", str(file), "--json", "--quiet"]


def shortest_seconds(pages: list[int]) -> float:
    """Return what both limits and the latency allow: nobody could end sooner.

    The last request of a tier goes when the windows before it have passed, and is then answered;
    an account's pages follow each other.
    """
    token = 10 * ((sum(pages) - 1) // 500)
    account = max(10 * ((own - 1) // 50) for own in pages)
    latency = max(pages) * LATENCY_MS / 1000
    return max(token + LATENCY_MS / 1000, account + LATENCY_MS / 1000, latency)


async def test_two_thousand_accounts_take_what_limits_allow(tmp_path: Path) -> None:
    accounts = emulated_accounts(2000, records=20, sizes="power-law")
    records = [one.records for one in accounts.values()]
    pages = [max(1, -(-one // PAGE_SIZE)) for one in records]
    args = ["--accounts", "2000", "--records", "20", "--sizes", "power-law"]
    args += ["--rate-limits", "--latency-ms", str(LATENCY_MS), "--page-size", str(PAGE_SIZE)]
    more = named(tmp_path / "accounts", accounts)
    async with emulator(*args) as url:
        ended, peak = await measured("export", str(tmp_path / "many"), "--base-url", url, *more)
    shortest = shortest_seconds(pages)
    took = ended.summary["seconds"]
    few = emulated_accounts(20, records=sum(records) // 20)
    more = [*named(tmp_path / "few", few), "--rate-limit", "none"]
    args = ["--accounts", "20", "--records", str(sum(records) // 20)]
    async with emulator(*args, "--page-size", str(PAGE_SIZE)) as url:
        _, few_peak = await measured("export", str(tmp_path / "out"), "--base-url", url, *more)
    # Figures to look at, with -s. They are not asserted: other work on the machine changes them.
    # It changes the retries too: a request that arrives half a second late may meet a 429.
    print(
        f"{took:.1f} s, {shortest:.1f} s at the least; {ended.summary['retries']} retries; "
        f"{peak:.0f} MiB, of 20 {few_peak:.0f} MiB"
    )
    assert ended.summary["rows"] == sum(records)
    assert ended.summary["pages"] == sum(pages)
    assert peak < 256
    assert peak - few_peak < 16


async def test_ten_thousand_small_accounts(tmp_path: Path) -> None:
    accounts = emulated_accounts(10_000, records=20)
    more = [*named(tmp_path / "accounts", accounts), "--rate-limit", "none"]
    dest = tmp_path / "out"
    async with emulator("--accounts", "10000", "--records", "20") as url:
        ended, peak = await measured("export", str(dest), "--base-url", url, *more)
    per_second = 10_000 / ended.summary["seconds"]
    print(f"{per_second:.0f} accounts/s, {ended.summary['parts']} part files, {peak:.0f} MiB")
    assert ended.summary["rows"] == 200_000
    assert ended.summary["parts"] <= 4
    assert peak < 256
    account = list(accounts)[4321]
    started = time.monotonic()
    with duckdb.connect() as connection:
        question = (
            f"select count(*) from '{dest}/licenses/*.parquet' where integrated_account_id = ?"  # noqa: S608
        )
        assert connection.execute(question, [account]).fetchall() == [(20,)]
    by_duckdb, started = time.monotonic() - started, time.monotonic()
    frame = pl.scan_parquet(f"{dest}/licenses/*.parquet")
    found: Any = frame.filter(pl.col("integrated_account_id") == account).collect()
    print(f"one account: DuckDB {by_duckdb:.2f} s, polars {time.monotonic() - started:.2f} s")
    assert found.height == 20


async def test_thousands_of_pages_of_a_single_row(tmp_path: Path) -> None:
    """What a batch takes besides its rows counts, where there are as many batches as rows."""
    peaks = []
    for records in (1_000, 6_000):
        more = ["--all-accounts", "--limit", "1", "--rate-limit", "none", "--json", "--quiet"]
        dest = str(tmp_path / str(records))
        async with emulator("--accounts", "1", "--records", str(records)) as url:
            ended, peak = await measured("export", dest, "--base-url", url, *more)
        assert ended.summary["rows"] == ended.summary["pages"] == records
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 16, peaks


async def test_ten_thousand_accounts_are_recovered_in_seconds(tmp_path: Path) -> None:
    """Killed with many commits of many accounts each, the run is at its next request soon."""
    accounts = emulated_accounts(10_000, records=20)
    more = [*named(tmp_path / "accounts", accounts), "--rate-limit", "none"]
    dest = tmp_path / "out"
    async with emulator("--accounts", "10000", "--records", "20") as url:
        args = ["export", str(dest), "--base-url", url, *more, "--commit-seconds", "0.2"]
        process = await start_cli(*args)
        while len(list(dest.glob("_streamlic/log/*.json"))) < 20:  # noqa: ASYNC110  # files set no asyncio.Event
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        started = time.monotonic()
        [run] = load_runs(LocalStore(dest))
        took = time.monotonic() - started
        done = sum(point.is_done for point in run.points.values())
        ended = await run_cli(*args)
    print(f"{done} accounts in {run.commits} commits, folded in {took:.2f} s")
    assert 0 < done < 10_000
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"] is True
    assert ended.summary["rows"] == 200_000
    counts = (
        ds.dataset(dest / "licenses")
        .to_table(columns=["id"])
        .group_by("id")
        .aggregate([("id", "count")])
    )
    assert counts.num_rows == 200_000
    assert (await run_cli("verify", str(dest))).code == 0
