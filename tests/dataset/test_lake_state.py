"""The fold of a lake's records: what it adds up, and which records it refuses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from streamlic.dataset.lake_state import (
    BEGIN,
    CLAIM,
    COMMIT,
    COMPLETE,
    FINISH,
    REMOVE,
    LakeState,
)
from streamlic.dataset.records import (
    AccountDetails,
    Carried,
    Failed,
    PartFile,
    Promise,
    ResumePoint,
    Shards,
    json_bytes,
    plain,
    shard_of,
)
from streamlic.dataset.run_state import RunState

RUN = "20260102T030405Z-0123abcd"
OTHER = "20260103T030405Z-0123abcd"


def started() -> LakeState:
    lake = LakeState()
    write(lake, CLAIM, writer="process 1 on a host")
    begin(lake, RUN)
    return lake


def begin(lake: LakeState, run: str, **given: Any) -> None:
    asked: dict[str, Any] = {"mode": "append", "request": {}, "accounts": ["a"], "replaces": []}
    state = RunState(id=run, started_at=datetime(2026, 1, 2, tzinfo=UTC), **{**asked, **given})
    write(lake, BEGIN, **state.request_as_json())


def write(lake: LakeState, kind: str, **body: Any) -> None:
    record = {**lake.next_record(kind, "nonce"), **body}
    lake.fold(json.loads(json.dumps(record)), json_bytes(record))


def commit(lake: LakeState, run: str = RUN, **promise: Any) -> None:
    kind = COMPLETE if promise.get("is_complete") else COMMIT
    write(lake, kind, run=run, **Promise(**promise).as_json())


def kind_of_pending(lake: LakeState) -> Any:
    return lake.pending["kind"] if lake.pending else None


def part(number: int, rows: int = 1, run: str = RUN) -> PartFile:
    return PartFile(f"licenses/part-{run}-000001-{number:06d}.parquet", rows, 10, "")


def test_records_add_up() -> None:
    lake = started()
    commit(lake, files=[part(1, 2)], points={"a": ResumePoint(rows=2, pages=1)})
    commit(lake, files=[part(3, 5)], points={"a": ResumePoint(rows=7, pages=2)}, is_complete=True)
    run = lake.runs[RUN]
    assert (run.rows, run.commits, run.is_complete) == (7, 2, True)
    assert (run.first_record, run.last_record) == (2, 4)
    assert run.account_rows == {"a": 7}
    assert run.point("a").pages == 2
    run.epoch = lake.epoch
    assert run.next_part_number() == 4
    run.epoch = 9
    assert run.next_part_number() == 1, "each writer counts its own"


def test_superseded_files_no_longer_count() -> None:
    lake = started()
    commit(lake, files=[part(1), part(2)])
    commit(lake, files=[part(3)], is_complete=True, superseded=[part(1).name])
    assert lake.runs[RUN].files == [part(2), part(3)]


def test_a_record_is_pending_until_its_work_is_finished() -> None:
    lake = started()
    commit(lake, files=[part(1)])
    assert kind_of_pending(lake) is None, "readers see nothing of it yet"
    commit(lake, is_complete=True)
    write(lake, CLAIM, writer="the next process")
    assert kind_of_pending(lake) == COMPLETE
    write(lake, FINISH, runs=[RUN])
    assert lake.runs[RUN].is_finished
    assert kind_of_pending(lake) is None
    write(lake, REMOVE, runs=[RUN], files=[], unseen=[])
    assert lake.runs == {}
    assert kind_of_pending(lake) == REMOVE


def test_what_is_shown_as_it_is_committed_is_pending_until_the_next_record() -> None:
    lake = LakeState()
    write(lake, CLAIM, writer="")
    begin(lake, RUN, publish="commits")
    commit(lake, files=[part(1)])
    assert lake.pending is not None
    commit(lake)
    assert lake.pending is not None
    assert lake.pending["number"] == 4


def test_a_complete_run_replaces_those_that_it_names() -> None:
    lake = started()
    commit(lake, files=[part(1)], is_complete=True)
    begin(lake, OTHER, mode="overwrite", replaces=[RUN, "one that was removed"])
    assert not lake.runs[RUN].is_replaced
    commit(lake, OTHER, is_complete=True)
    assert lake.runs[RUN].is_replaced
    assert lake.runs[RUN].live_files == []


def test_a_state_is_read_as_it_was_written() -> None:
    lake = started()
    commit(
        lake,
        files=[part(1, 2)],
        points={"a": ResumePoint(rows=2, cursor="\ud800"), None: ResumePoint(is_done=True)},
        carried_over={"b": Carried(rows=1, reason="skipped")},
        failed={"c": Failed(kind="ApiError", message="no", retryable=False)},
        details={"a": AccountDetails(integration="slack")},
        dropped={"d": 3},
    )
    assert LakeState.from_json(json.loads(json.dumps(lake.as_json()))) == lake
    write(lake, CLAIM, writer="another")
    commit(lake, is_complete=True)
    write(lake, FINISH, runs=[RUN])
    again = LakeState.from_json(json.loads(json.dumps(lake.as_json())))
    assert again == lake
    assert again.runs[RUN].rows == 2
    assert again.runs[RUN].points == {}, "of a run that has ended, single accounts are shed"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"number": 4}, "expected record 3, got 4"),
        ({"previous_sha256": "0"}, "the record before it was altered"),
        ({"epoch": 2}, "not the writer any longer"),
        ({"kind": "comit"}, "unknown kind"),
        ({"files": [plain(replace(part(1), name="licenses/part-other-1.parquet"))]}, "not a part"),
        ({"files": [plain(part(1, run=OTHER))]}, "not a part file"),
        ({"files": [plain(replace(part(1), name=f"secrets/part-{RUN}-1-1.parquet"))]}, "not a par"),
        ({"files": [plain(part(1, -1))]}, "must be counts"),
        ({"superseded": [part(1).name]}, "which no earlier record promised"),
    ],
)
def test_a_record_that_does_not_follow_is_refused(changed: dict[str, Any], says: str) -> None:
    lake = started()
    record = {**lake.next_record(COMMIT, ""), "run": RUN, **Promise().as_json()} | changed
    with pytest.raises(ValueError, match=says):
        lake.fold(record, json_bytes(record))
    assert lake.number == 2


def in_shards(of: int = 2, accounts: str = "abcdefgh") -> LakeState:
    lake = LakeState()
    write(lake, CLAIM, writer="process 1 on a host")
    begin(lake, RUN, accounts=[*accounts], shards=Shards(of=of))
    return lake


def claim_shard(lake: LakeState, shard: int) -> int:
    write(lake, CLAIM, run=RUN, shard=shard, writer="process 2 on another host")
    return lake.number


def commit_shard(lake: LakeState, shard: int, epoch: int = 0, **promise: Any) -> None:
    ends = promise.pop("ends_shard", False)
    epoch = epoch or lake.runs[RUN].shards.epoch(shard)
    record = {
        **lake.next_record(COMMIT, "nonce", epoch),
        "run": RUN,
        "shard": shard,
        "ends_shard": ends,
        **Promise(**promise).as_json(),
    }
    lake.fold(json.loads(json.dumps(record)), json_bytes(record))


def test_shards_and_the_lakes_writer_write_between_each_other() -> None:
    lake = in_shards()
    one, two = claim_shard(lake, 1), claim_shard(lake, 2)
    commit_shard(lake, 1)
    write(lake, CLAIM, writer="process 3")
    commit_shard(lake, 2, ends_shard=True)
    begin(lake, OTHER)
    commit_shard(lake, 1, ends_shard=True)
    shards = lake.runs[RUN].shards
    assert (shards.epochs, shards.ended, shards.have_ended) == ({1: [one], 2: [two]}, {1, 2}, True)
    assert shards.live_epochs == set()
    assert lake.epoch not in (one, two), "that of the lake's own writer"
    commit(lake, is_complete=True)
    assert LakeState.from_json(json.loads(json.dumps(lake.as_json()))) == lake


def test_only_the_last_writer_of_a_shard_may_write() -> None:
    lake = in_shards()
    first, second = claim_shard(lake, 1), claim_shard(lake, 1)
    assert lake.runs[RUN].shards.live_epochs == {second}
    with pytest.raises(ValueError, match="not the writer any longer"):
        commit_shard(lake, 1, epoch=first)
    with pytest.raises(ValueError, match="not the writer any longer"):
        commit_shard(in_shards(), 1, epoch=1)  # The lake's writer, for a shard that nobody has.


@pytest.mark.parametrize("shard", [3, -1])
def test_a_shard_that_a_run_does_not_have_cannot_be_claimed(shard: int) -> None:
    with pytest.raises(ValueError, match=f"there is no shard {shard} of 2"):
        claim_shard(in_shards(), shard)


def test_a_shard_of_a_complete_run_cannot_be_claimed() -> None:
    lake = in_shards(of=1)
    claim_shard(lake, 1)
    commit_shard(lake, 1, ends_shard=True)
    commit(lake, is_complete=True)
    with pytest.raises(ValueError, match="is complete"):
        claim_shard(lake, 1)


def test_what_a_shard_ended_without_is_tried_again_by_its_next_writer() -> None:
    failed = {one: Failed(kind="Gone", message="gone", retryable=False) for one in "ab"}
    shard_of_a, shard_of_b = shard_of("a", 2), shard_of("b", 2)
    lake = in_shards()
    for shard in (1, 2):
        claim_shard(lake, shard)
        own = {account: why for account, why in failed.items() if shard_of(account, 2) == shard}
        commit_shard(lake, shard, failed=own, ends_shard=True)
    assert lake.runs[RUN].failed == failed
    claim_shard(lake, shard_of_a)
    assert lake.runs[RUN].failed.keys() == {"a", "b"} - (
        {"a"} | ({"b"} if shard_of_b == shard_of_a else set())
    )
    assert lake.runs[RUN].shards.ended == {1, 2} - {shard_of_a}


def test_a_longer_list_moves_no_account_to_another_shard() -> None:
    """The numbers are part of every lake: they never change."""
    assert [shard_of(account, 7) for account in ("a", "b", "c", None)] == [5, 1, 4, 2]
    counts = Counter(shard_of(f"account-{number}", 8) for number in range(4000))
    assert min(counts.values()) > 420
