"""Disks that are full, read-only or gone: a clear error, no false promise, and the run resumes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamlic.emulator import EmulatorConfig, running_emulator
from tests.support.cli import asked, check_landed, export_args, files_of, landed, run_cli, start_cli

RECORDS = 3000
Remount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Remount]]:
    """A disk of one MiB, and a function that remounts it with other options. Needs root."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)

    try:
        mount("size=1m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a disk of its own")
    try:
        yield place, lambda options: mount(f"remount,{options}")
    finally:
        # Lazily: Arrow's threads close a file a moment after its table was read.
        subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_full_disk_is_reported_and_the_run_resumes_when_there_is_room(
    disk: tuple[Path, Remount],
) -> None:
    place, remount = disk
    dest = place / "out"
    async with running_emulator(EmulatorConfig(records=RECORDS, page_size=100)) as emulator:
        args = export_args(dest, emulator.url, "--commit-seconds", "0", "--compression", "none",
                           "--publish", "commits")  # fmt: skip
        ended = await run_cli(*args)
        assert ended.code == 1
        assert "No space left on device" in ended.err
        assert str(dest) in ended.err
        assert "Traceback" not in ended.err
        rows = len(landed(dest))
        assert 0 < rows < RECORDS
        assert (await run_cli("verify", str(dest))).code == 0
        assert (await run_cli(*args)).code == 1  # Still full; nothing gets worse.
        assert rows <= len(landed(dest)) < RECORDS
        remount("size=64m")
        ended = await run_cli(*args)
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"] is True
    check_landed(dest, RECORDS)
    assert not [name for name in files_of(dest) if "staging" in name]


async def test_a_read_only_disk_is_reported_and_the_run_resumes(
    disk: tuple[Path, Remount],
) -> None:
    place, remount = disk
    remount("size=64m")
    dest = place / "out"
    async with running_emulator(EmulatorConfig(records=RECORDS, page_size=100)) as emulator:
        args = export_args(dest, emulator.url, "--publish", "commits")
        assert (await run_cli(*args, "--max-pages", "5")).code == 5
        remount("ro")
        ended = await run_cli(*args)
        assert ended.code == 1
        assert "Read-only file system" in ended.err
        assert "Traceback" not in ended.err
        assert len(landed(dest)) == 500
        assert (await run_cli("verify", str(dest))).code == 0
        remount("rw")
        assert (await run_cli(*args)).code == 0
    check_landed(dest, RECORDS)


async def test_a_dataset_that_vanishes_is_reported(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    config = EmulatorConfig(records=RECORDS, page_size=100, latency_ms=20)
    async with running_emulator(config) as emulator:
        args = export_args(dest, emulator.url, "--commit-seconds", "0.1")
        process = await start_cli(*args)
        await asked(emulator, 15)
        shutil.rmtree(dest, ignore_errors=True)
        _, err = await process.communicate()
        assert process.returncode in (1, 5), err  # It is missed when written to, or when read.
        assert str(dest).encode() in err
        assert b"Traceback" not in err
        shutil.rmtree(dest, ignore_errors=True)
        assert (await run_cli(*args)).code == 0
    check_landed(dest, RECORDS)


async def test_a_full_scratch_is_reported_and_the_run_resumes_with_another(
    disk: tuple[Path, Remount], dest: str, tmp_path: Path
) -> None:
    place, _ = disk
    async with running_emulator(EmulatorConfig(records=RECORDS, page_size=100)) as emulator:
        args = ["export", dest, *export_args(tmp_path, emulator.url)[2:], "--compression", "none"]
        ended = await run_cli(*args, "--scratch", str(place))
        assert ended.code == 1
        assert re.search(rf"{place}/streamlic-scratch-.*No space left on device", ended.err)
        assert "choose a directory with more room as --scratch" in ended.err
        assert "Traceback" not in ended.err
        assert list(place.rglob("*")) == []
        ended = await run_cli(*args, "--scratch", str(tmp_path))
    assert ended.code == 0, ended.err
    assert ended.summary["rows"] == RECORDS
