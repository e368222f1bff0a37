"""Thirty nights of a platform whose accounts change, fail and disappear, row by row.

Every night has a key. Some nights are killed, some find the API down or half of the accounts
failing, and a reader looks at the lake all the while.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts
from streamlic.storage.local import LocalStore
from tests.job.test_many_accounts import faulty, refused
from tests.support.cli import Ended, run_cli, start_cli
from tests.support.forked import Forked
from tests.support.nights import Expected, Night, Reader

PAGE_ROWS = 10

PLAIN = "plain"
REFUSED = "two accounts are refused, one of them in its middle"
REPEATED = "killed, and repeated with its key"
GIVEN_UP = "killed, and given up"
DOWN = "the API is down"
HALF = "half of the accounts are refused in their middle"
SHORT = (PLAIN, REFUSED, REPEATED, GIVEN_UP, HALF, DOWN, PLAIN)
LONG = {2: REFUSED, 7: REPEATED, 11: HALF, 12: REFUSED, 16: GIVEN_UP, 21: DOWN, 26: REFUSED}


@dataclass
class Platform:
    """An emulated Truto, the command that exports it every night, and what goes wrong tonight."""

    dest: Path
    mode: str
    most_absent: str
    expected: Expected
    refused: dict[str, int] = field(default_factory=dict)
    """Accounts that are refused, after so many pages."""
    is_down: bool = False
    victim: Forked | None = None
    """A process that is killed when it has committed pages and asks for another one."""

    emulator: Emulator = field(init=False)

    @property
    def key(self) -> str:
        return f"night-{self.emulator.night}"

    @property
    def command(self) -> list[str]:
        return [
            "export", str(self.dest), "--all-accounts", "--mode", self.mode, "--run-key", self.key,
            "--skip-failed", "--max-absent", self.most_absent, "--base-url", self.emulator.url,
            "--rate-limit", "none", "--retry-for", "0", "--commit-seconds", "0", "--json",
            "--quiet", "--part-bytes", "64KiB",
        ]  # fmt: skip

    def fault(self, request: web.Request, account: str) -> web.Response | None:
        """Refuse a request if it is to fail; kill the victim if it is its turn."""
        if self.is_down:
            return refused(500, message="down")
        if self.victim and account and self.unfinished():
            self.victim.kill()
        is_first = "next_cursor" not in request.query
        if account in self.refused and (self.refused[account] == 0 or not is_first):
            return refused(403, message="no", truto_is_remote_error=True)
        return None

    def refuse(self, share: float, *, pages: int) -> None:
        """Refuse a share of the accounts that can be read, after this many pages."""
        readable = [
            one.id
            for one in self.emulator.world.accounts.values()
            if one.status == "active" and not one.is_blocked
        ]
        some = readable[:: round(1 / share)]
        self.refused |= dict.fromkeys(some, pages)

    async def export(self) -> Ended:
        return await run_cli(*self.command)

    async def killed(self) -> None:
        """Start tonight's export, and kill it when it has committed some pages."""
        self.victim = await start_cli(*self.command, "--concurrency", "2")
        await self.victim.communicate()
        assert self.victim.returncode == -signal.SIGKILL
        self.victim = None
        assert self.unfinished()

    def unfinished(self) -> bool:
        """Return whether an unfinished run has committed pages."""
        runs = load_lake(LocalStore(self.dest)).oldest_first
        return any(run.commits and not run.is_complete for run in runs)

    async def complete(self, code: int = 0) -> dict[str, Any]:
        """Complete tonight's export, and check the whole lake."""
        ended = await self.export()
        assert ended.code == code, ended.err
        run = ended.summary["run"]
        rows = self.expected.read(self.dest, "runs").to_pylist()
        [row] = [row for row in rows if row["_run"] == run]
        night = Night(
            run=run,
            key=self.key,
            started_at=row["started_at"],
            world=self.emulator.world,
            failed=frozenset(self.refused),
        )
        self.expected.add(night)
        return ended.summary

    async def unpublished(self, code: int) -> None:
        """Try tonight's export, which must change nothing that readers see."""
        before = self.parts()
        ended = await self.export()
        assert ended.code == code, ended.err
        assert self.parts() == before

    def parts(self) -> Mapping[str, int]:
        """Return the part files that readers see, with their sizes."""
        return {str(path): path.stat().st_size for path in self.dest.glob("*/*.parquet")}


async def live_through(platform: Platform, what: str) -> None:
    """Export one night, in which something may go wrong."""
    platform.refused, platform.is_down = {}, False
    if what == PLAIN:
        await platform.complete()
    elif what == REFUSED:
        platform.refuse(1 / 20, pages=1)
        platform.refused[min(platform.refused)] = 0
        await platform.complete(6)
    elif what == REPEATED:
        await platform.killed()
        assert (await platform.complete())["resumed"]
    elif what == GIVEN_UP:
        await platform.killed()
    elif what == HALF:
        platform.refuse(1 / 2, pages=1)
        await platform.unpublished(6)
    else:
        platform.is_down = True
        await platform.unpublished(1)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    ("accounts", "changes", "nights"),
    [
        pytest.param(40, 0.2, SHORT, id="short"),
        pytest.param(
            500, 0.03, [LONG.get(night, PLAIN) for night in range(30)], id="long",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
async def test_nights_are_whole_and_no_account_is_lost(
    tmp_path: Path, mode: str, accounts: int, changes: float, nights: list[str]
) -> None:
    platform = Platform(tmp_path / "lake", mode, "45%", Expected(mode, PAGE_ROWS))
    config = EmulatorConfig(
        accounts=emulated_accounts(accounts, records=15, unhealthy_share=0.05),
        page_size=PAGE_ROWS,
        changes=changes,
    )
    async with faulty(config, platform.fault) as platform.emulator:
        with Reader(platform.dest, mode) as reader:
            for number, what in enumerate(nights):
                platform.emulator.night = number
                await live_through(platform, what)
                await asyncio.to_thread(reader.look)
                if mode == "overwrite" or number == len(nights) - 1:
                    await asyncio.to_thread(platform.expected.check, platform.dest)
    assert not reader.wrong, reader.wrong
    completed = {row["_run"] for row in platform.expected.runs}
    assert reader.nights == completed, "nothing of a night that was given up was ever seen"
    outcomes = {row["outcome"] for row in platform.expected.accounts}
    assert outcomes >= ({"read", "skipped", "failed"} if mode == "append" else {"carried_over"})
    dropped = [row["accounts_dropped"] for row in platform.expected.runs]
    assert any(dropped) == (mode == "overwrite")
    report = verify_dataset(LocalStore(platform.dest))
    assert (report.problems, report.runs >= len(completed)) == ([], True)
