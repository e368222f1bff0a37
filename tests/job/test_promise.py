"""The promise under SIGKILL, and memory that stays flat."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from streamlic.emulator import EmulatorConfig, running_emulator
from tests.support.cli import (
    ACCOUNT,
    OTHER_ACCOUNT,
    TOKEN,
    asked,
    check_landed,
    export_args,
    files_of,
    run_cli,
    start_cli,
    start_interpreter,
    unfinished_rows,
)

RECORDS = 60_000


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_ten_random_kills_lose_and_double_nothing(tmp_path: Path, engine: str) -> None:
    """Kill an export ten times at a random moment, then let it end: every record is there once."""
    rng = random.Random(os.environ.get("STREAMLIC_TEST_SEED", "11"))
    dest = tmp_path / "out"
    more = ["--limit", "500", "--commit-seconds", "0.02", "--part-bytes", "64KiB"]
    more += ["--engine", engine]
    committed = [0]
    async with running_emulator(EmulatorConfig(records=RECORDS, latency_ms=5)) as emulator:
        args = export_args(dest, emulator.url, *more)
        for _ in range(10):
            before = len(emulator.requests)
            process = await start_cli(*args)
            await asked(emulator, before + rng.randrange(2, 11))  # Ten times do not reach the end.
            await asyncio.sleep(rng.uniform(0, 0.05))
            process.kill()
            await process.communicate()
            committed.append(unfinished_rows(dest))
        ended = await run_cli(*args)
    assert ended.code == 0, ended.err
    assert committed == sorted(committed)
    assert 0 < committed[-1] <= RECORDS
    assert ended.summary["resumed"] is True
    assert ended.summary["rows"] == RECORDS
    check_landed(dest, RECORDS)
    check_files(dest, ended.summary["run"])
    assert (await run_cli("verify", str(dest))).code == 0
    check_readers(dest)


def check_files(dest: Path, run: str) -> None:
    """There is nothing but the run's part files, its log, and the lock."""
    names = files_of(dest)
    parts = {name for name in names if name.endswith(".parquet")}
    tables = {name.partition(f"/part-{run}-")[0] for name in parts}
    assert tables == {"licenses", "accounts", "runs"}
    log = ("_streamlic/log/0", "_streamlic/snapshots/0")
    others = {name for name in names - parts if not name.startswith(log)}
    assert others - {"_streamlic/lock"} == set()


def check_readers(dest: Path) -> None:
    """Readers that know nothing of streamlic agree."""
    columns = ["available_quantity", "assigned_quantity", "unit_amount"]
    table = ds.dataset(dest / "licenses").to_table()
    by_arrow = [table.num_rows, *(round(pc.sum(table[name]).as_py(), 2) for name in columns)]
    sums = ", ".join(f"round(sum({name}), 2)" for name in columns)
    by_duckdb = asked_of_duckdb(f"select count(*), {sums} from '{dest}/licenses/*.parquet'")  # noqa: S608
    frame = pl.scan_parquet(f"{dest}/licenses/*.parquet")
    by_polars = frame.select(pl.len(), *(pl.col(name).sum().round(2) for name in columns))
    assert [float(value) for value in by_duckdb] == pytest.approx(by_arrow)
    assert list(by_polars.collect().row(0)) == pytest.approx(by_arrow)
    by_json = asked_of_duckdb(
        f"select sum((remote_data->>'$.consumedUnits')::int) from '{dest}/licenses/*.parquet'"  # noqa: S608
    )
    remote = [json.loads(text)["consumedUnits"] for text in table["remote_data"].to_pylist()]
    assert by_json[0] == sum(remote)


def asked_of_duckdb(question: str) -> tuple[Any, ...]:
    """Return the only row of DuckDB's answer."""
    with duckdb.connect() as connection:
        row: tuple[Any, ...] = connection.execute(question).fetchall()[0]
    return row


MEASURE = """
import sys
from streamlic.cli.commands import cli
try:
    cli.main(sys.argv[1:], standalone_mode=False)
finally:
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


async def peak_mib(*args: str) -> float:
    """Run an export in a process of its own; return its VmHWM in MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        *args,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN},
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return int(err.split()[-1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("way", [["--limit", "1000"], ["--ignore-limit"]], ids=["pages", "one"])
@pytest.mark.parametrize(
    ("engine", "records", "most_mib"),
    [("fast", 10_000_000, 128), ("reference", 400_000, 128), ("reference", 1_000_000, 136)],
    ids=lambda value: value,
)
async def test_128_mib_of_memory_are_kept_whatever_the_size(
    tmp_path: Path, engine: str, records: int, most_mib: int, way: list[str]
) -> None:
    """The peak is chance, since threads run ahead of each other. What leaks raises the medians."""
    emulator = await start_interpreter("emulate", "--records", str(records))
    assert emulator.stdout is not None
    url = (await emulator.stdout.readline()).decode().strip()
    args = export_args(tmp_path, url, *way, "--memory", "128MiB", "--engine", engine)
    process = await start_interpreter(*args)
    peak, now = 0.0, list[float]()
    while process.returncode is None:
        sizes = memory_of(process.pid)
        if sizes:
            peak = sizes["VmHWM"]
            now.append(sizes["RssAnon"])
        await asyncio.sleep(0.02)
    emulator.terminate()
    await emulator.wait()
    assert process.returncode == 0
    quarter = len(now) // 4
    medians = [median(now[quarter * number :][:quarter]) for number in range(4)]
    print(f"{engine} {way}: a peak of {peak:.1f} MiB, medians of the quarters {medians}")
    # Both with the libraries' files, which the system can drop: without them it is far below.
    assert peak < most_mib
    assert max(now) < 96
    assert medians[3] - medians[1] < 6


def memory_of(pid: int) -> dict[str, float]:
    """Return the sizes in a process's status, in MiB; none if it has ended."""
    lines: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = [line.split(":", 1) for line in lines if line.endswith(" kB")]
    return {name: int(value.split()[0]) / 1024 for name, value in pairs}


COMPACT = {
    "texts": lambda number: f'{{"id": "{number}", "name": "N{number % 20}{"x" * 20_000}"}}',
    "nulls": lambda number: f'{{"id": "{number}", "products": [{",".join(["null"] * 2_000)}]}}',
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("kind", COMPACT)
async def test_rows_of_large_row_groups_are_carried_over_in_little_memory(
    tmp_path: Path, kind: str
) -> None:
    """A run with much memory wrote them, and they take far less in the file than in memory."""
    body, other, dest = tmp_path / "body.json", tmp_path / "other.json", tmp_path / "dest"
    with body.open("w") as file:
        file.write(f'{{"result": [{COMPACT[kind](0)}')
        file.writelines(f", {COMPACT[kind](number)}" for number in range(1, 6_000))
        file.write("]}")
    other.write_text('{"result": [{"id": "a"}]}')
    land = ["convert", str(body), str(dest), "--account", OTHER_ACCOUNT, "--memory", "2GiB"]
    assert (await run_cli(*land)).code == 0
    [part] = dest.glob("licenses/*.parquet")
    assert part.stat().st_size < 1_000_000
    peak = await peak_mib(
        "convert", str(other), str(dest), "--account", ACCOUNT, "--memory", "128MiB",
        "--mode", "overwrite",
    )  # fmt: skip
    print(f"peak memory of carrying {kind} with --memory 128MiB: {peak}")
    assert ds.dataset(dest / "licenses").count_rows() == 6_001
    assert peak < 144


async def test_a_commit_covers_whole_pages_only(tmp_path: Path) -> None:
    """Whatever is committed is a whole number of pages, at any moment a reader looks."""
    config = EmulatorConfig(records=2000, page_size=100, latency_ms=10)
    seen: set[int] = set()
    async with running_emulator(config) as emulator:
        more = ["--commit-seconds", "0", "--publish", "commits"]
        args = export_args(tmp_path, emulator.url, *more)
        process = await start_cli(*args)
        while process.returncode is None:
            if list(tmp_path.glob("licenses/*.parquet")):
                seen.add(_rows_now(tmp_path))
            await asyncio.sleep(0.01)
        await process.communicate()
    assert process.returncode == 0
    assert len(seen) > 1
    assert all(rows % 100 == 0 for rows in seen)


def _rows_now(dest: Path) -> int:
    rows: Any = ds.dataset(dest / "licenses").count_rows()
    return int(rows)


def test_the_statistics_of_a_part_file_name_its_account(tmp_path: Path) -> None:
    """Readers that filter by account may skip row groups."""

    async def export() -> None:
        async with running_emulator(EmulatorConfig(records=10)) as emulator:
            assert (await run_cli(*export_args(tmp_path, emulator.url))).code == 0

    asyncio.run(export())
    part = next(iter(ds.dataset(tmp_path / "licenses").get_fragments()))
    column = part.metadata.row_group(0).column(0)
    assert column.path_in_schema == "integrated_account_id"
    assert column.statistics.min == column.statistics.max == ACCOUNT
