"""The fold of a lake's records: what it adds up, and which records it refuses."""

from __future__ import annotations

import json
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
    json_bytes,
    plain,
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
