"""What this process may use of its machine: memory, as its container limits it, and processors.

Source of the limits: Linux's control groups, version 2 (``memory.max``, ``max`` for none) and
version 1 (``memory.limit_in_bytes``, a number near 2**63 for none). A group is limited by every
group above it, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MIN_MEMORY_BYTES = 128 << 20
"""The least that a job can aim to stay within: Python with Arrow takes 85 MiB of it."""
USUAL_MEMORY_BYTES = 256 << 20
"""What a job aims to stay within where nothing else is said, and no container says less."""


@dataclass(frozen=True)
class MemoryLimit:
    """How many bytes this process may have, and what says so: a file, or the machine's RAM."""

    bytes: int
    origin: str
    is_containers: bool


def memory_limit(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> MemoryLimit:
    """Return the least of what the machine has and what this process's control groups allow."""
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [MemoryLimit(ram, "the machine's RAM", is_containers=False)]
    for file in _limit_files(cgroups, membership):
        limit = _limit_in(file)
        if limit is not None:
            limits.append(MemoryLimit(limit, str(file), is_containers=True))
    return min(limits, key=lambda limit: limit.bytes)


def default_memory_bytes() -> int:
    """Return what a job aims to stay within unless told: less than usual in a small container.

    Three quarters of its limit, for the limit ends the process, and the aim may be overshot.
    """
    limit = memory_limit()
    share = limit.bytes // 4 * 3 if limit.is_containers else USUAL_MEMORY_BYTES
    return max(min(USUAL_MEMORY_BYTES, share), MIN_MEMORY_BYTES)


def processors() -> tuple[int, int]:
    """Return how many processors this process may run on, and how many there are."""
    there = os.cpu_count() or 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else there, there


def _limit_files(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the files that may limit this process, from its own groups up to the topmost."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:  # Beside version 1 it is mounted below.
            for mounted in (cgroups, cgroups / "unified"):
                yield from (one / "memory.max" for one in _upwards(mounted, path))
        elif "memory" in controllers.split(","):
            for one in _upwards(cgroups / "memory", path):
                yield one / "memory.limit_in_bytes"


def _upwards(mounted: Path, path: str) -> Iterator[Path]:
    """Yield a group's directory and those above it.

    In a container the path may be the host's, or lead out of what is mounted: then only the
    topmost directory is there, and is the container's own.
    """
    parts = PurePosixPath(path).parts[1:]
    for length in range(0 if ".." in parts else len(parts), -1, -1):
        yield mounted.joinpath(*parts[:length])


def _limit_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
