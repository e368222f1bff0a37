"""What inspect says of nights, accounts and vendors is what the lake's tables say."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.inspect import Inspection, inspect_dataset
from streamlic.dataset.nights import Vendor
from streamlic.dataset.records import AccountDetails, ResumePoint
from streamlic.reports.inspection import inspection_text
from streamlic.storage.local import LocalStore
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from tests.support.batches import land, open_local, open_writer
from tests.support.cli import run_cli

COUNTS = ("read", "skipped", "failed", "carried_over", "dropped")


@pytest.fixture(autouse=True)
def _runs_of_one_second_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(secrets, "token_hex", lambda _: f"{next(numbers):08x}")


def table(dest: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(dest / name).sort_by("_run").to_pylist()
    return rows


def overwritten(dest: Path) -> Inspection:
    """Land a night, and another one that reads one account, skips two and drops none.

    Of the skipped ones, the lake has rows of one.
    """
    land(dest, "old", accounts=["a", "b"])
    details = {
        "a": AccountDetails(integration="slack", tenant_id="t"),
        "b": AccountDetails(integration="github", status="active", is_blocked=True),
        "c": AccountDetails(integration="jira"),
    }
    run = open_local(
        dest, request={}, accounts=["a", "d"], mode="overwrite", key="tuesday",
        skipped={"b": "blocked", "c": "needs_reauth"}, details=details,
    )  # fmt: skip
    point = ResumePoint(is_done=True, pages=1, rescued=3)
    run.commit([], {"a": point, "d": point}, is_complete=False)
    keeps = carrying(run.store, run, {}, batch_bytes=10_000)
    complete_run(run.lake, run, open_writer(run), Ending(engine="fast", keeps=keeps))
    return inspect_dataset(LocalStore(dest))


def test_nights_are_the_rows_of_runs(tmp_path: Path) -> None:
    nights = overwritten(tmp_path).nights
    rows = table(tmp_path, "runs")
    assert [one.run for one in nights] == [row["_run"] for row in rows]
    for night, row in zip(nights, rows, strict=True):
        assert (night.run_key, night.mode, night.licenses, night.rescued) == (
            row["run_key"], row["mode"], row["rows"], row["rescued"]
        )  # fmt: skip
        assert night.started_at == row["started_at"].isoformat()
        for count in COUNTS:
            assert getattr(night, f"accounts_{count}") == row[f"accounts_{count}"], count
    assert [one.replaced for one in nights] == [True, False]


def test_accounts_are_the_rows_of_the_newest_night(tmp_path: Path) -> None:
    accounts = overwritten(tmp_path).accounts
    newest = table(tmp_path, "runs")[-1]["_run"]
    rows = [row for row in table(tmp_path, "accounts") if row["_run"] == newest]
    rows.sort(key=lambda row: row["integrated_account_id"])
    assert [
        (one["integrated_account_id"], one["outcome"], one["integration"], one["rows"])
        for one in accounts
    ] == [
        (row["integrated_account_id"], row["outcome"], row["integration"], row["rows"])
        for row in rows
    ]
    [carried] = [row["rows_exported_at"] for row in rows if row["outcome"] == "carried_over"]
    assert carried.isoformat() in {one["rows_exported_at"] for one in accounts}


def test_vendors_have_the_accounts_that_are_in_the_lake(tmp_path: Path) -> None:
    assert overwritten(tmp_path).vendors == [
        Vendor(integration="github", accounts=1, licenses=160),
        Vendor(integration=None, accounts=1, licenses=0),
        Vendor(integration="slack", accounts=1, licenses=0),
    ]


def test_the_headline_says_what_the_newest_night_brought(tmp_path: Path) -> None:
    found = overwritten(tmp_path)
    text = inspection_text(found, "lake")
    lines = text.splitlines()
    old, night = (one.started_at.replace("T", " ") for one in found.nights)
    assert " ".join(text.partition("lake:")[0].split()) == (
        f"160 licenses of 3 accounts (2 integrations), night of {night[:16]} UTC, "
        f"1 account skipped, 1 carried over since {old[:10]}"
    )
    assert max(map(len, lines)) <= 80
    table_of_nights = [line.split() for line in lines if line.startswith((night[:16], old[:16]))]
    assert [row[2:] for row in table_of_nights] == [
        ["tuesday", "overwrite", "160", "2", "1", "1", "6"],
        ["null", "error", "320", "2", "0", "0", "0"],
    ]
    assert "failed" not in text, "no account has"
    assert "(not known)" in text


def test_a_table_of_nights_that_is_too_wide_names_what_it_leaves_out(tmp_path: Path) -> None:
    found = overwritten(tmp_path)
    found.nights = [replace(one, accounts_failed=1_000_000) for one in found.nights]
    text = inspection_text(found, "lake")
    assert max(map(len, text.splitlines())) <= 80
    assert "not shown: rescued (--json has all)" in text


async def test_an_unfinished_run_is_not_a_night_and_is_named_with_its_command(
    tmp_path: Path,
) -> None:
    run = land(tmp_path, "new", pages=2, request={"source": "b.json", "ndjson": None, "raw": False})
    ended = await run_cli("inspect", str(tmp_path))
    assert ended.out.startswith("no night is complete yet\n")
    assert f"run {run.id}: unfinished, not visible to readers yet" in ended.out
    assert f"streamlic convert b.json {tmp_path}" in ended.out
    shown = (await run_cli("inspect", str(tmp_path), "--json")).summary
    assert (shown["nights"], shown["vendors"], shown["accounts"]) == ([], [], [])


async def test_the_json_has_all_of_it(tmp_path: Path) -> None:
    found = overwritten(tmp_path)
    shown = (await run_cli("inspect", str(tmp_path), "--json")).summary
    assert [one["run"] for one in shown["nights"]] == [one.run for one in found.nights]
    assert shown["vendors"][0] == {"integration": "github", "accounts": 1, "licenses": 160}
    assert shown["accounts"] == found.accounts


def test_only_the_latest_nights_are_shown(tmp_path: Path) -> None:
    found = overwritten(tmp_path)
    found.nights = found.nights * 10
    found.vendors = found.vendors * 10
    text = inspection_text(found, "lake")
    assert "and 10 earlier nights: --json lists all" in text
    assert "and 10 more integrations: --json lists all" in text
