"""The memory that a process may have, as control groups of both versions say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from streamlic.job.options import JobOptions
from streamlic.system import machine
from streamlic.system.machine import MemoryLimit, default_memory_bytes, memory_limit, processors

RAM = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def limit_of(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[int, str]:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    limit = memory_limit(tmp_path, tmp_path / "membership")
    assert limit.is_containers == (limit.bytes != RAM)
    return limit.bytes, limit.origin.removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        # Version 2: a container, which sees its own group as the topmost.
        ("0::/\n", {"memory.max": "134217728"}, (128 * MIB, "memory.max")),
        ("0::/\n", {"memory.max": "max"}, (RAM, "the machine's RAM")),
        # A service: its own group, and a narrower one above it.
        ("0::/a/b\n", {"a/b/memory.max": "67108864"}, (64 * MIB, "a/b/memory.max")),
        (
            "0::/a/b\n",
            {"a/b/memory.max": "134217728", "a/memory.max": "67108864"},
            (64 * MIB, "a/memory.max"),
        ),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "1"}, (1, "a/memory.max")),
        ("0::/a\n", {"other/memory.max": "1"}, (RAM, "the machine's RAM")),
        # The host's path, or one that leads out of what is mounted, in a container.
        ("0::/docker/c0ffee\n", {"memory.max": "5"}, (5, "memory.max")),
        ("0::/../../x\n", {"memory.max": "5", "x/memory.max": "4"}, (5, "memory.max")),
        # Version 1, whose "none" is a number near 2**63.
        (
            "4:memory:/a\n1:cpu:/\n",
            {"memory/a/memory.limit_in_bytes": "67108864"},
            (64 * MIB, "memory/a/memory.limit_in_bytes"),
        ),
        (
            "4:memory:/a\n",
            {"memory/a/memory.limit_in_bytes": "9223372036854771712"},
            (RAM, "the machine's RAM"),
        ),
        (
            "4:cpu,memory:/docker/c0ffee\n",
            {"memory/memory.limit_in_bytes": "7"},
            (7, "memory/memory.limit_in_bytes"),
        ),
        # Both, with version 2 mounted below.
        (
            "4:memory:/a\n0::/b\n",
            {"memory/a/memory.limit_in_bytes": "9", "unified/b/memory.max": "8"},
            (8, "unified/b/memory.max"),
        ),
        # A limit above the memory has no effect, nor has an empty or invalid one.
        ("0::/\n", {"memory.max": str(RAM * 2)}, (RAM, "the machine's RAM")),
        ("0::/\n", {"memory.max": "many"}, (RAM, "the machine's RAM")),
        ("", {}, (RAM, "the machine's RAM")),
        ("5:name=systemd:/a:b\n0::/a:b\n", {"a:b/memory.max": "6"}, (6, "a:b/memory.max")),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, str]
) -> None:
    assert limit_of(tmp_path, membership, files) == expected


def test_without_control_groups_the_machines_memory_counts(tmp_path: Path) -> None:
    limit = memory_limit(tmp_path / "none", tmp_path / "neither")
    assert (limit.bytes, limit.is_containers) == (RAM, False)


@pytest.mark.parametrize(
    ("limit_mib", "is_containers", "aim_mib"),
    [
        (1024, True, 256),
        (342, True, 256),
        (256, True, 192),
        (192, True, 144),
        (128, True, 128),  # What works there: see the note on little memory.
        (64, True, 128),  # It does not, and the run warns of it.
        (192, False, 256),  # A machine that is small has swap, and no one limit.
    ],
)
def test_the_aim_follows_the_containers_limit(
    monkeypatch: pytest.MonkeyPatch, limit_mib: int, is_containers: bool, aim_mib: int
) -> None:
    limit = MemoryLimit(limit_mib * MIB, "memory.max", is_containers=is_containers)
    monkeypatch.setattr(machine, "memory_limit", lambda: limit)
    assert default_memory_bytes() == aim_mib * MIB
    assert JobOptions().memory_bytes == aim_mib * MIB
    assert JobOptions(memory_bytes=300 * MIB).memory_bytes == 300 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties processes to processors")
def test_this_machine_can_be_looked_at() -> None:
    assert 0 < memory_limit().bytes <= RAM
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors() == (1, os.cpu_count())
    finally:
        os.sched_setaffinity(0, before)
