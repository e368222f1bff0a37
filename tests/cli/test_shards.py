"""Four shards of one run, each a process of its own: one complete run, whatever ends one."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import STAGING
from streamlic.dataset.records import shard_of
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts, running_emulator
from streamlic.storage.open_store import open_store
from streamlic.tables.iceberg.catalog import open_catalog
from tests.support.cli import TOKEN, asked, check_accounts, landed, start_cli
from tests.tables.iceberg_lake import use_catalog

SHARDS = 4
SIZES = {account.id: account.records for account in emulated_accounts(14, records=60).values()}
OPTIONS = ("--limit", "10", "--commit-seconds", "0", "--run-key", "night", "--all-accounts")
FORMATS: Mapping[str, list[str]] = {
    "parquet": [],
    "delta": ["--format", "delta"],
    "iceberg": ["--format", "iceberg", "--catalog", "local"],
}


async def exported(dest: str, url: str, *more: str, shard: int = 0) -> Any:
    """Start an export of all accounts, or of one shard of them."""
    of_shard = ["--shard", f"{shard}/{SHARDS}"] if shard else []
    return await start_cli(
        "export", dest, "--base-url", url, "--json", "--quiet", *OPTIONS, *of_shard, *more
    )


async def ended(process: Any) -> tuple[int, dict[str, Any]]:
    """Wait for a process; return its exit code and its summary."""
    out, err = await process.communicate()
    assert TOKEN not in (out + err).decode()
    assert process.returncode == 0, err.decode()
    summary: dict[str, Any] = json.loads(out)
    return process.returncode, summary


async def four_with_a_kill(
    dest: str, emulator: Emulator, seed: int, *more: str, again: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Read four shards at once, kill one at a random moment, and start it again."""
    rng = random.Random(os.environ.get("STREAMLIC_TEST_SEED", seed))
    before = len(emulator.requests)
    processes = {
        number: await exported(dest, emulator.url, *more, shard=number)
        for number in range(1, SHARDS + 1)
    }
    victim = rng.randrange(1, SHARDS + 1)
    await asked(emulator, before + rng.randrange(SHARDS, 60))
    processes[victim].kill()
    await processes[victim].communicate()
    processes[victim] = await exported(dest, emulator.url, *more, *again, shard=victim)
    found = await asyncio.gather(*map(ended, processes.values()))
    return [summary for _, summary in found]


@pytest.mark.parametrize("table_format", FORMATS)
async def test_four_shards_of_which_one_is_killed_are_one_complete_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table_format: str
) -> None:
    use_catalog(tmp_path, monkeypatch.setenv)
    config = EmulatorConfig(accounts=SIZES, rate_limits=True, latency_ms=5)
    async with running_emulator(config) as emulator:
        summaries = await four_with_a_kill(
            str(tmp_path / "lake"), emulator, 11, *FORMATS[table_format]
        )
        assert emulator.refused == 0, "no 429"
    check_whole(str(tmp_path / "lake"), summaries)
    check_read(tmp_path / "lake", table_format)


def check_whole(dest: str, summaries: list[dict[str, Any]]) -> None:
    """One run is complete, as the last of the processes says; nothing else is left."""
    store = open_store(dest)
    [run] = load_lake(store).runs.values()
    assert run.is_finished
    assert store.names(STAGING) == []
    whole = [one for one in summaries if one["complete"]]
    assert whole
    for one in summaries:
        ended_shards = one["shard"]["ended"]
        assert one["shard"]["of"] == SHARDS
        assert one["run"] == run.id
        assert one["shard"]["number"] in ended_shards
        of_shard = [a for a in SIZES if shard_of(a, SHARDS) == one["shard"]["number"]]
        accounts = SIZES if one["complete"] else of_shard
        assert one["rows"] == sum(SIZES[account] for account in accounts)


def check_read(dest: Path, table_format: str) -> None:
    """Readers of the format see what one export lands: each record of the emulator, once."""
    check_accounts(dest, SIZES, rows=rows_of(dest, table_format))


def rows_of(dest: Path, table_format: str) -> list[dict[str, Any]]:
    if table_format == "parquet":
        return landed(dest)
    if table_format == "delta":
        table = DeltaTable(dest / "licenses").to_pyarrow_table()
    else:
        found = open_catalog("local").find("licenses")
        assert found
        table = pl.scan_iceberg(found).collect().to_arrow()
    rows: list[dict[str, Any]] = table.sort_by("id").to_pylist()
    return rows
