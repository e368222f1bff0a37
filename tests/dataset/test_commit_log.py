"""The commit log: what is promised is kept, whatever ends the process, and wherever."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.commit_log import load_lake, load_runs
from streamlic.dataset.destination import writer_lock
from streamlic.dataset.lake import RECORDS, SNAPSHOTS, STAGING
from streamlic.dataset.records import ResumePoint, json_bytes, parsed
from streamlic.dataset.verify import verify_dataset
from streamlic.errors import (
    DatasetConflict,
    IntegrityError,
    StoreError,
    UsageError,
)
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from tests.support.batches import ACCOUNTS, PAGES, expected_ids, land, open_local, visible_ids
from tests.support.forked import start_forked

STEPS = ("open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir")
SCENARIOS = ("error", "append", "overwrite", "restart", "carry", "commits")
ALWAYS_THERE = {"lock"}
_EARLY_STEPS = 8
_DISK_FAILED = 3
_DISK_FORGIVEN = 4


# A process that is killed: run as ``python -m tests.dataset.test_commit_log``


def _in_child(work: Callable[[], object]) -> int:
    """Do the work in a process of its own; return how it ended, negative if by a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # whatever it is, this copy of the caller must end
            traceback.print_exc()
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _in_child_well(what: str, work: Callable[[], object]) -> None:
    assert _in_child(work) == 0, what


def _kill_before(step: int, dest: Path) -> None:
    """Kill this process before its ``step``-th change (from 1) to the file system."""
    left = step

    def audit(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        is_ours = event != "open" or str(args[0]).startswith(str(dest))
        if event in STEPS and is_ours:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    # What a killed process wrote stays, synced or not, and syncing is slow.
    os.fsync = lambda fd: None  # noqa: ARG005  # the parameter's name is part of the type
    sys.addaudithook(audit)


def _fail_from(step: int, dest: Path, failures: list[int], *, stays: bool) -> None:
    """Let the disk fail at this process's ``step``-th change to it, or sync, or ever after it."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0 or (stays and left < 0):
            failures.append(step)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def audit(event: str, args: tuple[object, ...]) -> None:
        is_ours = event != "open" or str(args[0]).startswith(str(dest))
        if event in STEPS and is_ours:
            count()

    os.fsync = lambda fd: count()  # noqa: ARG005  # the parameter's name is part of the type
    sys.addaudithook(audit)


def _begin(dest: Path, scenario: str) -> None:
    """Bring DEST to where the scenario starts: empty, a finished run, or an unfinished one."""
    if scenario in ("append", "overwrite", "carry", "commits"):
        land(dest, "old")
    elif scenario == "restart":
        land(dest, "old", pages=4)


def _export(dest: Path, scenario: str) -> None:
    """Do what the scenario does; again and again, it comes to its end once."""
    runs = [run for run in load_runs(LocalStore(dest)) if run.request == {"tag": "new"}]
    if runs and runs[-1].is_complete:
        with writer_lock(LocalStore(dest)):
            LakeWriter(LocalStore(dest)).open()
    elif scenario == "carry":  # One account fails after its first page, and the other is read.
        land(dest, "new", mode="overwrite", failing={ACCOUNTS[0]: 1})
    elif scenario == "commits":
        land(dest, "new", mode="append", publish="commits")
    else:
        mode = "error" if scenario == "restart" else scenario
        land(dest, "new", mode=mode, restart=scenario == "restart" and not runs)


def _new_ids(scenario: str) -> list[str]:
    """Return the ids that the scenario's new run has when it is complete."""
    if scenario == "carry":
        return sorted(expected_ids("old", ACCOUNTS[:1]) + expected_ids("new", ACCOUNTS[1:]))
    return expected_ids("new")


def _check_seen(dest: Path, scenario: str) -> None:
    """Check what a reader sees after a kill, before any recovery: nothing that is not promised."""
    runs = load_runs(LocalStore(dest))
    promised = {file.name for run in runs if run.is_published for file in run.live_files}
    lake = load_lake(LocalStore(dest))
    going = {*(lake.pending or {}).get("runs", ())} | {run.id for run in runs if run.is_replaced}
    for path in dest.rglob("*.parquet"):
        name = str(path.relative_to(dest))
        is_going = any(run in name for run in going)
        assert name in promised or is_going, f"{name} is seen, and not promised"
    seen = visible_ids(dest)
    is_ended = any(run.is_complete and run.request == {"tag": "new"} for run in runs)
    # What is carried over is in both, while one takes the other's place.
    assert len(seen) == len(set(seen)) or (is_ended and scenario == "carry")
    if scenario in ("overwrite", "carry"):
        # While one takes the other's place both may be seen, but never less than one of them.
        old, new = set(expected_ids("old")), set(_new_ids(scenario))
        assert old <= set(seen) or (is_ended and new <= set(seen))
        assert is_ended or seen == expected_ids("old")
    if scenario in ("append", "commits"):
        assert set(expected_ids("old")) <= set(seen)
    if scenario in ("error", "append", "restart"):
        assert is_ended or not {*_new_ids(scenario)} & {*seen}, "an unfinished run is seen"
    tables = [pq.read_table(path) for path in dest.glob("runs/*.parquet")]
    ended = [run for table in tables for run in table["_run"].to_pylist()]
    assert {*ended} <= {run.id for run in runs if run.is_complete}


def _check_ended(dest: Path, scenario: str) -> None:
    old = expected_ids("old") if scenario in ("append", "commits") else []
    assert visible_ids(dest) == sorted(old + _new_ids(scenario))
    report = verify_dataset(LocalStore(dest))
    assert (report.problems, report.notes) == ([], [])
    runs = load_runs(LocalStore(dest))
    assert report.runs == len(runs) == (1 if scenario in ("error", "restart") else 2)
    ended = pq.read_table(dest / "runs").to_pylist()
    assert {row["_run"] for row in ended} == {run.id for run in runs}
    assert len(ended) == len(runs)
    outcomes = Counter(row["_run"] for row in pq.read_table(dest / "accounts").to_pylist())
    assert outcomes == {run.id: len(ACCOUNTS) for run in runs}
    wanted = {dest / "_streamlic" / name for name in ALWAYS_THERE}
    lake = load_lake(LocalStore(dest))
    wanted |= {dest / RECORDS / f"{n:08d}.json" for n in range(1, lake.number + 1)}
    wanted |= {dest / file.name for run in runs for file in run.live_files}
    assert {path for path in dest.rglob("*") if path.is_file()} - wanted == set()


def _kill_everywhere(place: Path, scenario: str, stride: int) -> int:
    """Kill one export at every ``stride``-th step, and resume each; return the kills.

    Every other time the resumed one is killed too, early: in recovery.
    """
    start = place / "start"
    _in_child_well("begin", lambda: _begin(start, scenario))
    kills = 0
    while True:
        step = 1 + kills * stride
        dest = place / f"killed-{step}"
        if start.exists():
            shutil.copytree(start, dest)
        code = _in_child(partial(_killed, dest, scenario, step))
        if code == 0:
            _in_child_well(f"not killed, {step}", partial(_check_ended, dest, scenario))
            return kills
        assert code == -signal.SIGKILL, f"{scenario}: step {step} ended with {code}"
        _in_child_well(f"seen after step {step}", partial(_check_seen, dest, scenario))
        if kills % 2:
            again = _in_child(partial(_killed, dest, scenario, 1 + kills // 2 % _EARLY_STEPS))
            assert again == -signal.SIGKILL, f"{scenario}: after step {step} it ended with {again}"
            _in_child_well(f"seen after two kills, {step}", partial(_check_seen, dest, scenario))
        _in_child_well(f"resumed after step {step}", partial(_export, dest, scenario))
        _in_child_well(f"ended after step {step}", partial(_check_ended, dest, scenario))
        kills += 1


def _killed(dest: Path, scenario: str, step: int) -> None:
    _kill_before(step, dest)
    _export(dest, scenario)


def _fail_everywhere(place: Path, scenario: str, *, stays: bool) -> int:
    """Let the disk fail one export at every third step, and resume each; return how often."""
    start = place / "start"
    _in_child_well("begin", lambda: _begin(start, scenario))
    for number in count():
        step = 1 + 3 * number
        dest = place / f"failed-{step}-{stays}"
        if start.exists():
            shutil.copytree(start, dest)
        code = _in_child(partial(_failed, dest, scenario, step, stays=stays))
        if code == 0:
            return number
        assert code in (_DISK_FAILED, _DISK_FORGIVEN), f"{scenario}: step {step} ended with {code}"
        _in_child_well(f"seen after step {step}", partial(_check_seen, dest, scenario))
        _in_child_well(f"resumed after step {step}", partial(_export, dest, scenario))
        _in_child_well(f"ended after step {step}", partial(_check_ended, dest, scenario))
    raise AssertionError


def _failed(dest: Path, scenario: str, step: int, *, stays: bool) -> None:
    failures: list[int] = []
    _fail_from(step, dest, failures, stays=stays)
    try:
        _export(dest, scenario)
    except StoreError:
        os._exit(_DISK_FAILED)
    if failures:  # It was of no importance, such as a note of who holds the lock.
        os._exit(_DISK_FORGIVEN)


def _kill_often(place: Path, scenario: str, seeds: range) -> int:
    """Kill an export for each seed ten times in a row, then let it end; return the kills."""
    return sum(_kill_ten_times(place, scenario, seed) for seed in seeds)


def _kill_ten_times(place: Path, scenario: str, seed: int) -> int:
    """Kill one export ten times in a row at random steps, then let it end; return the kills."""
    chosen = random.Random(seed)
    dest = place / f"often-{seed}"
    _in_child_well("begin", lambda: _begin(dest, scenario))
    kills = 0
    for _ in range(10):
        code = _in_child(partial(_killed, dest, scenario, chosen.randrange(1, 40)))
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        _in_child_well(f"seen, {seed}", partial(_check_seen, dest, scenario))
    _in_child_well(f"resumed, {seed}", partial(_export, dest, scenario))
    _in_child_well(f"ended, {seed}", partial(_check_ended, dest, scenario))
    return kills


# What must hold


def _say(kills: Callable[..., int], *given: Any, **more: Any) -> None:
    print(kills(*given, **more))


async def killing(kills: Callable[..., int], *given: Any, **more: Any) -> int:
    """Call ``kills`` in a process of its own, which has no threads to fork; return its count."""
    process = await start_forked(partial(_say, kills, *given, **more), env=os.environ)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-4000:]
    assert err == b""
    return int(out)


@pytest.mark.parametrize(
    ("stride", "kills"), [(31, 2), pytest.param(1, 60, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_an_export_killed_at_any_step_is_resumed_exactly(
    tmp_path: Path, scenario: str, stride: int, kills: int
) -> None:
    """SIGKILL before each change to the file system in turn; then once more, to the end."""
    assert await killing(_kill_everywhere, tmp_path, scenario, stride) >= kills


@pytest.mark.slow
@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_disk_that_fails_at_any_step_promises_nothing_that_is_not_there(
    tmp_path: Path, scenario: str, *, stays: bool
) -> None:
    """EIO from each change to the file system and each sync in turn; then once more, to the end."""
    assert await killing(_fail_everywhere, tmp_path, scenario, stays=stays) >= 25


@pytest.mark.parametrize(
    ("seeds", "kills"), [(1, 3), pytest.param(40, 150, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_an_export_killed_ten_times_in_a_row_lands_every_row_once(
    tmp_path: Path, scenario: str, seeds: int, kills: int
) -> None:
    """Kills meet recovery too, and the recovery from a recovery."""
    assert await killing(_kill_often, tmp_path, scenario, range(seeds)) >= kills


def commits_of(store: LocalStore) -> list[str]:
    """Return the names of the records that are commits, in order."""
    names = [f"{RECORDS}/{name}" for name in store.names(RECORDS)]
    return [
        name for name in names if json.loads(store.read(name))["kind"] in ("commit", "complete")
    ]


def test_a_run_lands_and_says_so(tmp_path: Path) -> None:
    run = land(tmp_path / "dest", "new")
    assert run.is_complete
    assert visible_ids(tmp_path / "dest") == expected_ids("new")
    [again] = load_runs(run.store)
    assert (again.rows, again.files, again.points) == (run.rows, run.files, run.points)
    assert again.rows == sum(point.rows for point in again.points.values())
    assert all(point.is_done and point.pages == PAGES for point in again.points.values())


def test_an_account_without_a_name_keeps_its_resume_point(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    open_local(store.root, request={}, accounts=[None]).commit(
        [], {None: ResumePoint(cursor="next", rows=0, pages=1, is_partial=True)}, is_complete=False
    )
    run = open_local(store.root, request={}, accounts=[None])
    assert run.is_resumed
    assert run.point(None) == ResumePoint(cursor="next", rows=0, pages=1, is_partial=True)


def test_a_record_holds_only_the_accounts_that_moved_on(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    records = [json.loads(run.store.read(name)) for name in commits_of(run.store)]
    assert [list(record["points"]) for record in records] == [
        *([[ACCOUNTS[0]]] * PAGES),
        *([[ACCOUNTS[1]]] * PAGES),
        [],
    ]


def test_what_cannot_be_utf8_is_kept(tmp_path: Path) -> None:
    """Arguments of a command line and cursors may hold lone surrogates."""
    store = LocalStore(tmp_path)
    run = open_local(store.root, request={"q": "\udcff"}, accounts=["a"])
    run.commit([], {"a": ResumePoint(cursor="\ud800")}, is_complete=False)
    assert (
        open_local(store.root, request={"q": "\udcff"}, accounts=["a"]).point("a").cursor
        == "\ud800"
    )


def test_tuples_and_lists_ask_for_the_same(tmp_path: Path) -> None:
    open_local(tmp_path, request={"q": ("a",)}, accounts=["a"])
    assert open_local(tmp_path, request={"q": ["a"]}, accounts=["a"]).is_resumed


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"request": {"tag": "other"}}, "tag was 'new', now is 'other'"),
        ({"request": {"tag": "new", "limit": 5}}, "limit was None, now is 5"),
        (
            {"accounts": ["c"]},
            "1 account is new, such as c; 2 accounts are gone, such as account-a",
        ),
        ({"mode": "append"}, "the mode was 'error', now is 'append'"),
    ],
)
def test_an_unfinished_run_of_another_request_is_refused(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    land(tmp_path, "new", pages=1)
    asked: dict[str, Any] = {"request": {"tag": "new"}, "accounts": ACCOUNTS, "mode": "error"}
    with pytest.raises(DatasetConflict, match=says) as caught:
        open_local(tmp_path, **{**asked, **changed})
    assert "restart=True" in str(caught.value)
    assert "20 rows" in str(caught.value)
    assert open_local(tmp_path, **asked).is_resumed


def test_restart_discards_an_unfinished_run_wholly(tmp_path: Path) -> None:
    old = land(tmp_path, "old", pages=4, publish="commits")
    assert visible_ids(tmp_path)
    run = open_local(tmp_path, request={"tag": "new"}, accounts=ACCOUNTS, restart=True)
    assert not run.is_resumed
    assert visible_ids(tmp_path) == []
    assert [one.id for one in load_runs(old.store)] == [run.id]


def test_restart_touches_no_unfinished_run_where_the_finished_one_forbids_a_new_one(
    tmp_path: Path,
) -> None:
    land(tmp_path, "old")
    unfinished = land(tmp_path, "new", mode="append", pages=1)
    with pytest.raises(DatasetConflict, match='mode="append", or replace it with mode="overwrite"'):
        land(tmp_path, "new", restart=True)
    assert land(tmp_path, "new", mode="append").id == unfinished.id


def test_a_finished_dataset_is_refused_by_default(tmp_path: Path) -> None:
    land(tmp_path, "old")
    with pytest.raises(DatasetConflict, match="already holds 320 licenses"):
        land(tmp_path, "old")
    with pytest.raises(UsageError, match=r"got .replace. \(mode\)"):
        land(tmp_path, "old", mode="replace")


def test_overwrite_shows_the_old_rows_until_the_new_run_has_ended(tmp_path: Path) -> None:
    old = land(tmp_path, "old")
    land(tmp_path, "new", mode="overwrite", pages=5)
    assert visible_ids(tmp_path) == expected_ids("old")
    land(tmp_path, "new", mode="overwrite")
    assert visible_ids(tmp_path) == expected_ids("new")
    assert load_runs(LocalStore(tmp_path))[0].is_replaced
    runs = pq.read_table(tmp_path / "runs").sort_by("started_at").to_pylist()
    assert [row["mode"] for row in runs] == [
        old.mode,
        "overwrite",
    ]


@pytest.mark.parametrize("name", ["notes.txt", "part-of-something.parquet", ".hidden"])
def test_files_of_others_are_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    land(tmp_path, "old")
    (tmp_path / name).write_text("mine")
    with pytest.raises(DatasetConflict, match=f"such as '{name}'"):
        land(tmp_path, "new", mode="overwrite")
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    assert visible_ids(tmp_path) == expected_ids("old")


def test_recovery_frees_what_was_staged_and_not_promised(tmp_path: Path) -> None:
    run = land(tmp_path, "new", pages=1)
    staged = run.store.path(STAGING)
    (staged / "licenses.part-half.parquet.staged").write_bytes(b"half")
    run = land(tmp_path, "new", pages=0)
    assert run.is_resumed
    assert [path.name for path in staged.iterdir()] == [
        run.staged(file.name).rpartition("/")[2] for file in run.files
    ]


def test_an_interrupted_removal_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is there, and one of its part files is gone."""
    land(tmp_path, "old", pages=3, publish="commits")
    delete = LocalStore.delete

    def interrupted(store: LocalStore, *names: str) -> None:
        parts = [name for name in names if name.endswith(".parquet")]
        delete(store, *(parts[:1] or names))
        if parts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            land(tmp_path, "new", restart=True)
    assert visible_ids(tmp_path)
    land(tmp_path, "new")
    assert visible_ids(tmp_path) == expected_ids("new")


def test_recovery_leaves_directories_of_others(tmp_path: Path) -> None:
    land(tmp_path, "old")
    (tmp_path / "_streamlic/notes").mkdir()
    (tmp_path / "_streamlic/notes/mine").write_text("mine")
    land(tmp_path, "new", mode="overwrite")
    assert (tmp_path / "_streamlic/notes/mine").read_text() == "mine"


def test_a_lost_last_record_never_doubles_its_rows(tmp_path: Path) -> None:
    """No later record can notice it, but its part files are not promised."""
    run = land(tmp_path, "new", pages=3, publish="commits")
    run.store.delete(commits_of(run.store)[-1])
    with pytest.raises(DatasetConflict, match="not in the commit log"):
        land(tmp_path, "new", publish="commits")
    land(tmp_path, "new", restart=True)
    assert visible_ids(tmp_path) == expected_ids("new")


@pytest.mark.parametrize("mode", ["error", "overwrite"])
def test_a_promised_file_that_is_gone_is_an_error_and_restart_helps(
    tmp_path: Path, mode: str
) -> None:
    run = land(tmp_path, "new", mode=mode, pages=2)
    run.store.delete(run.staged(run.files[0].name))
    with pytest.raises(IntegrityError, match=f"{run.files[0].name} .*restart=True"):
        land(tmp_path, "new", mode=mode)
    land(tmp_path, "new", mode=mode, restart=True)
    assert visible_ids(tmp_path) == expected_ids("new")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"pages": 1', b'"pages": 7'))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_a_list(path: Path) -> None:
    path.write_bytes(b"[1]")


DAMAGES = [cut, alter, empty, make_a_list, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_record_is_an_error_that_names_it(
    tmp_path: Path, damage: Callable[[Path], None], number: int
) -> None:
    run = land(tmp_path, "new", pages=4)
    name = commits_of(run.store)[number]
    if damage is alter and number == 2:
        name = commits_of(run.store)[-1]  # No other record would miss it.
    before = visible_ids(tmp_path)
    damage(run.store.path(name))
    with pytest.raises(IntegrityError, match=f"{RECORDS}/0000000"):
        land(tmp_path, "new")
    assert visible_ids(tmp_path) == before


def test_a_record_that_was_rewritten_is_missed_by_the_one_after_it(tmp_path: Path) -> None:
    """Whole by itself, and another than the one that the next record followed."""
    run = land(tmp_path, "new", pages=3)
    name = commits_of(run.store)[1]
    body = parsed(run.store.read(name), name)
    body["points"][ACCOUNTS[0]]["cursor"] = "1"
    run.store.path(name).write_bytes(json_bytes(body))
    with pytest.raises(IntegrityError, match=r"00000005\.json: .*the record before it was altered"):
        land(tmp_path, "new")


def test_a_record_of_another_lake_is_not_believed(tmp_path: Path) -> None:
    """Whole by itself, but not the next one of this chain."""
    one = land(tmp_path / "one", "new", pages=2)
    other = land(tmp_path / "other", "new", pages=2)
    name = commits_of(other.store)[1]
    one.store.path(name).write_bytes(other.store.read(name))
    with pytest.raises(IntegrityError, match="00000004"):
        land(tmp_path / "one", "new")


@pytest.mark.parametrize("damage", [cut, empty, make_a_list])
def test_the_records_say_all_that_a_damaged_snapshot_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """The lake opens without it, and ``verify`` names it. Without any, nothing is believed."""
    monkeypatch.setattr("streamlic.dataset.commit_log._SNAPSHOT_RECORDS", 3)
    run = land(tmp_path, "new")
    older, newest = (f"{SNAPSHOTS}/{name}" for name in run.store.names(SNAPSHOTS))
    before = load_lake(run.store).as_json()
    damage(run.store.path(newest))
    assert load_lake(run.store).as_json() == before
    [problem] = verify_dataset(run.store).problems
    assert problem.startswith(newest)
    damage(run.store.path(older))
    run.store.path(f"{RECORDS}/00000001.json").unlink()
    with pytest.raises(IntegrityError, match=newest):
        load_lake(run.store)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_request_is_an_error_that_loses_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    run = land(tmp_path, "new")
    path = run.store.path(f"{RECORDS}/{run.first_record:08d}.json")
    if damage is alter:
        path.write_bytes(path.read_bytes().replace(b'"new"', b'"now"'))
    else:
        damage(path)
    with pytest.raises(IntegrityError, match=r"0000000[23]\.json"):
        land(tmp_path, "new", mode="append")
    assert run.store.exists(f"{RECORDS}/00000003.json")
    assert visible_ids(tmp_path) == expected_ids("new")
