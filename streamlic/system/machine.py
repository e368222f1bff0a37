"""What this process may use of its machine: memory, processors, open files, threads.

Source of the limits: Linux's control groups, version 2 (``memory.max``, ``max`` for none) and
version 1 (``memory.limit_in_bytes``, a number near 2**63 for none). A group is limited by every
group above it, too.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from streamlic.errors import MachineError

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_OPEN_FILES = Path("/proc/self/fd")
_FILES_AT_START = 8
_OTHER_FILES = 24
"""Files that a run may open in addition to connections: for large pages, commits, the loop."""
MIN_MEMORY_BYTES = 128 << 20
"""The smallest aim of a job: Python with Arrow takes 85 MiB of it."""
USUAL_MEMORY_BYTES = 256 << 20
"""The default aim of a job, unless a container has less."""


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that this process may use, and its source: a file, or the machine's RAM."""

    bytes: int
    origin: str
    is_containers: bool


def memory_limit(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> MemoryLimit:
    """Return the smallest of the machine's memory and the limits of this process's groups."""
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [MemoryLimit(ram, "the machine's RAM", is_containers=False)]
    for file in _limit_files(cgroups, membership):
        limit = _limit_in(file)
        if limit is not None:
            limits.append(MemoryLimit(limit, str(file), is_containers=True))
    return min(limits, key=lambda limit: limit.bytes)


def default_memory_bytes() -> int:
    """Return the default of --memory: less than usual in a small container.

    Three quarters of its limit: a job may exceed its aim, and the limit kills the process.
    """
    limit = memory_limit()
    share = limit.bytes // 4 * 3 if limit.is_containers else USUAL_MEMORY_BYTES
    return max(min(USUAL_MEMORY_BYTES, share), MIN_MEMORY_BYTES)


def room_for_connections(wanted: int) -> int:
    """Return how many connections may be open at once, ``wanted`` at most, by the open files.

    Raises the soft limit as far as needed and allowed; MachineError where not even one fits.
    """
    needed = _files_open() + _OTHER_FILES + wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if more > soft:
            with suppress(OSError, ValueError):  # A sandbox may forbid it.
                resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
                soft = more
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    room = wanted - (needed - soft)
    if room < 1:
        raise MachineError(
            f"this process may have {soft:,} files open, and needs at least "
            f"{needed - wanted + 1:,}: raise the limit (ulimit -n)"
        )
    return room


def open_files_limit() -> int:
    """Return how many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextmanager
def limits_named() -> Iterator[None]:
    """Raise MachineError in place of Python's errors for a lack of threads or files."""
    try:
        yield
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise MachineError(
            "the system refused another thread: raise the limit of the user's processes "
            "(ulimit -u), or that of the container (pids.max)"
        ) from error
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        whose = "this process" if error.errno == errno.EMFILE else "all processes together"
        raise MachineError(
            f"the system refused {whose} another open file: raise the limit (ulimit -n)"
        ) from error


def _files_open() -> int:
    try:
        return sum(1 for _ in _OPEN_FILES.iterdir())
    except OSError:
        return _FILES_AT_START


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
        if number == "0" and not controllers:  # With version 1 it is mounted below.
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
