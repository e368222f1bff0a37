"""One run that several processes read: exact whatever the others do, and whatever ends one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

import streamlic
from streamlic.dataset.commit_log import load_lake, load_runs
from streamlic.dataset.destination import writer_lock
from streamlic.dataset.lake import RECORDS, STAGING
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import WriteOptions
from streamlic.errors import DatasetConflict, TooManyAbsent, UsageError
from streamlic.job.source import RunRequest
from streamlic.job.summary import AccountsFailed
from streamlic.storage.base import LockHeld
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.shards import ShardWriter
from streamlic.tables.upkeep import compact
from tests.support.killed_store import Killed, KilledStore
from tests.support.shards import (
    ACCOUNTS,
    KEY,
    PAGE_ROWS,
    SHARDS,
    OfShard,
    Pages,
    UnlockedStore,
    check_lake,
    expected,
    read_shard,
    visible,
)
from tests.tables.iceberg_lake import use_catalog

GONE = streamlic.AccountBlocked("the account is blocked", status=403)
BUSY = streamlic.TransportError("the connection was reset")


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(dest: Path) -> LocalStore:
    return LocalStore(dest)


def rows_of(dest: Path, table: str) -> list[dict[str, Any]]:
    return list(ds.dataset(dest / table).to_table().to_pylist())


async def read_all(store: LocalStore, **given: Any) -> streamlic.Summary:
    for number in range(1, SHARDS):
        await read_shard(store, number, **given)
    return await read_shard(store, SHARDS, **given)


def once(work: Callable[[], object], page: int = 1) -> Callable[[str, int], None]:
    """Return a hook that does the work before the first page of this number."""
    left = [work]

    def hook(_: str, number: int) -> None:
        if number == page and left:
            left.pop()()

    return hook


async def test_readers_see_the_run_when_the_last_shard_has_ended(
    dest: Path, store: LocalStore
) -> None:
    for number in (3, 1):
        summary = await read_shard(store, number)
        assert (summary.complete, visible(dest)) == (False, [])
        assert {one.account for one in summary.accounts} == {*OfShard[number]}
        assert summary.rows == len(OfShard[number]) * 6, "those of the shard"
    assert summary.shard == streamlic.ShardSummary(number=1, of=SHARDS, ended=[1, 3])
    summary = await read_shard(store, 2)
    assert summary.shard == streamlic.ShardSummary(number=2, of=SHARDS, ended=[1, 2, 3])
    assert (summary.complete, summary.rows) == (True, 36), "those of the whole run"
    assert visible(dest) == expected()
    check_lake(store)
    assert [row["rows"] for row in rows_of(dest, "accounts")] == [6] * 6
    assert [row["rows"] for row in rows_of(dest, "runs")] == [36]


async def test_a_shard_is_read_once(store: LocalStore) -> None:
    await read_shard(store, 2)
    again = Pages()
    summary = await read_shard(store, 2, again)
    assert again.read == []
    assert summary.shard
    assert summary.shard.ended == [2]


async def test_a_complete_run_is_reported_again(dest: Path, store: LocalStore) -> None:
    await read_all(store)
    records = store.names(RECORDS)
    again = Pages()
    summary = await read_shard(store, 2, again)
    assert (summary.repeated, summary.complete, summary.rows) == (True, True, 36)
    assert again.read == []
    assert store.names(RECORDS) == records
    assert visible(dest) == expected()


@pytest.mark.parametrize("of", [1, 11])
async def test_one_shard_may_be_all_and_some_may_have_no_account(
    dest: Path, store: LocalStore, of: int
) -> None:
    for number in range(1, of + 1):
        summary = await read_shard(store, number, of=of)
        assert summary.complete is (number == of)
    check_lake(store)
    assert visible(dest) == expected()


async def test_shards_commit_next_to_each_other(
    dest: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at the same time, and each writes snapshots: a lake may have any number of records."""
    monkeypatch.setattr("streamlic.dataset.commit_log._SNAPSHOT_RECORDS", 3)
    found = await asyncio.gather(
        *(read_shard(LocalStore(dest), number) for number in range(1, SHARDS + 1))
    )
    assert any(summary.complete for summary in found)
    check_lake(store)
    assert visible(dest) == expected()
    assert len(store.names("_streamlic/snapshots")) == 2


async def test_a_shard_is_read_by_one_process_at_a_time(store: LocalStore) -> None:
    def second() -> None:
        with pytest.raises(LockHeld, match="another writer is active"):
            asyncio.run(read_shard(store, 3))

    summary = await read_shard(store, 3, Pages(once(lambda: run_in_thread(second))))
    assert summary.rows == 18


def run_in_thread(work: Callable[[], object]) -> None:
    """Do the work in a thread of its own, which has no event loop yet."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # it is raised where the test waits
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


class Waits(LocalStore):
    """Something happens while this process waits for the lock of its shard."""

    def __init__(self, root: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._meanwhile = [meanwhile]

    def lock(self, name: str) -> Any:
        if "shards" in name and self._meanwhile:
            self._meanwhile.pop()()
        return super().lock(name)


async def test_a_run_that_was_completed_while_a_process_waited_is_not_claimed(
    dest: Path, store: LocalStore
) -> None:
    await read_shard(store, 1)

    def others() -> None:
        asyncio.run(read_shard(store, 2))
        asyncio.run(read_shard(store, 3))

    source = Pages()
    summary = await read_shard(Waits(dest, others), 2, source)
    assert (summary.complete, source.read) == (True, [])
    check_lake(store)


async def test_a_run_that_was_removed_while_a_process_waited_is_not_claimed(
    dest: Path, store: LocalStore
) -> None:
    def remove() -> None:
        lake = LakeWriter(store)
        lake.remove(*(run.id for run in lake.open(leaves_unfinished=True)))

    with pytest.raises(DatasetConflict, match="was removed from"):
        await read_shard(Waits(dest, remove), 2)
    assert load_lake(store).runs == {}
    assert (await read_all(store)).complete


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
async def test_a_process_that_takes_a_shard_over_fences_the_one_before(
    dest: Path, table_format: str
) -> None:
    store = UnlockedStore(dest)

    def take_over() -> None:
        run_in_thread(lambda: asyncio.run(read_shard(store, 3, format=table_format)))

    with pytest.raises(DatasetConflict, match=r"has taken over shard 3 of run .*is kept"):
        await read_shard(store, 3, Pages(once(take_over)), format=table_format)
    for number in (1, 2):
        await read_shard(store, number, format=table_format)
    check_lake(store)


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
async def test_writers_of_the_lake_leave_alone_what_shards_read(
    dest: Path, store: LocalStore, table_format: str
) -> None:
    """A writer that sweeps, and the next night's, which finds that it has to wait."""
    await read_all(store, run_key="before", format=table_format)

    def write() -> None:
        with writer_lock(store):
            LakeWriter(store).open()
        compact(store, WriteOptions())
        with pytest.raises(DatasetConflict, match=r"unfinished run that others read: shard [0-9]"):
            run_in_thread(lambda: asyncio.run(read_shard(store, 1, run_key="next", **given)))
        assert verify_dataset(store).problems == []

    given: dict[str, Any] = {"mode": "append", "format": table_format}
    for number in range(1, SHARDS + 1):
        source = Pages(once(write))
        summary = await read_shard(store, number, source, **given)
        assert len(source.read) == 2 * len(OfShard[number])
    assert summary.complete
    assert verify_dataset(store).problems == []
    assert store.names(STAGING) == []
    assert [run.rows for run in load_runs(store)] == [36, 36]


async def test_the_next_night_discards_a_run_that_no_process_reads(store: LocalStore) -> None:
    await read_shard(store, 1, run_key="given up")
    summary = await read_shard(store, 1, run_key="next")
    assert [one.run_key for one in summary.discarded] == ["given up"]
    await read_shard(store, 2, run_key="next")
    await read_shard(store, 3, run_key="next")
    check_lake(store)


@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
async def test_old_versions_go_without_what_shards_write(
    dest: Path, monkeypatch: pytest.MonkeyPatch, table_format: str
) -> None:
    """The tables' own maintenance deletes files that nothing needs, wherever they come from."""
    use_catalog(dest.parent, monkeypatch.setenv)
    store = UnlockedStore(dest)
    catalog = "local" if table_format == "iceberg" else None
    given: dict[str, Any] = {"mode": "append", "format": table_format, "catalog": catalog}
    await read_all(store, run_key="before", **given)
    await read_shard(store, 1, **given)
    writer = LakeWriter(store)
    writer.open()
    run_in_thread(lambda: asyncio.run(read_shard(store, 2, **given)))
    assert writer.forget_versions(0) == []
    assert (await read_shard(store, 3, **given)).complete
    assert verify_dataset(store).problems == []


class AtComplete(UnlockedStore):
    """Something happens just before the record that completes the run is created."""

    def __init__(self, root: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._meanwhile = [meanwhile]

    def create(self, name: str, data: bytes) -> None:
        if b'"kind": "complete"' in data and self._meanwhile:
            run_in_thread(self._meanwhile.pop())
        super().create(name, data)


async def test_two_processes_may_complete_the_run_at_once(dest: Path) -> None:
    store = UnlockedStore(dest)
    for number in (1, 2):
        await read_shard(store, number)
    other: list[streamlic.Summary] = []

    def complete_too() -> None:
        other.append(asyncio.run(read_shard(store, 1)))

    summary = await read_shard(AtComplete(dest, complete_too), 3)
    assert (summary.complete, other[0].complete) == (True, True)
    check_lake(store)
    assert visible(dest) == expected()


async def test_a_run_is_not_completed_while_a_shard_of_it_is_read_again(dest: Path) -> None:
    """Accounts that failed are tried again: what completes the run does not know how that ends."""
    store = UnlockedStore(dest)
    given: dict[str, Any] = {"skip_failed": True}
    with pytest.raises(AccountsFailed):
        await read_shard(store, 2, Pages(failing={"a": GONE}), **given)
    await read_shard(store, 1, **given)

    def claim() -> None:
        lake = load_lake(store)
        [run] = lake.runs.values()
        ShardWriter(store, lake, run, 2).open()

    summary = await read_shard(AtComplete(dest, claim), 3, **given)
    assert summary.shard
    assert (summary.complete, summary.shard.ended) == (False, [1, 3])
    assert visible(dest) == []
    summary = await read_shard(store, 2, **given)
    assert summary.complete
    assert visible(dest) == expected()
    check_lake(store)


@pytest.mark.parametrize("every", [19, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_run_is_exact_wherever_its_processes_die(tmp_path: Path, every: int) -> None:
    """Each dies at a step, and again when it is started again; the completion is among the steps.

    What is left is then done by the command of whichever shard.
    """
    step = kills = 0
    is_reached = True
    while is_reached:
        step += every
        dest = tmp_path / f"lake-{step}"
        is_reached = False
        for number in range(1, SHARDS + 1):
            for at in (step, 1 + step % 11):
                try:
                    await read_shard(KilledStore(dest, at), number)
                except Killed:
                    kills += 1
                    is_reached = True
                    assert visible(dest) == [] or number == SHARDS
        store = LocalStore(dest)
        for number in (2, 1, 3, 1):
            summary = await read_shard(store, number)
        assert summary.complete
        assert visible(dest) == expected(), step
        check_lake(store)
    assert kills


async def test_a_run_that_was_completed_and_not_shown_is_shown_by_any_shard(dest: Path) -> None:
    for number in (1, 2):
        await read_shard(LocalStore(dest), number)

    class DiesAtComplete(LocalStore):
        def publish(self, files: Any) -> None:
            raise Killed(files)

    with pytest.raises(Killed):
        await read_shard(DiesAtComplete(dest), 3)
    assert visible(dest) == []
    summary = await read_shard(LocalStore(dest), 1)
    assert (summary.complete, summary.repeated) == (True, False)
    assert visible(dest) == expected()


async def test_another_number_of_shards_is_another_request(store: LocalStore) -> None:
    await read_shard(store, 1)
    with pytest.raises(DatasetConflict, match="the number of shards was 3, now is 4"):
        await read_shard(store, 1, of=4)
    with pytest.raises(DatasetConflict, match="1 account is new, such as z"):
        await read_shard(store, 2, accounts=[*ACCOUNTS, "z"])
    with pytest.raises(DatasetConflict, match="mode was 'error', now is 'append'"):
        await read_shard(store, 2, mode="append")
    with pytest.raises(DatasetConflict, match="was asked for delta"):
        await read_shard(store, 2, format="delta")
    assert (await read_shard(store, 2)).complete is False


def test_options_that_one_shard_cannot_decide_are_refused() -> None:
    with pytest.raises(UsageError, match="shards of one run need its key"):
        streamlic.JobOptions(shard="1/4")
    with pytest.raises(UsageError, match="give the run another key"):
        streamlic.JobOptions(shard="1/4", run_key=KEY, restart=True)
    with pytest.raises(UsageError, match="can only be published when it is complete"):
        streamlic.JobOptions(shard="1/4", run_key=KEY, publish="commits")
    with pytest.raises(UsageError, match="expected I/N"):
        streamlic.JobOptions(shard="5/4", run_key=KEY)


async def test_a_failed_account_is_read_again_by_its_shard(dest: Path, store: LocalStore) -> None:
    with pytest.raises(AccountsFailed) as failed:
        await read_shard(store, 2, Pages(failing={"a": BUSY}))
    assert failed.value.exit_code == 1
    assert failed.value.summary.shard
    assert failed.value.summary.shard.ended == []
    await read_shard(store, 1)
    await read_shard(store, 3)
    source = Pages()
    assert (await read_shard(store, 2, source)).complete
    assert source.read == [("a", 1)]
    assert visible(dest) == expected()


async def test_a_run_may_be_completed_without_what_failed(dest: Path, store: LocalStore) -> None:
    """The shard ends without the account; until the run is complete it is tried again."""
    with pytest.raises(AccountsFailed) as failed:
        await read_shard(store, 2, Pages(failing={"a": GONE}), skip_failed=True)
    assert failed.value.exit_code == 6
    assert "the shard has ended without them" in str(failed.value.described())
    again = Pages(failing={"a": GONE})
    with pytest.raises(AccountsFailed):
        await read_shard(store, 2, again, skip_failed=True)
    await read_shard(store, 1, skip_failed=True)
    summary = await read_shard_failing(store, 3, skip_failed=True)
    assert summary.complete
    assert [(one.account, one.kind) for one in summary.failed] == [("a", "AccountBlocked")]
    assert visible(dest) == expected([one for one in ACCOUNTS if one != "a"])
    assert verify_dataset(store).problems == []
    outcomes = {row["integrated_account_id"]: row["outcome"] for row in rows_of(dest, "accounts")}
    assert outcomes["a"] == "failed"


async def read_shard_failing(store: LocalStore, number: int, **given: Any) -> streamlic.Summary:
    with pytest.raises(AccountsFailed) as failed:
        await read_shard(store, number, **given)
    return failed.value.summary


async def test_too_many_failed_accounts_of_all_shards_complete_nothing(
    dest: Path, store: LocalStore
) -> None:
    given: dict[str, Any] = {"skip_failed": True, "max_absent": 1}
    for number, account in ((2, "a"), (3, "c")):
        await read_shard_failing(store, number, source=Pages(failing={account: GONE}), **given)
    with pytest.raises(AccountsFailed, match="2 of 6") as failed:
        await read_shard(store, 1, **given)
    assert failed.value.parameter == "max_absent"
    assert visible(dest) == []
    summary = await read_shard_failing(store, 2, **given)
    assert summary.complete
    assert visible(dest) == expected([one for one in ACCOUNTS if one != "c"])


async def test_too_many_skipped_accounts_are_named_as_the_reason(store: LocalStore) -> None:
    request = RunRequest(
        identity={"tag": KEY}, accounts=[*ACCOUNTS], keeps_accounts=True,
        skipped={"x": "blocked", "y": "blocked"},
    )  # fmt: skip
    for number in (1, 2):
        await read_shard(store, number, request=request)
    with pytest.raises(TooManyAbsent, match="2 of 8 accounts are skipped, more than 1"):
        await read_shard(store, 3, request=request, max_absent=1)
    assert (await read_shard(store, 3, request=request)).complete


async def test_an_overwriting_run_carries_over_and_drops(dest: Path, store: LocalStore) -> None:
    """Only the process that completes the run can tell which accounts none of the shards read."""
    identity = {"tag": KEY, "all_of": {"integration": None, "tenant": None}}
    before = RunRequest(identity=identity, accounts=[*ACCOUNTS, "gone", "hidden"])
    await read_all(store, run_key="before", request=before)
    given: dict[str, Any] = {
        "mode": "overwrite",
        "skip_failed": True,
        "request": RunRequest(identity=identity, accounts=[*ACCOUNTS], keeps_accounts=True),
    }
    summary = await read_shard_failing(
        store, 2, source=Pages(failing={"a": GONE}, tag="new"), **given
    )
    for number in (1, 3):
        source = Pages(tag="new", existing=["hidden"])
        summary = (
            await read_shard(store, number, source, **given)
            if number == 1
            else (await read_shard_failing(store, number, source=source, **given))
        )
    assert summary.complete
    assert {one.account for one in summary.carried_over} == {"a", "hidden"}
    assert [(one.account, one.rows) for one in summary.dropped] == [("gone", 6)]
    fresh = [one for one in ACCOUNTS if one != "a"]
    assert visible(dest) == sorted(expected(fresh, "new") + expected(["a", "hidden"]))
    assert verify_dataset(store).problems == []


async def test_a_command_that_only_completes_asks_about_missing_accounts(
    dest: Path, store: LocalStore
) -> None:
    """Its own shard has ended before: it has read no page, and no one completed the run."""
    identity = {"tag": KEY, "all_of": {"integration": None, "tenant": None}}
    await read_all(
        store, run_key="before", request=RunRequest(identity=identity, accounts=["a", "z"])
    )
    request = RunRequest(identity=identity, accounts=["a"], keeps_accounts=True)
    given: dict[str, Any] = {"mode": "overwrite", "request": request}
    for number in (1, 2):
        await read_shard(store, number, **given)

    class DiesCompleting(LocalStore):
        def lock(self, name: str) -> Any:
            if name.endswith("/lock"):
                raise Killed
            return super().lock(name)

    with pytest.raises(Killed):
        await read_shard(DiesCompleting(dest), 3, **given)
    assert (await read_shard(store, 1, **given)).complete


async def test_a_transient_failure_of_an_overwriting_run_keeps_its_shard_open(
    store: LocalStore,
) -> None:
    given: dict[str, Any] = {"mode": "overwrite", "skip_failed": True}
    await read_all(store, run_key="before")
    summary = await read_shard_failing(store, 2, source=Pages(failing={"a": BUSY}), **given)
    assert summary.shard
    assert summary.shard.ended == []


async def test_a_cancelled_shard_keeps_its_pages(dest: Path, store: LocalStore) -> None:
    reading: list[asyncio.Task[Any]] = []

    def cancel_at_last(account: str, page: int) -> None:
        if (account, page) == ("d", 1):
            reading[0].cancel()

    reading.append(asyncio.create_task(read_shard(store, 3, Pages(cancel_at_last))))
    with pytest.raises(asyncio.CancelledError):
        await reading[0]
    [run] = load_lake(store).runs.values()
    assert run.rows >= 2 * PAGE_ROWS
    again = Pages()
    await read_shard(store, 3, again)
    assert ("c", 0) not in again.read
    for number in (1, 2):
        await read_shard(store, number)
    assert visible(dest) == expected()
