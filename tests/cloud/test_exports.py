"""Exports to object stores: writes that are refused, and the memory that a slow store takes."""

from __future__ import annotations

import asyncio
import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.emulator import EmulatorConfig, running_emulator
from tests.support.cli import TOKEN, export_args, run_process, start_interpreter
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.object_servers import BUCKET, ObjectServer, SeaweedServer

FOREVER = float("inf")
RECORDS = 3000
REFUSALS = {
    "ExpiredToken": (400, "the credentials expired"),
    "RequestTimeTooSkewed": (403, "the clock of this machine differs too much"),
    "AccessDenied": (403, "(403 AccessDenied); the credentials need s3:"),
}
MEGABYTES = int(os.environ.get("STREAMLIC_TEST_MEGABYTES", "300"))
"""How much JSON the slow store's exports read: ``make test-cloud-long`` takes 10,000."""
BYTES_A_RECORD = 590
STORE_BYTES_A_SECOND = 20_000_000
MEASURE = """
import sys
from streamlic.cli.commands import cli
try:
    cli.main(sys.argv[1:], standalone_mode=False)
finally:
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def rows_at(server: ObjectServer, dest: str) -> pa.Table:
    """Return the licenses that a reader sees."""
    prefix = dest.partition(f"{BUCKET}/")[2] + "/licenses"
    store = server.store()
    parts = [key for key in server.keys(prefix) if key.endswith(".parquet")]
    tables = [pq.read_table(BytesIO(obstore.get(store, key).bytes())) for key in parts]
    return pa.concat_tables(tables) if tables else pa.table({"id": pa.array([], pa.string())})


def fail_from(proxy: FaultyProxy, number: int, status: int, code: str) -> None:
    """Refuse all writes from this one on."""
    methods = ("PUT", "POST", "DELETE")
    proxy.call(
        lambda: proxy.answer(FOREVER, status, code, methods=methods), skip=number, methods=methods
    )


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("number", [12, 20])
async def test_an_export_whose_writes_are_refused_is_exact_after_the_same_command(
    seaweed: SeaweedServer, code: str, number: int
) -> None:
    status, says = REFUSALS[code]
    dest = seaweed.dest(f"refused-{code}-{number}")
    with faulty_proxy(seaweed.port) as proxy:
        fail_from(proxy, number, status, code)
        env: dict[str, Any] = seaweed.environment_at(proxy.port)
        config = EmulatorConfig(records=RECORDS, page_size=500)
        async with running_emulator(config) as emulator:
            args = export_args(Path("dest"), emulator.url, "--commit-seconds", "0", "--take-over")
            args[1] = dest
            ended = await run_process(*args, **env)
            assert ended.code != 0
            assert says in ended.err
            assert "testtest" not in ended.err
            assert "Traceback" not in ended.err
            assert rows_at(seaweed, dest).num_rows in (0, RECORDS)
            proxy.heal()
            ended = await run_process(*args, **env)
    assert ended.code == 0, ended.err
    ids = rows_at(seaweed, dest)["id"].to_pylist()
    assert (len(ids), len(set(ids))) == (RECORDS, RECORDS)


async def exported(args: list[str], env: dict[str, str]) -> float:
    """Run an export in a process of its own; return its VmHWM in MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        *args,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN, **env},
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return int(err.split()[-1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize(
    ("engine", "memory"), [("fast", 192), pytest.param("reference", 192, marks=pytest.mark.slow)]
)
async def test_an_export_to_a_slow_store_stays_within_its_memory(
    seaweed: SeaweedServer, engine: str, memory: int
) -> None:
    """Without compression, so that the store is what limits the export."""
    dest = seaweed.dest(f"memory-{engine}-{memory}")
    records = MEGABYTES * 1_000_000 // BYTES_A_RECORD
    emulator = await start_interpreter("emulate", "--records", str(records))
    assert emulator.stdout is not None
    url = (await emulator.stdout.readline()).decode().strip()
    more = ["--limit", "1000", "--engine", engine, "--memory", f"{memory}MiB"]
    args: list[Any] = export_args(Path("dest"), url, *more, "--compression", "none")
    args[1] = dest
    try:
        with faulty_proxy(seaweed.port) as proxy:
            proxy.bytes_a_second = STORE_BYTES_A_SECOND
            peak = await exported(args, seaweed.environment_at(proxy.port))
            uploaded = sum(one.body_bytes for one in proxy.passed)
    finally:
        emulator.terminate()
        await emulator.wait()
    print(f"peak memory {engine} {memory} MiB, {uploaded:,} bytes uploaded: {peak}")
    assert peak < memory
    obstore.delete(seaweed.store(), seaweed.keys(dest.partition(f"{BUCKET}/")[2]))
