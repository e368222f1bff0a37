"""Processes of this machine, as /proc shows them: who started whom, and with what."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """Return the processes that ``pid`` started, and that those started."""
    children: dict[int, list[int]] = defaultdict(list)
    for one in _all():
        with suppress(OSError):
            # The name in brackets may hold anything.
            parent = int((PROC / str(one) / "stat").read_text().rpartition(")")[2].split()[1])
            children[parent].append(one)
    found: list[int] = []
    left = [pid]
    while left:
        started = children[left.pop()]
        found += started
        left += started
    return found


def with_variable(name: str, value: str) -> list[int]:
    """Return the processes with this environment variable, wherever their parent is now."""
    wanted = f"{name}={value}".encode()
    return [one for one in _all() if wanted in _bytes(one, "environ").split(b"\0")]


def command_line(pid: int) -> str:
    """Return a process's command line, as ``ps`` shows it; empty if it has ended."""
    return _bytes(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def command_lines() -> list[str]:
    """Return the command lines of all processes."""
    return list(filter(None, map(command_line, _all())))


def is_running(pid: int) -> bool:
    """Return whether a process is there, and is more than an entry that nobody has waited for."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def kill(*pids: int) -> None:
    """Send SIGKILL to processes; those that have ended are fine."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all that it started: first itself, so that it starts nothing more."""
    started = descendants(pid)
    kill(pid, *started, *descendants(pid))


def _all() -> Iterator[int]:
    return (int(one.name) for one in PROC.iterdir() if one.name.isdigit())


def _bytes(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # It has ended, or belongs to somebody else.
        return b""
