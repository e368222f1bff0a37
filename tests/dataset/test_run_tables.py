"""The rows of ``accounts`` and ``runs``: what each run did, and with which accounts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.lake import ACCOUNTS_SCHEMA, RUNS_SCHEMA, STAGING
from streamlic.dataset.records import AccountDetails, Failed, ResumePoint
from streamlic.storage.local import LocalStore
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from tests.support.batches import ACCOUNTS, expected_ids, land, open_local, open_writer, visible_ids

A, B = ACCOUNTS
ROWS = 160


def accounts_of(dest: Path, run: str) -> dict[str | None, dict[str, Any]]:
    rows = pq.read_table(dest / "accounts").to_pylist()
    return {row["integrated_account_id"]: row for row in rows if row["_run"] == run}


def test_a_run_has_one_row_and_each_of_its_accounts_one(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    accounts, runs = pq.read_table(tmp_path / "accounts"), pq.read_table(tmp_path / "runs")
    assert accounts.schema.equals(ACCOUNTS_SCHEMA)
    assert runs.schema.equals(RUNS_SCHEMA)
    assert {one: row["outcome"] for one, row in accounts_of(tmp_path, run.id).items()} == (
        dict.fromkeys(ACCOUNTS, "read")
    )
    [row] = runs.to_pylist()
    assert row["_run"] == run.id
    assert row["_exported_at"] == row["started_at"] == run.started_at
    assert row["ended_at"] >= row["started_at"]
    assert (row["mode"], row["complete"], row["engine"], row["request"]) == (
        "error", True, "fast", '{"tag": "new"}'
    )  # fmt: skip
    assert (row["accounts"], row["accounts_read"], row["rows"]) == (2, 2, 2 * ROWS)
    assert row["part_files"] == len(run.license_files)
    assert row["bytes"] == sum(file.bytes for file in run.license_files)


def test_every_outcome_has_its_reason(tmp_path: Path) -> None:
    """One account is read, one fails and one is skipped with older rows, and without any."""
    old = land(tmp_path, "old", accounts=["kept-failed", "kept-skipped", "read"])
    names: list[str | None] = ["read", "kept-failed", "failed"]
    skipped = {"kept-skipped": "blocked", "skipped": "needs_reauth"}
    blocked = AccountDetails(integration="slack", tenant_id="t", status="active", is_blocked=True)
    run = open_local(
        tmp_path, request={}, accounts=names, mode="overwrite", skipped=skipped,
        details={"kept-skipped": blocked},
    )  # fmt: skip
    done = ResumePoint(
        is_done=True, pages=1, started_at="2026-01-02T00:00:00Z", ended_at="2026-01-02T00:00:09Z"
    )
    run.commit([], {"read": done}, is_complete=False)
    failed: dict[str | None, Failed] = {
        one: Failed(kind="ApiError", message=f"{one} is gone", retryable=False)
        for one in ("kept-failed", "failed")
    }
    reasons = {str(one): failure.message for one, failure in failed.items()}
    keeps = carrying(run.store, run, reasons, batch_bytes=10_000)
    ending = Ending(engine="fast", keeps=keeps, failed=failed)
    complete_run(run.lake, run, open_writer(run), ending)
    rows = accounts_of(tmp_path, run.id)
    assert {one: (row["outcome"], row["reason"], row["rows"]) for one, row in rows.items()} == {
        "read": ("read", None, 0),
        "kept-failed": ("carried_over", "failed: kept-failed is gone", ROWS),
        "failed": ("failed", None, 0),
        "kept-skipped": ("carried_over", "blocked", ROWS),
        "skipped": ("skipped", "needs_reauth", 0),
    }
    assert rows["kept-failed"]["error_kind"] == rows["failed"]["error_kind"] == "ApiError"
    assert rows["failed"]["error_message"] == "failed is gone"
    assert rows["failed"]["error_retryable"] is False
    assert rows["kept-skipped"]["rows_exported_at"] == old.started_at
    assert rows["skipped"]["rows_exported_at"] is None
    assert [rows["kept-skipped"][name] for name in ("integration", "tenant_id", "is_blocked")] == [
        "slack", "t", True
    ]  # fmt: skip
    times = [rows["read"][name] for name in ("started_at", "ended_at")]
    assert times == [datetime.fromisoformat(f"2026-01-02T00:00:0{n}Z") for n in (0, 9)]
    [row] = [one for one in pq.read_table(tmp_path / "runs").to_pylist() if one["_run"] == run.id]
    names_of_counts = ("read", "skipped", "failed", "carried_over", "dropped")
    assert [row[f"accounts_{one}"] for one in names_of_counts] == [1, 1, 1, 2, 0]
    assert (row["complete"], row["accounts"], row["rows"]) == (False, 5, 2 * ROWS)
    assert row["rows_carried_over"] == 2 * ROWS


def test_runs_of_the_same_second_have_an_order(tmp_path: Path) -> None:
    """Else the newest snapshot of an account would be two snapshots."""
    runs = [land(tmp_path, f"night-{night}", mode="append") for night in range(5)]
    times = [run.started_at for run in runs]
    assert times == sorted(set(times))
    assert [run.id for run in load_runs(LocalStore(tmp_path))] == [run.id for run in runs]


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_no_mode_publishes_half_of_an_account(tmp_path: Path, mode: str) -> None:
    """An account that failed after some pages has none; as it was published, it stays."""
    run = land(tmp_path / "whole", "new", mode=mode, failing={A: 2})
    assert visible_ids(tmp_path / "whole") == expected_ids("new", [B])
    row = accounts_of(tmp_path / "whole", run.id)[A]
    assert (row["outcome"], row["rows"], row["rows_exported_at"]) == ("failed", 0, None)
    if mode != "overwrite":
        commits = land(tmp_path / "seen", "new", mode=mode, failing={A: 2}, publish="commits")
        assert set(visible_ids(tmp_path / "seen")) > set(expected_ids("new", [B]))
        assert accounts_of(tmp_path / "seen", commits.id)[A]["rows"] > 0


def test_history_stays_where_licenses_are_replaced(tmp_path: Path) -> None:
    runs = [land(tmp_path, f"night-{night}", mode="overwrite") for night in range(3)]
    assert visible_ids(tmp_path) == expected_ids("night-2")
    found = pq.read_table(tmp_path / "runs")["_run"].to_pylist()
    assert sorted(found) == sorted(run.id for run in runs)
    assert all(accounts_of(tmp_path, run.id).keys() == {*ACCOUNTS} for run in runs)


def test_accounts_that_a_full_listing_lacks_are_dropped_and_reported(tmp_path: Path) -> None:
    """What was not asked for stays where the listing had filters."""
    land(tmp_path, "old", accounts=["a", "b"])
    for_some = {"all_of": {"integration": "slack", "tenant": None}}
    land(tmp_path, "some", mode="overwrite", accounts=["a"], request=for_some)
    assert visible_ids(tmp_path) == sorted(expected_ids("some", ["a"]) + expected_ids("old", ["b"]))
    full = {"all_of": {"integration": None, "tenant": None}}
    run = land(tmp_path, "all", mode="overwrite", accounts=["a"], request=full)
    assert visible_ids(tmp_path) == expected_ids("all", ["a"])
    assert run.dropped == {"b": ROWS}
    assert accounts_of(tmp_path, run.id).keys() == {"a"}


def test_what_was_known_of_an_account_is_carried_with_its_rows(tmp_path: Path) -> None:
    details = {A: AccountDetails(integration="slack", tenant_id="t", status="active")}
    run = open_local(tmp_path, request={}, accounts=[A], details=details)
    writer = open_writer(run)
    complete_run(
        run.lake, run, writer, Ending(engine="fast", points={A: ResumePoint(is_done=True)})
    )
    assert accounts_of(tmp_path, run.id)[A]["status"] == "active"
    land(tmp_path, "a", mode="append", accounts=[A])
    again = land(tmp_path, "b", mode="overwrite", accounts=[B])
    row = accounts_of(tmp_path, again.id)[A]
    assert (row["integration"], row["tenant_id"], row["status"]) == ("slack", "t", None)
    assert not LocalStore(tmp_path).names(STAGING)
