"""The writer of a shard, next to those of other shards and of the lake, in one log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlic.dataset.commit_log import in_full, load_lake
from streamlic.dataset.destination import Fenced
from streamlic.dataset.lake import RECORDS, STAGING, epoch_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import Promise, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import DatasetWriter
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.runs import open_run
from streamlic.tables.shards import ShardWriter
from tests.support.batches import SCHEMA, TINY, license_batch
from tests.support.shards import ACCOUNTS, SHARDS, OfShard

Given = dict[str, Any]


def record_numbers(store: LocalStore) -> list[int]:
    return [int(name.removesuffix(".json")) for name in store.names(RECORDS)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake")


def begin(store: LocalStore, **given: Any) -> RunState:
    asked: Given = {"request": {}, "accounts": [*ACCOUNTS], "key": "night", "shards": SHARDS}
    return open_run(LakeWriter(store), **{**asked, **given})


def claim(store: LocalStore, run: RunState, number: int) -> tuple[ShardWriter, RunState]:
    writer = ShardWriter(store, load_lake(store), run, number)
    return writer, writer.open()


def write(store: LocalStore, run: RunState, account: str) -> DatasetWriter:
    """Write the only page of an account into staging."""
    writer = DatasetWriter(store, run, schema=SCHEMA, options=TINY)
    writer.write_whole(license_batch(0, 3, account), [(account, 3)])
    return writer


def done(account: str) -> dict[str | None, ResumePoint]:
    return {account: ResumePoint(is_done=True, rows=3, pages=1)}


def read(store: LocalStore, run: RunState, number: int) -> None:
    """Read a shard to its end."""
    writer, mine = claim(store, run, number)
    *first, last = OfShard[number]
    for account in first:
        files = write(store, mine, account).finish()
        writer.commit(mine, Promise(files=files, points=done(account)))
    writer.complete(mine, write(store, mine, last), Ending(engine="fast", points=done(last)))


def complete(store: LocalStore) -> RunState:
    lake = LakeWriter(store)
    [run] = [run for run in lake.open() if not run.is_finished]
    complete_run(
        lake, run, DatasetWriter(store, run, schema=SCHEMA, options=TINY), Ending(engine="fast")
    )
    return run


def read_whole(store: LocalStore, **given: Any) -> RunState:
    run = begin(store, **given)
    for number in range(1, SHARDS + 1):
        read(store, run, number)
    return complete(store)


def test_each_shard_has_its_accounts_and_its_own_part_files(store: LocalStore) -> None:
    run = begin(store)
    for number in range(1, SHARDS + 1):
        _, mine = claim(store, run, number)
        assert mine.accounts == OfShard[number]
        assert mine.files == []
        name = write(store, mine, mine.accounts[0] or "").finish()[0].name
        assert epoch_of(name) == mine.epoch == load_lake(store).number


def test_what_a_run_of_shards_adds_up_to_is_what_the_records_say(store: LocalStore) -> None:
    """Whether it is read from all records, or from a snapshot and those that follow."""
    run = read_whole(store)
    folded = load_lake(store)
    assert LakeState.from_json(folded.as_json()) == folded
    found = in_full(store, load_lake(store).runs[run.id])
    assert found
    assert found.shards == folded.runs[run.id].shards
    assert found.shards.have_ended
    assert found.account_rows == dict.fromkeys(ACCOUNTS, 3)


def test_a_writer_deletes_what_earlier_ones_of_its_shard_left(store: LocalStore) -> None:
    run = begin(store)
    _, mine = claim(store, run, 3)
    left = write(store, mine, "c").finish()[0]
    _, other = claim(store, run, 2)
    live = write(store, other, "a").finish()[0]
    claim(store, run, 3)
    assert not store.exists(run.staged(left.name))
    assert store.exists(run.staged(live.name))
    LakeWriter(store).open()
    assert store.exists(run.staged(live.name)), "a writer of the lake sweeps, too"


def test_a_fenced_writer_deletes_what_it_staged_for_the_refused_record(store: LocalStore) -> None:
    run = begin(store)
    writer, mine = claim(store, run, 3)
    files = write(store, mine, "c").finish()
    claim(store, run, 3)[0].complete(
        mine, write(store, mine, "d"), Ending(engine="fast", points=done("d"))
    )
    with pytest.raises(Fenced, match="has taken over shard 3") as fenced:
        writer.commit(mine, Promise(files=files, points=done("c")))
    assert not store.exists(run.staged(files[0].name))
    assert fenced.value.exit_code == 1, "a retry can help"


@pytest.mark.parametrize("happens", ["removed", "completed"])
def test_a_run_that_is_gone_or_complete_is_not_claimed(store: LocalStore, happens: str) -> None:
    """Such a record would break the log for everybody."""
    run = begin(store)
    if happens == "removed":
        lake = LakeWriter(store)
        lake.remove(*(one.id for one in lake.open()))
    else:
        for number in range(1, SHARDS + 1):
            read(store, run, number)
        complete(store)
    records = store.names(RECORDS)
    with pytest.raises(Fenced, match=f"was {happens}"):
        claim(store, run, 1)
    assert store.names(RECORDS) == records


def test_a_run_whose_shards_write_meanwhile_is_not_removed(store: LocalStore) -> None:
    run = begin(store)
    lake = LakeWriter(store)
    lake.open()
    read(store, run, 2)
    with pytest.raises(Fenced, match="is read by other processes"):
        lake.remove(run.id)
    assert load_lake(store).runs[run.id].rows == 6


class After(LocalStore):
    """Something happens after a record of this kind was created, before its writer goes further."""

    def __init__(self, root: Path, kind: str, work: Callable[[], object]) -> None:
        super().__init__(root)
        self._kind = f'"kind": "{kind}"'.encode()
        self._work = [work]

    def create(self, name: str, data: bytes) -> None:
        super().create(name, data)
        if self._kind in data and self._work:
            self._work.pop()()


@pytest.mark.parametrize("kind", ["claim", "commit"])
def test_a_record_stays_though_others_write_snapshots_of_it_at_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("streamlic.dataset.commit_log._SNAPSHOT_RECORDS", 1)
    run = begin(store)
    slow = After(store.root, kind, lambda: read(store, run, 2))
    read(slow, run, 3)
    read(store, run, 1)
    complete(store)
    assert record_numbers(store) == [*range(1, load_lake(store).number + 1)]
    assert verify_dataset(store).problems == []


def test_a_late_record_does_not_take_the_number_of_a_deleted_one(store: LocalStore) -> None:
    """The process was stopped while others completed the run, and let it expire."""
    run = begin(store)
    other, part = claim(store, run, 1)
    writer, mine = claim(store, run, 3)
    deleted = load_lake(store).number + 1
    other.complete(part, write(store, part, "f"), Ending(engine="fast", points=done("f")))
    read(store, run, 2)
    read(store, run, 3)
    complete(store)
    read_whole(store, key="next", mode="append")
    lake = LakeWriter(store)
    lake.open()
    lake.rewrite([], [file.name for file in lake.lake.runs[run.id].license_files], [run.id])
    assert lake.delete_old_records()
    numbers = record_numbers(store)
    assert deleted not in numbers
    with pytest.raises(Fenced, match="was completed by another process"):
        writer.commit(mine, Promise(points=done("c")))
    assert record_numbers(store) == numbers
    assert verify_dataset(store).problems == []
    assert store.names(STAGING) == []
