"""Four shards of one run, each a process of its own: one complete run, whatever ends one."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import polars as pl
import pytest
from deltalake import DeltaTable

import streamlic
from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import STAGING
from streamlic.dataset.records import shard_of
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts, running_emulator
from streamlic.storage.open_store import open_store
from streamlic.tables.iceberg.catalog import open_catalog
from tests.support.cli import ACCOUNT, TOKEN, asked, check_accounts, landed, run_cli, start_cli
from tests.support.object_servers import MotoServer, ObjectServer
from tests.tables.iceberg_lake import use_catalog

SHARDS = 4
SIZES = {account.id: account.records for account in emulated_accounts(10, records=40).values()}
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


UNPACED = ("--rate-limit", "none")
"""Fewer requests than a window allows: a shard that is started again need not wait."""


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
    await asked(emulator, before + rng.randrange(SHARDS, 30))
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
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    config = EmulatorConfig(accounts=SIZES, rate_limits=True, latency_ms=5)
    async with running_emulator(config) as emulator:
        summaries = await four_with_a_kill(
            str(tmp_path / "lake"), emulator, 11, *UNPACED, *FORMATS[table_format]
        )
        assert emulator.refused == 0, "no 429"
    check_whole(str(tmp_path / "lake"), summaries)
    check_read(tmp_path / "lake", table_format)


@pytest.mark.slow
async def test_four_shards_into_a_bucket_are_one_complete_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MotoServer() as moto:
        await check_in_bucket(moto, tmp_path, monkeypatch, seed=12)


async def check_in_bucket(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Read four shards into a bucket, of which one is killed; they share a scratch directory."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    scratch = tmp_path / "scratch"
    name = f"shards-{uuid4().hex[:12]}"
    config = EmulatorConfig(accounts=SIZES, rate_limits=True, latency_ms=5)
    async with running_emulator(config) as emulator:
        summaries = await four_with_a_kill(
            server.dest(name), emulator, seed, *UNPACED, "--scratch", str(scratch),
            again=("--take-over",),  # Else it waits for the lease of the one that was killed.
        )  # fmt: skip
        assert emulator.refused == 0, "no 429"
    check_whole(server.dest(name), summaries)
    assert not list(scratch.rglob("*.parquet"))
    for key in server.keys(f"{name}/licenses"):
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(obstore.get(server.store(), key).bytes()))
    check_read(tmp_path / name, "parquet")


@pytest.mark.slow
async def test_four_shards_of_one_token_keep_its_rate(tmp_path: Path) -> None:
    """The token's limit is what they wait for, also after one was killed and started again."""
    sizes = {one.id: one.records for one in emulated_accounts(30, records=220).values()}
    dest = str(tmp_path / "lake")
    options = ("--commit-seconds", "2")
    async with running_emulator(EmulatorConfig(accounts=sizes, rate_limits=True)) as emulator:
        started_at = time.monotonic()
        processes = [
            await exported(dest, emulator.url, *options, shard=number)
            for number in range(1, SHARDS + 1)
        ]
        await asked(emulator, 450)
        processes[1].kill()
        await processes[1].communicate()
        processes[1] = await exported(dest, emulator.url, *options, shard=2)
        await asyncio.gather(*map(ended, processes))
        seconds = time.monotonic() - started_at
        assert len(emulator.requests) > 600
        assert emulator.refused == 0
    assert seconds > 10
    assert verify_dataset(open_store(dest)).problems == []
    check_accounts(tmp_path / "lake", sizes)


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


async def test_a_process_says_which_shards_are_left(tmp_path: Path) -> None:
    dest = str(tmp_path / "lake")
    async with running_emulator(EmulatorConfig(accounts=SIZES)) as emulator:
        args = ["export", dest, "--base-url", emulator.url, "--quiet", *OPTIONS]
        first = await run_cli(*args, "--shard", "2/4")
        assert first.code == 0, first.err
        assert "shard 2 of 4 has ended; 1, 3, 4 have not" in first.out
        assert (await run_cli(*args, "--shard", "4/4")).code == 0
        inspected = await run_cli("inspect", dest)
        assert "of 4 shards 2, 4 have ended; 1, 3 are left" in inspected.out
        assert "--run-key night --shard 1/4" in inspected.out
        [run] = (await run_cli("inspect", dest, "--json")).summary["runs"]
        assert run["shards"] == {"of": 4, "ended": [2, 4], "active": []}
        verified = await run_cli("verify", dest)
        assert verified.code == 0
        assert "2 shards of 4 have not ended, such as 1" in " ".join(verified.out.split())
        assert (await run_cli(*args, "--shard", "1/4")).code == 0
        last = await run_cli(*args, "--shard", "3/4")
        assert "(night): complete" in last.out
        again = await run_cli(*args, "--shard", "1/4")
        assert "complete since an earlier command" in again.out
    assert "unfinished" not in (await run_cli("inspect", dest)).out


async def test_a_shard_that_is_being_read_is_said_to_be(tmp_path: Path) -> None:
    dest = str(tmp_path / "lake")
    async with running_emulator(EmulatorConfig(accounts=SIZES, latency_ms=20)) as emulator:
        process = await exported(dest, emulator.url, shard=3)
        await asked(emulator, 6)
        inspected = await run_cli("inspect", dest)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 128 + signal.SIGTERM, err
        assert "of 4 shards 3 is being read; 1, 2, 4 are left" in inspected.out
        _, summary = await ended(await exported(dest, emulator.url, *UNPACED, shard=3))
    assert summary["resumed"]


async def test_wrong_shards_are_refused_with_the_option_that_helps(tmp_path: Path) -> None:
    args = ["export", str(tmp_path / "lake"), "--account", "a", "--shard", "1/4"]
    refused = await run_cli(*args)
    assert refused.code == 2
    assert "shards of one run need its key, the same for all of them (--run-key)" in refused.err
    refused = await run_cli(*args, "--run-key", "night", "--restart")
    assert refused.code == 2
    assert "--restart" in refused.err
    refused = await run_cli(*args[:-1], "0/4", "--run-key", "night")
    assert refused.code == 2
    assert "expected I/N with I from 1 to N" in refused.err


async def test_a_shard_uses_its_share_of_the_tokens_rate(tmp_path: Path) -> None:
    """Unless it says that it has a token of its own, or no limit."""
    shard = streamlic.Share(1, 4)
    settings = streamlic.ConnectionSettings(token=TOKEN)
    limits = [
        one.for_shard(shard).own_token_limit()
        for one in (
            settings,
            dataclasses.replace(settings, token_share="1/1"),
            dataclasses.replace(settings, rate_limit="none"),
            dataclasses.replace(settings, budget=streamlic.LocalBudget()),
        )
    ]
    assert [limit and limit.requests for limit in limits] == [125, 500, None, 500]
    assert settings.for_shard(None) is settings
    refused = await run_cli(
        *("export", str(tmp_path / "lake"), "--account", ACCOUNT),
        *("--shard", "1/600", "--run-key", "k"),
    )
    assert refused.code == 2
    assert "cannot be shared among 600" in refused.err
