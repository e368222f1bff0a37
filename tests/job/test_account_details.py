"""Whose licenses they are: integration and tenant, from a listing, a file, or the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.records import AccountDetails, Promise
from streamlic.dataset.run_state import RunState
from streamlic.decoder import Envelope
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts, running_emulator
from streamlic.emulator.accounts import ACCOUNT_SECRET
from streamlic.job.committer import Committer
from streamlic.job.options import JobOptions
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.runs import open_run
from tests.job.test_many_accounts import faulty, refused
from tests.support.cli import run_cli

ACCOUNTS = emulated_accounts(4, records=30, unhealthy_share=0.5, seed=5)
HEALTHY = [one.id for one in ACCOUNTS.values() if one.status == "active" and not one.is_blocked]
CONFIG = EmulatorConfig(accounts=ACCOUNTS, page_size=10)


def details_in(dest: Path, table: str) -> dict[str, tuple[str | None, str | None]]:
    """Return integration and tenant of each account, as one table has them."""
    rows = pq.read_table(dest / table).to_pylist()
    found = {(row["integrated_account_id"], row["integration"], row["tenant_id"]) for row in rows}
    assert len({account for account, _, _ in found}) == len(found)
    return {account: (integration, tenant) for account, integration, tenant in found}


def truth(*accounts: str) -> dict[str, tuple[str | None, str | None]]:
    return {one: (ACCOUNTS[one].integration, ACCOUNTS[one].tenant_id) for one in accounts}


def named(emulator: Emulator) -> list[str]:
    """Return the paths of requests for one account's details."""
    paths = [asked.path for asked in emulator.requests]
    return [path for path in paths if path.startswith("/integrated-account/")]


def of(*accounts: str) -> list[str]:
    return [word for one in accounts for word in ("--account", one)]


async def exported(dest: Path, emulator: Emulator, *more: str, code: int = 0) -> Any:
    args = ["export", str(dest), "--base-url", emulator.url, "--rate-limit", "none", "--json"]
    ended = await run_cli(*args, *more)
    assert ended.code == code, ended.err
    return ended


async def test_a_listing_says_it_all(tmp_path: Path) -> None:
    assert 0 < len(HEALTHY) < len(ACCOUNTS)
    async with running_emulator(CONFIG) as emulator:
        await exported(tmp_path, emulator, "--all-accounts")
        assert named(emulator) == []
    assert details_in(tmp_path, "licenses") == truth(*HEALTHY)
    assert details_in(tmp_path, "accounts") == truth(*ACCOUNTS)
    rows = {row["integrated_account_id"]: row for row in pq.read_table(
        tmp_path / "accounts").to_pylist()}  # fmt: skip
    for one in ACCOUNTS.values():
        row = rows[one.id]
        assert (row["status"], row["is_blocked"]) == (one.status, one.is_blocked)
        assert row["outcome"] == ("read" if one.id in HEALTHY else "skipped")


async def test_named_accounts_are_looked_up_once_each(tmp_path: Path) -> None:
    async with running_emulator(CONFIG) as emulator:
        await exported(tmp_path, emulator, *of(*HEALTHY))
        assert sorted(named(emulator)) == sorted(f"/integrated-account/{one}" for one in HEALTHY)
    assert details_in(tmp_path, "licenses") == truth(*HEALTHY)
    assert details_in(tmp_path, "accounts") == truth(*HEALTHY)


async def test_they_are_not_looked_up_if_not_wanted(tmp_path: Path) -> None:
    async with running_emulator(CONFIG) as emulator:
        await exported(tmp_path, emulator, *of(*HEALTHY), "--no-account-details")
        assert named(emulator) == []
    unknown = dict.fromkeys(HEALTHY, (None, None))
    assert details_in(tmp_path, "licenses") == details_in(tmp_path, "accounts") == unknown


async def test_an_accounts_file_is_believed_and_completed(tmp_path: Path) -> None:
    one, other = HEALTHY[:2]
    file = tmp_path / "accounts.csv"
    file.write_text(f"account,integration,tenant_id\n{one},ours,acme\n{other},,\n")
    async with running_emulator(CONFIG) as emulator:
        await exported(tmp_path / "lake", emulator, "--accounts-file", str(file))
        assert named(emulator) == [f"/integrated-account/{other}"]
    known = {one: ("ours", "acme"), **truth(other)}
    assert details_in(tmp_path / "lake", "licenses") == known


async def test_a_resumed_run_knows_what_it_knew(tmp_path: Path) -> None:
    one = HEALTHY[0]
    async with running_emulator(CONFIG) as emulator:
        await exported(tmp_path, emulator, "--account", one, "--max-pages", "2", code=5)
        asked = named(emulator)
        await exported(tmp_path, emulator, "--account", one)
        assert named(emulator) == asked == [f"/integrated-account/{one}"]
    assert details_in(tmp_path, "licenses") == truth(one)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_an_account_is_not_lost_for_its_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("streamlic.job.account_details._WAITS_SECONDS", (0.0, 0.0))

    def fault(request: web.Request, _: str) -> web.Response | None:
        is_details = request.path.startswith("/integrated-account/")
        return refused(status, message="no details") if is_details else None

    async with faulty(CONFIG, fault) as emulator:
        await exported(tmp_path, emulator, "--account", HEALTHY[0])
    assert details_in(tmp_path, "licenses") == {HEALTHY[0]: (None, None)}


async def test_no_secret_of_an_account_is_kept_or_shown(tmp_path: Path) -> None:
    assert ACCOUNT_SECRET in str(ACCOUNTS[HEALTHY[0]].listed())
    dest = tmp_path / "lake"
    async with running_emulator(CONFIG) as emulator:
        listing = await exported(dest, emulator, "--all-accounts", "--verbose")
        named_ones = await exported(
            dest, emulator, *of(*HEALTHY), "--mode", "append", "--log-format", "json"
        )
    shown = [text for ended in (listing, named_ones) for text in (ended.out, ended.err)]
    kept = [path.read_bytes().decode("latin-1") for path in dest.rglob("*") if path.is_file()]
    assert kept
    assert not [text for text in (*shown, *kept) if ACCOUNT_SECRET in text]


def test_details_that_arrive_during_a_commit_are_in_the_next_one(tmp_path: Path) -> None:
    """They come from the event loop, and commits are made in the encode thread."""
    first, second = AccountDetails(integration="slack"), AccountDetails(integration="jira")

    class Lake(LakeWriter):
        def commit(self, run: RunState, promise: Promise) -> None:
            for _ in promise.details:
                committer.learn("b", second)
            super().commit(run, promise)

    lake = Lake(LocalStore(tmp_path))
    run = open_run(lake, request={}, accounts=["a", "b"])
    committer = Committer(lake, run, JobOptions(commit_seconds=0), engine="fast")
    committer.learn("a", first)
    committer.end_page("a", Envelope())
    [logged] = load_runs(LocalStore(tmp_path))
    assert logged.details == {"a": first}
    committer.end_page("b", Envelope())
    [logged] = load_runs(LocalStore(tmp_path))
    assert logged.details == {"a": first, "b": second}
    committer.close(keeps_pages=False)
