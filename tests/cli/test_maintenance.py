"""``compact`` and ``expire`` on the command line: what they say, refuse, and survive."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from streamlic.dataset.destination import writer_lock
from streamlic.dataset.records import ResumePoint
from streamlic.dataset.writer import DatasetWriter
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from tests.dataset.test_commit_log import _in_child, _in_child_well, _kill_before, killing
from tests.job.test_scale import MEASURE
from tests.support.batches import SCHEMA, expected_ids, land, license_batch, visible_ids
from tests.support.cli import run_cli
from tests.tables.lake_tests import complete, start
from tests.tables.test_upkeep import (
    WORKS,
    check_done,
    check_seen,
    digests,
    nights,
    prepare,
)


async def test_compact_says_what_it_did_and_verify_agrees(tmp_path: Path) -> None:
    dest = str(tmp_path)
    nights(tmp_path, 2)
    before = digests(tmp_path)
    ended = await run_cli("compact", dest, "--dry-run")
    assert re.match(r"\d+ part files of [\d.]+ kB ", ended.out)
    assert "would be written again, as 3 part files" in words(ended.out)
    assert "then 1 part file\n" in ended.out
    assert ended.out.endswith("nothing was changed: leave --dry-run out to do it\n")
    assert digests(tmp_path) == before
    ended = await run_cli("compact", dest, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.summary["rewrites"] == 3
    assert {one["files_after"] for one in ended.summary["tables"].values()} == {1}
    assert (await run_cli("compact", dest)).out.startswith("nothing to compact\n")
    assert (await run_cli("verify", dest)).code == 0
    assert visible_ids(tmp_path) == sorted(expected_ids("night-0") + expected_ids("night-1"))


async def test_expire_says_what_it_did_and_head_says_why_there_is_nothing(tmp_path: Path) -> None:
    dest = str(tmp_path)
    runs = nights(tmp_path, 3)
    before = digests(tmp_path)
    ended = await run_cli("expire", dest, "--keep", "1", "--dry-run")
    assert f"the licenses of 2 runs, the newest {runs[1]}, would be deleted" in words(ended.out)
    assert f"1 run is kept, the oldest {runs[2]}" in words(ended.out)
    assert digests(tmp_path) == before
    ended = await run_cli("expire", dest, "--keep", "1", "--json")
    assert (ended.summary["kept"], ended.summary["expired"]) == ([runs[2]], [runs[1], runs[0]])
    assert (await run_cli("expire", dest, "--keep", "1")).out.startswith("nothing to expire\n")
    assert (await run_cli("verify", dest)).code == 0
    looked = await run_cli("inspect", dest)
    assert "1 night (2 older expired)" in looked.out
    head = await run_cli("head", dest, "--run", runs[0])
    why = f"run {runs[0]} has expired: its licenses were too old to be kept"
    assert why in words(head.out + head.err)
    rows = await run_cli("head", dest, "--run", runs[0], "--table", "runs", "--json")
    assert runs[0] in rows.out


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", [("compact",), ("expire", "--keep", "1")], ids=str)
async def test_a_lake_that_is_written_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    nights(tmp_path, 2)
    before = visible_ids(tmp_path)
    with writer_lock(LocalStore(tmp_path)):
        ended = await run_cli(*command, str(tmp_path))
    assert ended.code == 1, "a retry can help"
    assert "another writer is active" in ended.err
    assert visible_ids(tmp_path) == before


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["expire", "lake"], "expected how many runs keep their licenses"),
        (["expire", "lake", "--keep", "0"], "expected 1 or more runs to keep, got 0 (--keep)"),
        (["compact", "lake", "--take-over"], "a lake on a local disk needs no takeover"),
        (["compact", "no"], "there is no lake in"),
        (["expire", "no", "--keep", "1"], "there is no lake in"),
    ],
)
async def test_what_is_asked_wrongly_is_refused(
    tmp_path: Path, args: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    land(tmp_path / "lake", "one", pages=1)
    ended = await run_cli(*args)
    assert ended.code == 2
    assert says in ended.err


# Killed by the system


def _killed(dest: Path, name: str, step: int) -> None:
    _kill_before(step, dest)
    WORKS[name](LocalStore(dest))


def _kill_everywhere(place: Path, name: str, stride: int) -> int:
    """Kill a command at every ``stride``-th step, the next one early; return the kills."""
    start = place / "start"
    _in_child_well("prepare", partial(prepare, start, name, "parquet"))
    kills = 0
    while True:
        step = 1 + kills * stride
        dest = place / f"killed-{step}"
        shutil.copytree(start, dest)
        code = _in_child(partial(_killed, dest, name, step))
        if code == 0:
            _in_child_well("done", partial(check_done, dest, name, "not killed"))
            return kills
        assert code == -signal.SIGKILL, f"step {step} ended with {code}"
        _in_child_well("seen", partial(check_seen, dest, name, "parquet", f"step {step}"))
        again = _in_child(partial(_killed, dest, name, 1 + kills % 12))
        assert again in (0, -signal.SIGKILL)
        _in_child_well("seen", partial(check_seen, dest, name, "parquet", f"step {step}, again"))
        _in_child_well("again", partial(_done, dest, name))
        _in_child_well("ended", partial(check_done, dest, name, f"step {step}"))
        shutil.rmtree(dest)
        kills += 1


def _done(dest: Path, name: str) -> None:
    WORKS[name](LocalStore(dest))


@pytest.mark.parametrize(
    ("stride", "kills"), [(43, 1), pytest.param(1, 60, marks=pytest.mark.long)], ids=["some", "all"]
)
@pytest.mark.parametrize("name", WORKS)
async def test_a_command_killed_at_any_step_loses_no_row(
    tmp_path: Path, name: str, stride: int, kills: int
) -> None:
    """SIGKILL before each change to the file system, then early in the next command."""
    assert await killing(_kill_everywhere, tmp_path, name, stride) >= kills


# Memory


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
async def test_memory_depends_neither_on_the_files_nor_on_their_number(tmp_path: Path) -> None:
    peaks = {}
    for nights_landed in (4, 40):
        dest = tmp_path / str(nights_landed)
        await asyncio.to_thread(large_lake, dest, nights_landed)
        peaks[nights_landed] = await peak_of("compact", str(dest), "--json")
        await peak_of("verify", str(dest))
        expired = await peak_of("expire", str(dest), "--keep", "2", "--json")
        peaks[nights_landed] = max(peaks[nights_landed], expired)
    print(f"VmHWM in MiB, by nights of 5 MB: {peaks}")
    assert peaks[40] < 256
    assert peaks[40] - peaks[4] < 32


def large_lake(dest: Path, count: int) -> None:
    """Append runs of 5 MB, of rows that hardly compress."""
    with writer_lock(LocalStore(dest)):
        lake = LakeWriter(LocalStore(dest))
        lake.open()
        rows = license_batch(0, 2_000)
        place = rows.schema.get_field_index("remote_data")
        for _ in range(count):
            run = start(lake)
            texts = pa.array([f'"{os.urandom(2_500).hex()}"' for _ in range(rows.num_rows)])
            writer = DatasetWriter(lake.store, run, schema=SCHEMA)
            columns = [*rows.columns[:place], texts, *rows.columns[place + 1 :]]
            writer.write_whole(pa.record_batch(columns, schema=SCHEMA), [("a", rows.num_rows)])
            points: dict[str | None, ResumePoint] = {
                "a": ResumePoint(is_done=True, rows=rows.num_rows, pages=1),
                None: ResumePoint(is_done=True),
            }
            complete(lake, run, *writer.finish(), points=points)


async def peak_of(*args: str) -> float:
    """Run streamlic in a process of its own; return its VmHWM in MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEASURE, *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return int(err.split()[-1]) / 1024
