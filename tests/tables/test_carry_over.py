"""What an overwriting run keeps of those that it replaces: the rows of accounts it did not read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from aiohttp import web

import streamlic
from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.inspect import inspect_dataset
from streamlic.dataset.lake import ACCOUNT_COLUMN, RECORDS, STAGING
from streamlic.dataset.records import NOT_ASKED_FOR, AccountDetails, Carried, ResumePoint, written
from streamlic.dataset.run_state import RunState
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.emulator import EmulatorConfig, running_emulator
from streamlic.errors import DatasetConflict, IntegrityError
from streamlic.job import job
from streamlic.job.progress import Progress
from streamlic.storage.local import LocalStore
from streamlic.tables.carry_over import Copying
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from tests.job.test_many_accounts import exported, faulty, ids, refused
from tests.support.batches import (
    ACCOUNTS,
    expected_ids,
    land,
    license_batch,
    open_local,
    open_writer,
    visible_ids,
)
from tests.support.cli import check_landed

A, B = ACCOUNTS
C = "account-c"
ROWS = 160
"""Of an account that was read to its end."""


def rows_of(dest: Path, account: str | None) -> pa.Table:
    """Return an account's rows as any reader sees them, by their ids."""
    table = ds.dataset(dest / "licenses").to_table()
    mask = pc.is_in(table[ACCOUNT_COLUMN], value_set=pa.array([account], pa.string()))
    return table.filter(mask).sort_by("id")


def check_sound(dest: Path) -> RunState:
    """Check the lake against its log; return the only run whose licenses are not replaced."""
    report = verify_dataset(LocalStore(dest))
    assert (report.problems, report.notes) == ([], [])
    [run] = [one for one in load_runs(LocalStore(dest)) if not one.is_replaced]
    assert run.rows == sum(run.account_rows.values()) == len(visible_ids(dest))
    return run


def carried(old: RunState, reason: str) -> Carried:
    return Carried(rows=ROWS, reason=reason, exported_at=written(old.started_at))


def test_accounts_that_nobody_asked_for_keep_their_rows_as_they_are(tmp_path: Path) -> None:
    """Every column of them, and the run that exported them."""
    old = land(tmp_path, "old")
    before = rows_of(tmp_path, A)
    new = land(tmp_path, "new", mode="overwrite", accounts=[B])
    assert rows_of(tmp_path, A).equals(before)
    assert set(before["_run"].to_pylist()) == {old.id}
    assert set(rows_of(tmp_path, B)["_run"].to_pylist()) == {new.id}
    assert visible_ids(tmp_path) == sorted(expected_ids("old", [A]) + expected_ids("new", [B]))
    assert check_sound(tmp_path).carried_over == {A: carried(old, NOT_ASKED_FOR)}


def test_what_was_carried_over_is_carried_on_every_night(tmp_path: Path) -> None:
    land(tmp_path, "old", accounts=[A, B, C])
    for night in range(3):
        land(tmp_path, f"night-{night}", mode="overwrite", accounts=[B])
    assert check_sound(tmp_path).carried_over.keys() == {A, C}
    land(tmp_path, "new", mode="overwrite", accounts=[A])
    assert check_sound(tmp_path).account_rows == dict.fromkeys([A, B, C], ROWS)
    assert visible_ids(tmp_path) == sorted(
        expected_ids("new", [A]) + expected_ids("night-2", [B]) + expected_ids("old", [C])
    )


@pytest.mark.parametrize("pages", [1, 2])
def test_an_account_that_fails_amid_its_pages_keeps_its_earlier_rows_only(
    tmp_path: Path, pages: int
) -> None:
    """The pages of this run are in part files with those of others, or in their own."""
    old = land(tmp_path, "old", accounts=[A, B])
    land(tmp_path, "new", mode="overwrite", accounts=[A, B, C], failing={A: pages, C: pages})
    run = check_sound(tmp_path)
    assert visible_ids(tmp_path) == sorted(expected_ids("old", [A]) + expected_ids("new", [B]))
    assert run.carried_over == {A: carried(old, "failed: gone")}
    assert (run.point(A).rows, run.point(A).pages) == (0, 0)
    assert (run.point(C).rows, run.point(C).pages) == (0, 0), "it had no earlier rows"


def test_an_account_that_fails_in_the_first_run_of_all_shows_no_row(tmp_path: Path) -> None:
    """Readers find what they found before: nothing. Half an account is not its current state."""
    land(tmp_path, "new", mode="overwrite", accounts=[A, B], failing={A: 1})
    assert visible_ids(tmp_path) == expected_ids("new", [B])
    assert check_sound(tmp_path).account_rows == {B: ROWS}


async def test_pages_of_an_account_that_fails_go_from_the_part_file_that_others_share(
    tmp_path: Path,
) -> None:
    """A part file is written again without them; of the other accounts no row is lost."""
    accounts = sorted(ids(6))
    failing = accounts[2]
    night = 1

    def fault(request: web.Request, account: str) -> web.Response | None:
        is_second_page = "next_cursor" in request.query
        return refused(404) if night == 2 and account == failing and is_second_page else None

    config = EmulatorConfig(records=50, page_size=20)
    nightly: dict[str, Any] = {"mode": "overwrite", "skip_failed": True}
    async with faulty(config, fault) as emulator:
        await exported(tmp_path, emulator.url, accounts)
        night = 2
        with pytest.raises(
            streamlic.AccountsFailed, match=r"1 account kept the rows of earlier"
        ) as failed:
            await exported(tmp_path, emulator.url, accounts, **nightly)
    summary = failed.value.summary
    assert summary.complete
    assert summary.rows == 300
    [one] = summary.carried_over
    assert (one.account, one.rows) == (failing, 50)
    assert one.reason.startswith("failed: ")
    [known] = [one for one in summary.accounts if one.account == failing]
    assert (known.rows, known.pages, known.complete) == (0, 0, False)
    check_landed(tmp_path, 50, accounts=tuple(accounts))
    check_sound(tmp_path)
    assert inspect_dataset(LocalStore(tmp_path)).rows == 300


@pytest.mark.parametrize("absent_accounts", ["keep", "drop"])
async def test_an_account_that_had_no_rows_and_fails_amid_its_pages_has_none(
    tmp_path: Path, absent_accounts: str
) -> None:
    """And with ``drop`` none in any case: no reader takes half of an account for the whole."""
    accounts = sorted(ids(3))

    def fault(request: web.Request, account: str) -> web.Response | None:
        return refused(404) if account == accounts[1] and "next_cursor" in request.query else None

    nightly: dict[str, Any] = {"mode": "overwrite", "skip_failed": True}
    async with faulty(EmulatorConfig(records=50, page_size=20), fault) as emulator:
        await exported(tmp_path, emulator.url, [accounts[0]])
        with pytest.raises(streamlic.AccountsFailed) as failed:
            await exported(
                tmp_path, emulator.url, accounts, absent_accounts=absent_accounts, **nightly
            )
    assert failed.value.summary.carried_over == []
    check_landed(tmp_path, 50, accounts=(accounts[0], accounts[2]))
    check_sound(tmp_path)


class Watcher:
    """Asks to stop once rows were carried over, and lets the copying wait for that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[int] = []
        self._batches = 0
        self._is_stopped = threading.Event()
        monkeypatch.setattr(job, "TICK_SECONDS", 0.001)
        monkeypatch.setattr(streamlic.JobOptions, "carried_batch_bytes", 50_000)
        stop, write_rows = Copying.stop, DatasetWriter.write_rows

        def stops(copying: Copying) -> None:
            stop(copying)
            self._is_stopped.set()

        def writes(writer: DatasetWriter, batch: pa.RecordBatch) -> None:
            write_rows(writer, batch)
            self._batches += 1
            if self._batches == 2:
                assert self._is_stopped.wait(60)

        monkeypatch.setattr(Copying, "stop", stops)
        monkeypatch.setattr(DatasetWriter, "write_rows", writes)

    def __call__(self, progress: Progress) -> None:
        if progress.carried_rows:
            self.seen.append(progress.carried_rows)

    def is_set(self) -> bool:
        return bool(self.seen)


class Gone(Exception):
    """Of who watches."""


@pytest.mark.parametrize(
    ("way", "raised"),
    [("cancel", streamlic.Cancelled), ("task", asyncio.CancelledError), ("watcher", Gone)],
)
async def test_carrying_tells_how_far_it_has_come_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, raised: type[BaseException]
) -> None:
    """Nothing is replaced then, what was read is committed, and the same command ends the run."""
    kept, read = sorted(ids(2))
    async with running_emulator(EmulatorConfig(records=2_000, page_size=1_000)) as emulator:
        await exported(tmp_path, emulator.url, [kept])
        asked = len(emulator.requests)
        with monkeypatch.context() as patch:
            watcher = Watcher(patch)

            def watch(progress: Progress) -> None:
                watcher(progress)
                if watcher.seen and way == "task":
                    running.cancel()
                if watcher.seen and way == "watcher":
                    raise Gone

            export = exported(
                tmp_path, emulator.url, [read], on_progress=watch, mode="overwrite",
                cancel=watcher if way == "cancel" else None,
            )  # fmt: skip
            running = asyncio.create_task(export)
            with pytest.raises(raised):
                await running
        assert 0 < watcher.seen[0] < 2_000
        check_landed(tmp_path, 2_000, accounts=(kept,))
        assert verify_dataset(LocalStore(tmp_path)).problems == []
        [left] = [run for run in load_runs(LocalStore(tmp_path)) if not run.is_complete]
        assert left.point(read).is_done
        assert [f"{STAGING}/{name}" for name in LocalStore(tmp_path).names(STAGING)] == [
            left.staged(file.name) for file in left.files
        ]
        summary = await exported(tmp_path, emulator.url, [read], mode="overwrite")
        assert len(emulator.requests) == asked + 2, "no page is asked for twice"
    assert summary.complete
    check_landed(tmp_path, 2_000, accounts=(kept, read))
    check_sound(tmp_path)


@pytest.mark.parametrize("is_learned_before", [True, False])
def test_of_an_account_that_fails_the_newest_details_count_and_older_ones_complete_them(
    tmp_path: Path, is_learned_before: bool
) -> None:
    land(tmp_path, "old", details={A: AccountDetails(integration="slack", tenant_id="t")})
    learned = {A: AccountDetails(tenant_id="u", status="needs_reauth", is_blocked=False)}
    before = learned if is_learned_before else {}
    run = open_local(tmp_path, request={}, accounts=[A], mode="overwrite", details=before)
    keeps = carrying(run.store, run, {str(A): "gone"}, batch_bytes=2_000)
    writer = open_writer(run)
    complete_run(run.lake, run, writer, Ending(engine="fast", keeps=keeps, details=learned))
    [row] = [
        row for row in ds.dataset(tmp_path / "accounts").to_table().to_pylist()
        if (row["integrated_account_id"], row["_run"]) == (A, run.id)
    ]  # fmt: skip
    shown = [row[name] for name in ("integration", "tenant_id", "status", "is_blocked")]
    assert shown == ["slack", "u", "needs_reauth", False]


def test_all_snapshots_of_a_history_are_kept(tmp_path: Path) -> None:
    """Nothing that readers have now may go."""
    land(tmp_path, "one")
    land(tmp_path, "two", mode="append")
    land(tmp_path, "new", mode="overwrite", accounts=[B])
    assert visible_ids(tmp_path) == sorted(
        expected_ids("one", [A]) + expected_ids("two", [A]) + expected_ids("new", [B])
    )
    assert check_sound(tmp_path).carried_over[A].rows == 2 * ROWS


@pytest.mark.parametrize("read", [A, None])
def test_no_account_is_an_account_like_any_other(tmp_path: Path, read: str | None) -> None:
    land(tmp_path, "old", accounts=[None, A])
    land(tmp_path, "new", mode="overwrite", accounts=[read])
    kept = A if read is None else None
    assert rows_of(tmp_path, kept)["id"].to_pylist() == expected_ids("old", [kept])
    assert rows_of(tmp_path, read)["id"].to_pylist() == expected_ids("new", [read])
    assert check_sound(tmp_path).carried_over.keys() == {kept}


def test_an_account_that_is_read_and_has_nothing_more_loses_its_rows(tmp_path: Path) -> None:
    land(tmp_path, "old")
    run = open_local(tmp_path, request={}, accounts=[A], mode="overwrite")
    run.commit([], {A: ResumePoint(is_done=True)}, is_complete=False)
    keeps = carrying(run.store, run, {}, batch_bytes=1)
    assert keeps is not None
    complete_run(run.lake, run, open_writer(run), Ending(engine="fast", keeps=keeps))
    assert visible_ids(tmp_path) == expected_ids("old", [B])
    check_sound(tmp_path)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the row groups that are decoded, and those of which one column is looked into."""
    counts: Counter[str] = Counter()
    real = pq.ParquetFile.iter_batches

    def iter_batches(file: pq.ParquetFile, *args: Any, **given: Any) -> Any:
        if given.get("columns") == [ACCOUNT_COLUMN]:
            counts["looked into"] += 1
        elif "columns" not in given:
            counts["decoded"] += 1
        return real(file, *args, **given)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    return counts


def test_nothing_is_decoded_where_all_accounts_are_read(
    tmp_path: Path, decoded: Counter[str]
) -> None:
    land(tmp_path, "old")
    land(tmp_path, "new", mode="overwrite")
    assert decoded == {}


def test_part_files_of_other_accounts_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says which they are, also of what was carried over before."""
    names: list[str | None] = [f"account-{number:02}" for number in range(6)]
    absent, *others = names
    of_one = {file.name for file in land(tmp_path, "old", accounts=[absent]).license_files}
    land(tmp_path, "more", mode="append", accounts=others)
    opened: set[str] = set()
    real = LocalStore.open

    def spied(store: LocalStore, name: str) -> Any:
        opened.add(name)
        return real(store, name)

    monkeypatch.setattr(LocalStore, "open", spied)
    for night in range(3):
        opened.clear()
        new = land(tmp_path, f"night-{night}", mode="overwrite", accounts=others)
        assert {name for name in opened if name.startswith("licenses/")} == of_one
        last = json.loads(new.store.read(f"{RECORDS}/{new.last_record:08d}.json"))
        of_one = {one["name"] for one in last["files"] if one["name"].startswith("licenses/")}
        assert len(of_one) < len(new.license_files) / 2
        assert check_sound(tmp_path).carried_over.keys() == {absent}


def test_row_groups_of_other_accounts_are_not_decoded(
    tmp_path: Path, decoded: Counter[str]
) -> None:
    """Their statistics tell what is in them."""
    names = [f"account-{number:02}" for number in range(20)]
    old = land(tmp_path, "old", accounts=list(names))
    of_one = sum(
        pq.read_metadata(old.store.path(file.name)).num_row_groups for file in old.license_files
    ) / len(names)
    land(tmp_path, "new", mode="overwrite", accounts=[name for name in names if name != names[7]])
    assert decoded == {"decoded": of_one, "looked into": of_one}
    assert check_sound(tmp_path).carried_over.keys() == {names[7]}


def test_a_row_group_whose_bounds_lie_around_an_account_is_looked_into_by_one_column(
    tmp_path: Path, decoded: Counter[str]
) -> None:
    """The account's rows are in another row group."""
    first, kept, last = "account-a", "account-b", "account-c"
    old = open_local(tmp_path, request={}, accounts=[first, kept, last])
    writer = open_writer(old, WriteOptions(row_group_bytes=1))
    batch = license_batch(0, 4)
    writer.write_whole(batch, [(first, 2), (last, 2)])
    writer.write_whole(batch, [(kept, 4)])
    points: dict[str | None, ResumePoint] = {
        name: ResumePoint(is_done=True, rows=2) for name in (first, last)
    }
    points[kept] = ResumePoint(is_done=True, rows=4)
    complete_run(old.lake, old, writer, Ending(engine="fast", points=points))
    land(tmp_path, "new", mode="overwrite", accounts=[first, last])
    assert decoded == {"looked into": 2, "decoded": 1}
    assert check_sound(tmp_path).account_rows[kept] == 4


def test_a_damaged_part_file_replaces_nothing_where_its_rows_are_to_be_kept(
    tmp_path: Path,
) -> None:
    old = land(tmp_path, "old")
    path = old.store.path(old.files[0].name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(IntegrityError, match=f'{path.name}.*absent_accounts="drop"'):
        land(tmp_path, "new", mode="overwrite", accounts=[B])
    path.write_bytes(whole)
    assert visible_ids(tmp_path) == expected_ids("old")
    assert land(tmp_path, "new", mode="overwrite", accounts=[B]).is_resumed
    check_sound(tmp_path)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_copy_makes_no_damage_look_sound(tmp_path: Path, at: float) -> None:
    old = land(tmp_path, "old")
    path = old.store.path(old.files[0].name)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(len(whole) * at)] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match='absent_accounts="drop"'):
        land(tmp_path, "new", mode="overwrite", accounts=[B])
    assert path.read_bytes() == damaged


def test_rows_that_the_log_promises_and_no_part_file_has_are_missed(tmp_path: Path) -> None:
    """Nothing is replaced by less than the log says that it has."""
    old = open_local(tmp_path, request={}, accounts=[A])
    writer = open_writer(old)
    writer.write_whole(license_batch(0, 4), [(A, 4)])
    old.commit(writer.finish(), {A: ResumePoint(is_done=True, rows=5)}, is_complete=True)
    with pytest.raises(IntegrityError, match=r"expected 5 rows of account account-a.*got 4"):
        land(tmp_path, "new", mode="overwrite", accounts=[B])


def test_rows_of_another_schema_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    land(tmp_path, "old", request={"raw": True})
    with pytest.raises(DatasetConflict, match=r'raw rows of 1 account .*absent_accounts="drop"'):
        land(tmp_path, "new", mode="overwrite", accounts=[B], request={"raw": False})
    assert len(load_runs(LocalStore(tmp_path))) == 1
    land(tmp_path, "new", mode="overwrite", request={"raw": False})
    assert visible_ids(tmp_path) == expected_ids("new")


@pytest.mark.parametrize("is_raw", [True, False])
def test_rows_of_another_schema_are_not_added_to_a_table(tmp_path: Path, is_raw: bool) -> None:
    """A reader takes one part file's columns for those of all."""
    land(tmp_path, "old", request={"raw": is_raw})
    with pytest.raises(DatasetConflict, match="rows cannot be added"):
        land(tmp_path, "new", mode="append", request={"raw": not is_raw})
    assert len(load_runs(LocalStore(tmp_path))) == 1
    land(tmp_path, "new", mode="overwrite", request={"raw": not is_raw})
    land(tmp_path, "more", mode="append", request={"raw": not is_raw})
    assert visible_ids(tmp_path) == sorted(expected_ids("new") + expected_ids("more"))


def test_a_refused_restart_discards_nothing(tmp_path: Path) -> None:
    land(tmp_path, "old", request={"raw": True})
    store = LocalStore(tmp_path)
    unfinished = open_local(tmp_path, request={"raw": True}, accounts=[A], mode="append")
    with pytest.raises(DatasetConflict, match='absent_accounts="drop"'):
        open_local(tmp_path, request={"raw": False}, accounts=[B], mode="overwrite", restart=True)
    assert unfinished.id in {run.id for run in load_runs(store)}


async def test_rows_of_another_schema_are_not_replaced_where_their_account_fails(
    tmp_path: Path,
) -> None:
    """Until that comes out nothing is known to be kept; what was read stays committed."""
    accounts = sorted(ids(2))

    def fault(request: web.Request, account: str) -> web.Response | None:
        is_raw = request.query["truto_response_format"] == "raw"
        return refused(404) if is_raw and account == accounts[1] else None

    nightly: dict[str, Any] = {"mode": "overwrite", "skip_failed": True}
    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        await exported(tmp_path, emulator.url, accounts)
        raw = {"raw": True, "response_format": "raw", "rows_at": "value", **nightly}
        with pytest.raises(DatasetConflict, match='absent_accounts="drop"'):
            await exported(tmp_path, emulator.url, accounts, **raw)
        check_landed(tmp_path, 5, accounts=tuple(accounts))
        [left] = [run for run in load_runs(LocalStore(tmp_path)) if not run.is_complete]
        assert left.point(accounts[0]).is_done
        with pytest.raises(streamlic.AccountsFailed) as failed:
            await exported(tmp_path, emulator.url, accounts, absent_accounts="drop", **raw)
    assert failed.value.summary.resumed
    assert failed.value.summary.carried_over == []
    assert (
        ds.dataset(tmp_path / "licenses").to_table()[ACCOUNT_COLUMN].to_pylist()
        == [accounts[0]] * 5
    )
