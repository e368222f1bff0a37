"""A night that asks for some accounts says nothing of the others: they are not gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamlic
from streamlic.answers.describe import headline
from streamlic.answers.files import as_json
from streamlic.answers.page import page
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts
from tests.support.cli import run_cli
from tests.support.server_thread import served

ACCOUNTS = emulated_accounts(4, records=30, seed=7, unhealthy_share=0)
IDS = [*ACCOUNTS]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS, seed=7)) as emulator:
        yield emulator


async def export(dest: Path, emulator: Emulator, *which: str, mode: str = "append") -> None:
    ended = await run_cli(
        "export", str(dest), *which, "--mode", mode, "--base-url", emulator.url,
        "--rate-limit", "none", "--quiet", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err


async def outcomes(dest: Path) -> dict[str, int]:
    query = "select outcome || coalesce(', ' || why, '') as what, count(*) as n from nights"
    ended = await run_cli(
        "sql", str(dest), f"{query} where night = newest(0) group by all", "--json"
    )
    assert ended.code == 0, ended.err
    return {row["what"]: row["n"] for row in map(json.loads, ended.out.splitlines())}


@pytest.mark.parametrize("mode", ["append", "overwrite"])
async def test_accounts_that_a_night_did_not_ask_for_keep_their_licenses(
    tmp_path: Path, emulator: Emulator, mode: str
) -> None:
    await export(tmp_path, emulator, "--all-accounts", mode=mode)
    whole = streamlic.report(tmp_path)
    await export(tmp_path, emulator, "--account", IDS[0], mode=mode)
    report = streamlic.report(tmp_path)
    assert report.totals == whole.totals
    assert (report.coverage.asked_for, report.coverage.accounts) == (1, 4)
    said = "This night asked for 1 of 4 accounts"
    assert any(said in line for line in headline(report))
    assert said in page(report, "lake")
    assert as_json(report)["coverage"]["asked_for"] == 1
    assert {*report.not_read["integrated_account_id"].to_pylist()} == {*IDS[1:]}
    assert await outcomes(tmp_path) == {"read": 1, "carried_over, not asked for": 3}
    if mode == "append":
        assert report.coverage.more_unused_seats == 0
        assert report.movements.num_rows == report.changes_by_vendor.num_rows == 0
        assert [row["licenses_gone"] for row in report.changes_by_night.to_pylist()] == [0]
        unused = report.trend["unused_seats"].to_pylist()
        assert unused[0] == unused[1]


async def test_accounts_that_a_night_read_first_brought_no_new_licenses(
    tmp_path: Path, emulator: Emulator
) -> None:
    await export(tmp_path, emulator, "--account", IDS[0])
    await export(tmp_path, emulator, "--all-accounts")
    report = streamlic.report(tmp_path)
    assert (report.coverage.asked_for, report.coverage.not_compared) == (4, 3)
    assert any("had not read 3 accounts" in line for line in headline(report))
    assert report.coverage.more_unused_seats == report.movements.num_rows == 0
    assert [row["licenses_new"] for row in report.changes_by_night.to_pylist()] == [0]


async def test_only_a_list_of_all_accounts_says_that_one_is_gone(tmp_path: Path) -> None:
    with served(EmulatorConfig(accounts=ACCOUNTS, seed=7)) as emulator:
        await export(tmp_path, emulator, "--all-accounts")
    with served(
        EmulatorConfig(accounts={one: ACCOUNTS[one] for one in IDS[:2]}, seed=7)
    ) as emulator:
        await export(
            tmp_path, emulator, "--all-accounts", "--tenant", ACCOUNTS[IDS[0]].tenant_id or ""
        )
        assert streamlic.report(tmp_path).coverage.accounts == 4
        await export(tmp_path, emulator, "--all-accounts")
        report = streamlic.report(tmp_path)
        assert report.coverage.accounts == 2
        gone = sum(report.changes_by_vendor["licenses_gone"].to_pylist())
        assert gone == 60, "the two accounts had 30 licenses each"
        await export(tmp_path, emulator, "--account", IDS[0])
        assert streamlic.report(tmp_path).coverage.accounts == 2, "it stays gone"


async def test_files_that_are_converted_into_a_lake_do_not_hide_it(
    tmp_path: Path, emulator: Emulator
) -> None:
    lake, body = tmp_path / "lake", tmp_path / "body.json"
    await export(lake, emulator, "--all-accounts")
    body.write_text('{"result": [{"id": "one"}]}')
    for _ in range(2):
        ended = await run_cli("convert", str(body), str(lake), "--mode", "append", "--quiet")
        assert ended.code == 0, ended.err
    report = streamlic.report(lake, compare=streamlic.report(lake).nights[1].run)
    assert "are unused" in headline(report)[0]
    assert (report.coverage.asked_for, report.coverage.accounts) == (1, 5)
    assert report.movements.num_rows == 0


async def test_licenses_that_have_expired_are_said_to_be_missing(
    tmp_path: Path, emulator: Emulator
) -> None:
    await export(tmp_path, emulator, "--all-accounts")
    await export(tmp_path, emulator, "--account", IDS[0])
    ended = await run_cli("expire", str(tmp_path), "--keep", "1")
    assert ended.code == 0, ended.err
    report = streamlic.report(tmp_path)
    assert report.coverage.expired == 3
    assert "The last licenses of 3 accounts have expired, and are in no figure" in headline(report)


async def test_nights_of_one_minute_have_names_of_their_own(
    tmp_path: Path, emulator: Emulator
) -> None:
    for _ in range(3):
        await export(tmp_path, emulator, "--account", IDS[0])
    report = streamlic.report(tmp_path)
    assert len({night.label for night in report.nights}) == 3
    shown = page(report, "lake")
    assert all(night.moment in shown for night in report.nights)
