"""Nightly runs: keys that make a command safe to repeat, and how many accounts may be absent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from streamlic.dataset.commit_log import load_runs
from streamlic.emulator import EmulatedAccount, Emulator, EmulatorConfig, emulated_accounts
from streamlic.errors import UsageError
from streamlic.job.limits import MostAbsent
from streamlic.storage.local import LocalStore
from tests.job.test_many_accounts import faulty, refused
from tests.support.cli import Ended, landed, run_cli

ACCOUNTS = 10


class Night:
    """An environment of ten accounts, of which some can be blocked, or fail when they are read."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self.accounts: dict[str, EmulatedAccount] = {**emulated_accounts(ACCOUNTS, records=5)}
        self.failing: dict[str, int] = {}
        self.unlisted: set[str] = set()
        self.emulator: Emulator | None = None

    async def export(self, *more: str) -> Ended:
        assert self.emulator
        return await run_cli(
            "export", str(self.dest), "--all-accounts", "--base-url", self.emulator.url,
            "--rate-limit", "none", "--retry-for", "0", "--json", "--quiet", *more,
        )  # fmt: skip

    def block(self, count: int) -> None:
        """Block the first accounts, and no others."""
        assert self.emulator
        accounts = {
            one: replace(account, is_blocked=number < count)
            for number, (one, account) in enumerate(self.accounts.items())
        }
        self.emulator.config = replace(self.emulator.config, accounts=accounts)

    def fail(self, count: int, status: int) -> None:
        self.failing = dict.fromkeys(list(self.accounts)[-count:], status)

    def fault(self, request: web.Request, account: str) -> web.Response | None:
        if request.path == "/integrated-account":
            listed = [one.listed() for one in self.accounts.values() if one.id not in self.unlisted]
            return web.json_response({"result": listed}) if self.unlisted else None
        account = account or request.path.rpartition("/")[2]
        status = self.failing.get(account)
        return refused(status, message="no", truto_is_remote_error=True) if status else None

    @property
    def requests(self) -> int:
        assert self.emulator
        return len(self.emulator.requests)

    def runs(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.dest / "runs").to_pylist()
        return sorted(rows, key=lambda row: (row["started_at"], row["run_key"]))


@pytest.fixture
async def night(tmp_path: Path) -> AsyncIterator[Night]:
    night = Night(tmp_path / "lake")
    async with faulty(EmulatorConfig(accounts=night.accounts, page_size=2), night.fault) as one:
        night.emulator = one
        yield night


async def test_a_complete_run_of_a_key_is_reported_and_not_repeated(night: Night) -> None:
    first = await night.export("--run-key", "2026-11-26")
    before = night.requests
    second = await night.export("--run-key", "2026-11-26")
    assert (first.code, second.code) == (0, 0)
    assert second.summary["run"] == first.summary["run"]
    assert second.summary["run_key"] == "2026-11-26"
    assert [one.summary["repeated"] for one in (first, second)] == [False, True]
    assert second.summary["rows"] == 50
    assert len(landed(night.dest)) == 50
    assert night.requests == before, "nothing was requested, not even the accounts"


async def test_the_key_of_a_run_that_has_expired_exports_nothing_and_says_so(night: Night) -> None:
    for key in ("1", "2"):
        ended = await night.export("--mode", "append", "--run-key", key)
        assert ended.code == 0, ended.err
    assert (await run_cli("expire", str(night.dest), "--keep", "1")).code == 0
    again = await night.export("--mode", "append", "--run-key", "1")
    assert again.code == 0, again.err
    said = [again.summary[name] for name in ("complete", "repeated", "expired", "rows")]
    assert said == [True, True, True, 50]
    assert len(landed(night.dest)) == 50
    assert [one["run_key"] for one in night.runs()] == ["1", "2"]


async def test_a_later_key_adds_or_replaces_as_the_mode_says(night: Night) -> None:
    for mode, rows in (("append", 100), ("overwrite", 50)):
        night.dest = night.dest.with_name(mode)
        for key in ("1", "1", "2", "2", "1"):
            ended = await night.export("--mode", mode, "--run-key", key)
            assert ended.code == 0, ended.err
        assert len(landed(night.dest)) == rows
        assert [one["run_key"] for one in night.runs()] == ["1", "2"]


async def test_an_unfinished_run_of_a_key_is_resumed(night: Night) -> None:
    stopped = await night.export("--run-key", "1", "--max-pages", "1", "--commit-seconds", "0")
    assert stopped.code == 5
    ended = await night.export("--run-key", "1")
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"]
    assert ended.summary["run"] == stopped.summary["run"]
    assert len(landed(night.dest)) == 50


async def test_a_night_that_was_given_up_makes_way_for_the_next(night: Night) -> None:
    """Nobody has seen its rows. A run without a key may be anything, and is kept."""
    await night.export("--run-key", "1", "--max-pages", "1", "--commit-seconds", "0")
    ended = await night.export("--run-key", "2")
    assert ended.code == 0, ended.err
    assert [one["run_key"] for one in night.runs()] == ["2"]
    assert [(one["run_key"], one["rows"]) for one in ended.summary["discarded"]] == [("1", 20)]
    assert len(landed(night.dest)) == 50
    await night.export("--mode", "append", "--max-pages", "1", "--commit-seconds", "0")
    refused_night = await night.export("--mode", "append", "--run-key", "3")
    assert refused_night.code == 2
    assert "unfinished run of another request" in refused_night.err


@pytest.mark.parametrize("is_complete", [True, False])
async def test_a_restart_of_a_key_lists_the_accounts_again(night: Night, is_complete: bool) -> None:
    """A list without those that are skipped would drop their rows."""
    assert (await night.export("--run-key", "1")).code == 0
    night.block(2)
    args = ("--mode", "overwrite", "--run-key", "2", "--commit-seconds", "0")
    await night.export(*args, *(() if is_complete else ("--max-pages", "1")))
    ended = await night.export(*args, "--restart")
    assert ended.code == 0, ended.err
    assert len(ended.summary["skipped"]) == len(ended.summary["carried_over"]) == 2
    assert ended.summary["dropped"] == []
    assert len(landed(night.dest)) == 50


async def test_another_request_of_an_empty_runs_key_lists_the_accounts_again(night: Night) -> None:
    assert (await night.export("--run-key", "1")).code == 0
    night.block(2)
    args = ("--mode", "overwrite", "--run-key", "2")
    night.fail(ACCOUNTS, 500)
    assert (await night.export(*args)).code == 1
    night.failing = {}
    ended = await night.export(*args, "--limit", "3")
    assert ended.code == 0, ended.err
    assert ended.summary["dropped"] == []
    assert len(landed(night.dest)) == 50


async def test_the_newest_run_of_a_key_is_the_one_that_is_meant(night: Night) -> None:
    args = ("--mode", "append", "--run-key", "1")
    first = await night.export(*args)
    stopped = await night.export(*args, "--restart", "--max-pages", "1", "--commit-seconds", "0")
    assert stopped.code == 5
    resumed = await night.export(*args)
    repeated = await night.export(*args)
    assert first.summary["run"] != resumed.summary["run"] == stopped.summary["run"]
    assert resumed.summary["complete"]
    assert repeated.summary["run"] == resumed.summary["run"]
    assert repeated.summary["repeated"]


async def test_a_key_belongs_to_one_request(night: Night) -> None:
    await night.export("--run-key", "1")
    other = await night.export("--run-key", "1", "--limit", "3")
    assert other.code == 2
    assert "the run key 1 is that of another request: limit was None, now is 3" in other.err


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 201])
async def test_a_key_is_one_line(night: Night, key: str) -> None:
    ended = await night.export("--run-key", key)
    assert ended.code == 2
    assert "--run-key" in ended.err


@pytest.mark.parametrize("most", ["2", "20%"])
async def test_too_many_skipped_accounts_replace_nothing(night: Night, most: str) -> None:
    args = ("--mode", "overwrite", "--max-absent", most)
    assert (await night.export(*args)).code == 0
    before = landed(night.dest)
    night.block(2)
    assert (await night.export(*args)).summary["carried_over"]
    night.block(3)
    ended = await night.export(*args)
    assert ended.code == 6
    assert f"3 of 10 accounts are skipped, more than {most}" in ended.err
    assert "--max-absent" in ended.err
    assert [row["id"] for row in landed(night.dest)] == [row["id"] for row in before]
    assert all(run.is_complete for run in load_runs(LocalStore(night.dest))), "it left no run"
    night.block(0)
    assert (await night.export(*args)).code == 0


@pytest.mark.parametrize(("status", "code"), [(403, 6), (500, 1)])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
async def test_too_many_failed_accounts_publish_nothing(
    night: Night, mode: str, status: int, code: int
) -> None:
    """The run stays unfinished, and the same command retries them."""
    args = ("--mode", mode, "--skip-failed", "--max-absent", "1")
    assert (await night.export(*args)).code == 0
    before = landed(night.dest)
    night.fail(2, status)
    ended = await night.export(*args)
    assert ended.code == code, ended.err
    assert landed(night.dest) == before
    assert "2 are absent, more than 1, so nothing is published" in ended.err
    night.failing = {}
    ended = await night.export(*args)
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"]
    assert len(landed(night.dest)) == (100 if mode == "append" else 50)


async def test_an_account_that_the_list_misses_is_not_dropped(night: Night) -> None:
    """Lists change while they are read: the API is asked for an account before it is dropped."""
    args = ("--mode", "overwrite")
    assert (await night.export(*args)).code == 0
    missed, gone, *_ = night.accounts
    night.unlisted = {missed, gone}
    night.failing = {gone: 404}
    ended = await night.export(*args)
    assert ended.code == 0, ended.err
    assert ended.summary["dropped"] == [{"account": gone, "rows": 5}]
    [kept] = ended.summary["carried_over"]
    assert (kept["account"], kept["reason"], kept["rows"]) == (missed, "not listed", 5)
    assert len(landed(night.dest)) == 45


async def test_a_token_of_another_environment_drops_no_more_than_may_be_absent(
    night: Night,
) -> None:
    args = ("--mode", "overwrite", "--max-absent", "3")
    assert (await night.export(*args)).code == 0
    before = landed(night.dest)
    night.unlisted = {*list(night.accounts)[:4]}
    night.failing = dict.fromkeys(night.unlisted, 404)
    ended = await night.export(*args)
    assert ended.code == 6
    assert "the lake has 4 accounts that the API no longer has, and 4 of 10 are absent" in ended.err
    assert landed(night.dest) == before
    night.unlisted, night.failing = set(), {}
    assert (await night.export(*args, "--restart")).code == 0
    assert len(landed(night.dest)) == 50


async def test_a_night_that_is_complete_without_accounts_needs_a_hand_and_no_retry(
    night: Night,
) -> None:
    """Its key would only report it again."""
    args = ("--mode", "append", "--skip-failed", "--run-key", "1")
    night.fail(1, 500)
    assert [(await night.export(*args)).code for _ in range(2)] == [6, 6]


@pytest.mark.parametrize("text", ["", "-1", "101%", "x", "5 %", "1e3", "٣"])
def test_what_max_absent_takes(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as 20 or 5%.*max_absent"):
        MostAbsent(text)


@pytest.mark.parametrize(
    ("text", "absent", "accounts", "is_exceeded"),
    [("0", 0, 5, False), ("0", 1, 5, True), ("3", 3, 5, False), ("5%", 150, 3000, False),
     ("5%", 151, 3000, True), ("0.5%", 1, 199, True), ("0.5%", 1, 200, False),
     ("100%", 5, 5, False)],
)  # fmt: skip
def test_how_many_may_be_absent(
    text: str, absent: int, accounts: int, *, is_exceeded: bool
) -> None:
    assert MostAbsent(text).is_exceeded(absent, accounts) is is_exceeded
