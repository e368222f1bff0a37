"""The fold of a run's records: what it adds up, and which records it refuses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from streamlic.dataset.records import VERSION, PartFile, ResumePoint, json_bytes
from streamlic.dataset.run_state import RunState

RUN = "20260102T030405Z-0123abcd"


def started() -> RunState:
    body: dict[str, Any] = {
        "version": VERSION,
        "run": RUN,
        "started_at": "2026-01-02T03:04:05Z",
        "key": None,
        "mode": "append",
        "publish": "complete",
        "details": {},
        "accounts": ["a"],
        "replaces": [],
        "skipped": {},
        "settings": {},
        "request": {},
    }
    return RunState.of(body, json_bytes(body))


def part(number: int, rows: int = 1) -> PartFile:
    return PartFile(f"licenses/part-{RUN}-{number:06d}.parquet", rows, 10, "")


def other(name: str) -> PartFile:
    return PartFile(name, 1, 1, "")


def fold(run: RunState, record: dict[str, Any]) -> None:
    run.fold(record, json_bytes(record))


def test_records_add_up() -> None:
    run = started()
    fold(run, run.next_record([part(1, 2)], {"a": ResumePoint(rows=2, pages=1)}, is_complete=False))
    fold(run, run.next_record([part(3, 5)], {"a": ResumePoint(rows=7, pages=2)}, is_complete=True))
    assert (run.rows, run.commits, run.is_complete) == (7, 2, True)
    assert run.account_rows == {"a": 7}
    assert run.point("a").pages == 2
    assert run.next_part_number() == 4


def test_superseded_files_no_longer_count() -> None:
    run = started()
    fold(run, run.next_record([part(1), part(2)], {}, is_complete=False))
    superseded = [part(1).name]
    fold(run, run.next_record([part(3)], {}, is_complete=True, superseded=superseded))
    assert run.files == [part(2), part(3)]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"number": 2}, "expected record 1, got 2"),
        ({"previous_sha256": "0"}, "the record before it was altered"),
        ({"files": [asdict(other("licenses/part-other-000001.parquet"))]}, "not a part file"),
        ({"files": [asdict(other(f"secrets/part-{RUN}-000001.parquet"))]}, "not a part file"),
        ({"files": [asdict(part(1, -1))]}, "must be counts"),
        ({"superseded": [part(1).name]}, "which no earlier record promised"),
    ],
)
def test_a_record_that_does_not_follow_is_refused(changed: dict[str, Any], says: str) -> None:
    run = started()
    record = run.next_record([], {}, is_complete=False) | changed
    with pytest.raises(ValueError, match=says):
        fold(run, record)
    assert run == started()
