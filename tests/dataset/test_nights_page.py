"""The queries of the page about nights give the right numbers on the emulator's nights."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from streamlic.answers.views import views_sql
from streamlic.decoder.options import MAX_RESCUED
from streamlic.emulator import EmulatorConfig, emulated_accounts, running_emulator
from streamlic.storage.open_store import open_store
from tests.dataset.test_documented_queries import answer_of
from tests.support.cli import run_cli
from tests.support.examples import ROOT, blocks_of
from tests.support.nights import records_of
from tests.support.oracle import expected_row

PAGE = (ROOT / "docs" / "how-to" / "nights.md").read_text()
NIGHTS = 4
ACCOUNTS = emulated_accounts(25, records=12, unhealthy_share=0.1)


class License(NamedTuple):
    """What the queries ask of a license."""

    integration: str
    seats: int | None
    used: int | None

    @property
    def is_unlimited(self) -> bool:
        return self.seats is not None and not 0 <= self.seats < 2**31 - 1

    @property
    def unused(self) -> int | None:
        if self.seats is None or self.used is None or self.is_unlimited:
            return None
        return max(self.seats - self.used, 0)


@dataclass
class Truth:
    """What there was in each night, by the emulator's function."""

    licenses: list[dict[tuple[str, str], License]] = field(default_factory=list)
    """Of each night, by account and id: those that were last read by then."""
    unread: list[dict[str, int | None]] = field(default_factory=list)
    """The accounts that were listed and not read, each with the night that last read it."""
    listed: list[set[str]] = field(default_factory=list)


@dataclass
class Lake:
    """A directory as the page's examples have it, and what its ``lake`` was made from."""

    directory: Path
    mode: str
    truth: Truth
    started_at: list[Any]


async def exported(directory: Path, mode: str) -> Truth:
    """Export every night, and leave one more unfinished."""
    truth, last_read = Truth(), dict[str, tuple[int, dict[tuple[str, str], License]]]()
    config = EmulatorConfig(accounts=ACCOUNTS, page_size=10, changes=0.15)
    async with running_emulator(config) as emulator:
        for night in range(NIGHTS + 1):
            emulator.night = night
            more = ["--max-pages", "1", "--commit-seconds", "0"] if night == NIGHTS else []
            more += ["--publish", "commits"] if night == NIGHTS and mode == "append" else []
            ended = await run_cli(
                "export", str(directory / "lake"), "--all-accounts", "--mode", mode, "--run-key",
                f"{night}", "--base-url", emulator.url, "--rate-limit", "none", "--quiet", *more,
            )  # fmt: skip
            assert ended.code == (6 if night == NIGHTS else 0), ended.err
            if night == NIGHTS:
                break
            listed = emulator.world.accounts
            for account, one in listed.items():
                if one.status == "active" and not one.is_blocked:
                    last_read[account] = (
                        night,
                        {
                            (account, record["id"]): License(one.integration, *seats_of(record))
                            for record in records_of(emulator.world, one)
                        },
                    )
            known = {account: last_read[account] for account in listed if account in last_read}
            truth.licenses.append({k: v for _, rows in known.values() for k, v in rows.items()})
            read = {account: known[account][0] if account in known else None for account in listed}
            truth.unread.append({account: one for account, one in read.items() if one != night})
            truth.listed.append({*listed})
    return truth


def seats_of(record: Any) -> tuple[int | None, int | None]:
    """Return a license's seats and its assigned ones as a table has them."""
    row, _ = expected_row(record, MAX_RESCUED)
    return row["available_quantity"], row["assigned_quantity"]


@pytest.fixture(scope="module", params=["append", "overwrite"])
def exported_lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    directory = tmp_path_factory.mktemp(request.param)
    truth = asyncio.run(exported(directory, request.param))
    (directory / "nights.sql").write_text(views_sql(open_store(str(directory / "lake"))))
    runs = pl.read_parquet(directory / "lake/runs/*.parquet").sort("run_key")
    return Lake(directory, request.param, truth, runs["_exported_at"].to_list())


@pytest.fixture
def lake(exported_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.chdir(exported_lake.directory)
    return exported_lake


def answer(heading: str) -> list[tuple[Any, ...]]:
    """Return what the examples below a heading of the page answer."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    rows: list[tuple[Any, ...]] = []
    for block in blocks_of(section):
        found = answer_of(block)
        frame = found if isinstance(found, pl.DataFrame) else found.pl()
        rows += frame.rows()
    return rows


def numbers(licenses: list[License]) -> tuple[int, int, int]:
    """Return the licenses, their unused seats, and how many of them have numbers."""
    unused = [one.unused for one in licenses if one.unused is not None]
    return len(licenses), sum(unused), len(unused)


def test_the_newest_night(lake: Lake) -> None:
    newest = lake.truth.licenses[-1]
    licenses, unused, with_numbers = numbers(list(newest.values()))
    unlimited = sum(one.is_unlimited for one in newest.values())
    accounts = len({account for account, _ in newest})
    assert answer("The newest night") == [(accounts, licenses, unused, with_numbers, unlimited)]
    assert 0 < unlimited < licenses - with_numbers, "some have no numbers"
    assert unused


@pytest.mark.parametrize("heading", ["By vendor", "In polars"])
def test_by_vendor(lake: Lake, heading: str) -> None:
    newest = lake.truth.licenses[-1]
    wanted = set()
    for vendor in {one.integration for one in newest.values()}:
        some = {key: one for key, one in newest.items() if one.integration == vendor}
        licenses, unused, with_numbers = numbers(list(some.values()))
        wanted.add((vendor, len({a for a, _ in some}), licenses, unused, with_numbers))
    assert len(wanted) > 5
    assert set(answer(heading)) == wanted


def test_the_accounts_that_were_not_read(lake: Lake) -> None:
    rows = answer("Accounts that were not read tonight")
    assert {account: at for _, account, *_, at in rows} == {
        account: None if night is None else lake.started_at[night]
        for account, night in lake.truth.unread[-1].items()
    }
    assert rows
    assert {why for _, _, _, why, _ in rows} <= {"blocked", "needs_reauth"}


def test_what_changed(lake: Lake) -> None:
    before, after = lake.truth.licenses[-2:]
    moved = {
        key: (after[key].used or 0) - (before[key].used or 0)
        for key in before.keys() & after.keys()
        if after[key] != before[key]
    }
    of_licenses = {
        "gone": len(before.keys() - after.keys()),
        "moved": len(moved),
        "new": len(after.keys() - before.keys()),
    }
    was, now = ({*one} for one in lake.truth.unread[-2:])
    listed, still = lake.truth.listed[-2:]
    of_accounts = Counter(
        {
            "new": len(still - listed),
            "gone": len(listed - still),
            "read again": len((was - now) & still),
            "not read": len((now - was) & listed),
        }
    )
    rows = answer("What changed between two nights")
    accounts = {row[0]: row[1] for row in rows if len(row) == 2}
    assert accounts == +of_accounts
    assert len(accounts) > 1
    if lake.mode == "append":
        licenses = {row[0]: row[1] for row in rows if len(row) == 3}
        assert licenses == of_licenses
        assert all(licenses.values())
        [more] = [row[2] for row in rows if row[0] == "moved" and len(row) == 3]
        assert more == sum(moved.values())


def test_the_history_of_unused_seats(lake: Lake) -> None:
    if lake.mode == "append":
        assert answer("The history of unused seats") == [
            (f"{night}", *numbers(list(one.values())))
            for night, one in enumerate(lake.truth.licenses)
        ]
