"""The command line, in this process or in one of its own, and what it lands."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import sys
import threading
import warnings
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from streamlic.__main__ import main as run_main
from streamlic.cli.commands import main
from streamlic.dataset.commit_log import load_runs
from streamlic.emulator import Emulator, license_json
from streamlic.storage.local import LocalStore
from tests.support.altered_cli import run_altered
from tests.support.forked import Forked, start_forked
from tests.support.oracle import check_rows, parsed

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
OTHER_ACCOUNT = "0aa44730-dd91-461e-bd6a-aedd9e0ad79d"
TOKEN = "test-token-that-nobody-may-see"

_ONE_AT_A_TIME = threading.Lock()
_TAKEN_OVER: tuple[tuple[Any, str], ...] = (
    (warnings, "showwarning"),
    (sys, "unraisablehook"),
    (threading, "excepthook"),
    (logging, "lastResort"),
)
"""The hooks that a command takes over and keeps until its process ends."""


@dataclass
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


async def start_cli(
    *args: str,
    stdin: Any = None,
    stdout: Any = PIPE,
    stderr: Any = PIPE,
    altered: str | None = None,
    ignored: tuple[signal.Signals, ...] = (),
    **env: str,
) -> Forked:
    """Start streamlic in a process of its own, for signals, kills and closed pipes.

    ``altered`` is the step that goes otherwise, of ``altered_cli``; ``ignored`` are the signals
    that the process's parent ignores.
    """
    run, given = (run_altered, (altered,)) if altered else (run_main, ())
    return await start_forked(
        run, *given, args=args, stdin=stdin, stdout=stdout, stderr=stderr, ignored=ignored,
        env={**os.environ, **_environment(env)},
    )  # fmt: skip


async def run_process(*args: str, stdin: bytes = b"", **env: str) -> Ended:
    """Run streamlic to its end in a process of its own."""
    variables = {**os.environ, **_environment(env)}
    process = await start_forked(run_main, args=args, stdin=PIPE, env=variables)
    out, err = await process.communicate(stdin)
    return _checked(Ended(process.returncode or 0, out.decode(), err.decode()))


async def run_interpreter(*args: str, **env: str) -> Ended:
    """Run streamlic to its end in an interpreter of its own."""
    process = await start_interpreter(*args, **env)
    out, err = await process.communicate()
    return _checked(Ended(process.returncode or 0, out.decode(), err.decode()))


async def start_interpreter(*args: str, **env: str) -> asyncio.subprocess.Process:
    """Start streamlic in an interpreter of its own, for what happens before ``main``."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streamlic",
        *args,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **_environment(env)},
    )


async def run_cli(*args: str, stdin: Any = None, **env: str) -> Ended:
    """Run streamlic to its end in this process, in a thread: servers in this loop can answer it.

    It has streams, arguments and an environment of its own. What a process would print as a
    traceback is raised. One command runs at a time.
    """
    return await asyncio.to_thread(_call, args, stdin or b"", _environment(env))


def _call(args: tuple[str, ...], stdin: bytes, env: dict[str, str]) -> Ended:
    out, err = _stream(), _stream()
    with _ONE_AT_A_TIME, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["streamlic", *args])
        patch.setattr(sys, "stdin", _stream(stdin))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        for name, value in env.items():
            patch.setenv(name, value)
        for owner, name in _TAKEN_OVER:
            patch.setattr(owner, name, getattr(owner, name))
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert isinstance(code, int)
    return _checked(Ended(code, _text(out), _text(err)))


def _environment(env: dict[str, str]) -> dict[str, str]:
    """Return a test's variables, with those of a user who soon gives up."""
    return {"TRUTO_API_TOKEN": TOKEN, "STREAMLIC_RETRY_FOR": "2", **env}


def _stream(data: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def _checked(ended: Ended) -> Ended:
    """Return how a command ended; nobody may see its token, nor a traceback."""
    assert TOKEN not in ended.out + ended.err
    assert "Traceback" not in ended.err, ended.err
    return ended


def export_args(dest: Path, url: str, *more: str) -> list[str]:
    """Return the arguments of a quiet export with a JSON summary."""
    known = ["--account", ACCOUNT] if "--account" not in more else []
    return ["export", str(dest), "--base-url", url, "--rate-limit", "none", "--json", "--quiet",
            "--no-account-details", *known, *more]  # fmt: skip


def landed(dest: Path, sort_by: str | None = "id") -> list[dict[str, Any]]:
    """Read the licenses of a lake as any reader would."""
    table = ds.dataset(dest / "licenses").to_table()
    rows: list[dict[str, Any]] = (table.sort_by(sort_by) if sort_by else table).to_pylist()
    return rows


def without_run(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of licenses without what differs from run to run."""
    return {name: value for name, value in row.items() if name not in ("_exported_at", "_run")}


def check_landed(
    dest: Path, records: int, *, seed: int = 7, accounts: tuple[str, ...] = (ACCOUNT,)
) -> None:
    """Compare a lake with the function that says what each record is: every one, once."""
    check_accounts(dest, dict.fromkeys(accounts, records), seed)


def check_accounts(
    dest: Path, sizes: dict[str, int], seed: int = 7, rows: list[dict[str, Any]] | None = None
) -> None:
    """Compare a lake of accounts of these sizes with the function that says what each record is.

    ``rows`` are what another reader sees than that of plain Parquet.
    """
    rows = landed(dest) if rows is None else rows
    assert len(rows) == sum(sizes.values())
    by_account: dict[str, list[dict[str, Any]]] = {account: [] for account in sizes}
    vendors = set()
    for row in rows:
        assert row.pop("_exported_at") is not None
        assert row.pop("_run") is not None
        account = row.pop("integrated_account_id")
        vendors.add((account, row.pop("integration"), row.pop("tenant_id")))
        by_account[account].append(row)
    assert len(vendors) == len({account for account, *_ in vendors}), "each has one vendor"
    for account, records in sizes.items():
        truth = [parsed(license_json(seed, account, i)) for i in range(records)]
        check_rows(by_account[account], truth)


def unfinished_rows(dest: Path) -> int:
    """Return how many rows of licenses an unfinished run has committed; readers see none."""
    [run] = (run for run in load_runs(LocalStore(dest)) if not run.is_complete)
    assert not [name for name in files_of(dest) if run.id in name and name.endswith(".parquet")]
    return run.rows


def files_of(dest: Path) -> set[str]:
    """Return the names of all files below a directory."""
    return {str(path.relative_to(dest)) for path in dest.rglob("*") if path.is_file()}


async def asked(emulator: Emulator, requests: int) -> None:
    """Wait until so many requests were made."""
    for _ in range(3000):
        if len(emulator.requests) >= requests:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
