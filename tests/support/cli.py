"""The command line as a real process, and what it lands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from streamlic.emulator import Emulator, license_json
from tests.support.oracle import check_rows, parsed

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
OTHER_ACCOUNT = "0aa44730-dd91-461e-bd6a-aedd9e0ad79d"
TOKEN = "test-token-that-nobody-may-see"


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


async def start_cli(*args: str, stdin: Any = None, **env: str) -> asyncio.subprocess.Process:
    """Start streamlic as a user would who gives up soon."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streamlic",
        *args,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN, "STREAMLIC_RETRY_FOR": "2", **env},
    )


async def run_cli(*args: str, stdin: bytes | None = None, **env: str) -> Ended:
    """Run streamlic to its end; its token must be seen nowhere, and no traceback either."""
    pipe = asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL
    process = await start_cli(*args, stdin=pipe, **env)
    out, err = await process.communicate(stdin)
    ended = Ended(process.returncode or 0, out.decode(), err.decode())
    assert TOKEN not in ended.out + ended.err
    assert "Traceback" not in ended.err, ended.err
    return ended


def export_args(dest: Path, url: str, *more: str) -> list[str]:
    """Return the arguments of a quiet export with a JSON summary."""
    known = ["--account", ACCOUNT] if "--account" not in more else []
    return ["export", str(dest), "--base-url", url, "--rate-limit", "none", "--json", "--quiet",
            *known, *more]  # fmt: skip


def landed(dest: Path, sort_by: str | None = "id") -> list[dict[str, Any]]:
    """Read a dataset as any reader would."""
    table = ds.dataset(dest).to_table()
    rows: list[dict[str, Any]] = (table.sort_by(sort_by) if sort_by else table).to_pylist()
    return rows


def check_landed(
    dest: Path, records: int, *, seed: int = 7, accounts: tuple[str, ...] = (ACCOUNT,)
) -> None:
    """Compare a dataset with the function that says what each record is: every one, once."""
    rows = landed(dest, None)
    assert len(rows) == records * len(accounts)
    by_account: dict[str, list[dict[str, Any]]] = {account: [] for account in accounts}
    for row in rows:
        assert row.pop("_exported_at") is not None
        by_account[row.pop("integrated_account_id")].append(row)
    for account, of_account in by_account.items():
        of_account.sort(key=lambda row: row["id"])
        truth = [parsed(license_json(seed, account, i)) for i in range(records)]
        check_rows(of_account, truth)


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
