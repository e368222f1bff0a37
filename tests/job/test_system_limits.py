"""Few open files and few threads: a run fits itself in, or says which limit is too low."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.diagnostics.doctor import check_limits
from streamlic.emulator import EmulatorConfig
from streamlic.system import machine
from streamlic.system.machine import limits_named, room_for_connections
from tests.support.cli import ACCOUNT, TOKEN
from tests.support.server_thread import served

ENDLESS = resource.RLIM_INFINITY


class Limit:
    """A limit of open files that is made up, in the place of the process's own."""

    def __init__(self, soft: int, hard: int, *, is_fixed: bool = False) -> None:
        self.now, self.is_fixed = (soft, hard), is_fixed

    def get(self, _: int) -> tuple[int, int]:
        return self.now

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if self.is_fixed:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let this process have 10 files open, and a limit of its own."""

    def limit(to: Limit) -> None:
        monkeypatch.setattr(machine, "_files_open", lambda: 10)
        monkeypatch.setattr(resource, "getrlimit", to.get)
        monkeypatch.setattr(resource, "setrlimit", to.set)

    return limit


@pytest.mark.parametrize(
    ("before", "room", "soft_after"),
    [
        (Limit(1024, 4096), 64, 1024),
        (Limit(ENDLESS, ENDLESS), 64, ENDLESS),
        (Limit(98, 98), 64, 98),
        (Limit(97, 97), 63, 97),
        (Limit(35, 35), 1, 35),
        (Limit(40, 4096), 64, 98),
        (Limit(40, ENDLESS), 64, 98),
        (Limit(40, 60), 26, 60),
        (Limit(40, 4096, is_fixed=True), 6, 40),
    ],
)
def test_as_many_connections_as_the_open_files_allow(
    limited: Any, before: Limit, room: int, soft_after: int
) -> None:
    """The soft limit is raised as far as is needed, and no further."""
    limited(before)
    assert room_for_connections(64) == room
    assert before.now == (soft_after, before.now[1])


def test_without_room_for_one_the_limit_is_named(limited: Any, tmp_path: Path) -> None:
    limited(Limit(34, 34))
    says = r"may have 34 files open, and needs at least 35: raise the limit \(ulimit -n\)"
    with pytest.raises(streamlic.MachineError, match=says):
        room_for_connections(64)
    check = check_limits(64)
    assert (check.state, check.exit_code) == ("failed", 1)
    assert "ulimit -n" in check.found


def test_the_doctor_counts_the_pages_that_there_are_files_for(limited: Any) -> None:
    limited(Limit(50, 50))
    check = check_limits(64)
    assert check.state == "warning"
    assert "50 files may be open, enough for 16 pages at once" in check.found
    limited(Limit(500, 500))
    assert check_limits(64).state == "ok"


RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
from streamlic.cli.commands import main
main()
"""


def test_an_export_of_many_accounts_gets_by_with_few_files(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("".join(f"{i:08x}{ACCOUNT[8:]}\n" for i in range(60)))
    with served(EmulatorConfig(records=10, latency_ms=50)) as emulator:
        ended = subprocess.run(
            [sys.executable, "-c", RUN, "export", str(tmp_path / "out"), "--base-url", emulator.url,
             "--accounts-file", str(accounts), "--rate-limit", "none", "--quiet", "--json",
             "--log-format", "json"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "TRUTO_API_TOKEN": TOKEN},
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rows"] == 600
    [warning] = map(json.loads, ended.stderr.splitlines())
    assert warning["level"] == "warning"
    assert "instead of 60, because this process may open 48 files (ulimit -n)" in warning["message"]


@pytest.mark.parametrize("name", ["streamlic-loop", "streamlic-decode", "streamlic-encode"])
def test_a_thread_that_cannot_start_is_the_machines_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever it is, the export ends with an error that names what to raise."""
    start = threading.Thread.start

    def starts(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    with served(EmulatorConfig(records=10)) as emulator:
        monkeypatch.setattr(threading.Thread, "start", starts)
        with pytest.raises(
            streamlic.MachineError, match=r"refused another thread.*ulimit -u.*pids\.max"
        ):
            streamlic.export(
                tmp_path,
                ACCOUNT,
                connection=streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url),
            )
        monkeypatch.undo()
        assert (
            streamlic.export(
                tmp_path,
                ACCOUNT,
                connection=streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url),
            ).rows
            == 10
        )


def test_the_doctor_starts_as_many_threads_as_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    assert check_limits(1).state == "ok"
    start, started = threading.Thread.start, iter(range(2))

    def starts(thread: threading.Thread) -> None:
        if next(started, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starts)
    check = check_limits(1)
    assert (check.state, check.exit_code) == ("failed", 1)
    assert "refused another thread" in check.found
    assert threading.active_count() == before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_named_and_other_errors_left_alone(number: int) -> None:
    with pytest.raises(streamlic.MachineError, match=r"another open file.*ulimit -n"):
        with limits_named():
            raise OSError(number, os.strerror(number))
    for other in (OSError(errno.ENOSPC, "full"), RuntimeError("of another kind")):
        with pytest.raises(type(other), match=str(other.args[-1])), limits_named():
            raise other
