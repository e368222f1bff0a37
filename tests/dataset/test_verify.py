"""What verify sees: every file, every byte, every row, and the chain of records."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.destination import writer_lock
from streamlic.dataset.inspect import Inspection, inspect_dataset
from streamlic.dataset.lake import ACCOUNTS, RECORDS, RUNS, TABLES, table_of
from streamlic.dataset.records import PartFile, ResumePoint
from streamlic.dataset.run_tables import write_run_tables
from streamlic.dataset.verify import VerifyReport, promised_bytes, verify_dataset
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import DatasetConflict, UsageError
from streamlic.storage import locks
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from streamlic.tables.upkeep import expire
from tests.support.batches import (
    SCHEMA,
    TINY,
    LocalRun,
    expected_ids,
    land,
    open_local,
    open_writer,
)
from tests.support.forked import start_forked


def problems(dest: Path) -> list[str]:
    return verify_dataset(LocalStore(dest)).problems


def name_of(part: Path) -> str:
    return f"{part.parent.name}/{part.name}"


@pytest.fixture
def run(tmp_path: Path) -> LocalRun:
    return land(tmp_path / "dest", "new")


@pytest.fixture(params=TABLES)
def part(run: LocalRun, request: pytest.FixtureRequest) -> Path:
    """Return a part file of each table."""
    return run.store.path(run.files_of(request.param)[-1].name)


def test_a_sound_dataset_is_counted(run: LocalRun) -> None:
    land(run.store.root, "more", mode="append")
    report = verify_dataset(run.store)
    paths = list(run.store.root.rglob("*.parquet"))
    assert report.is_sound
    assert (report.problems, report.notes) == ([], [])
    assert report.runs == 2
    assert report.files == len(paths)
    assert report.rows == len(expected_ids("new")) * 2
    for table in TABLES:
        found = report.tables[table]
        paths_of_table = list((run.store.root / table).iterdir())
        assert found.rows == pq.read_table(run.store.root / table).num_rows
        assert found.files == len(paths_of_table)
        assert found.bytes == sum(path.stat().st_size for path in paths_of_table)
    assert report.bytes == sum(path.stat().st_size for path in paths)


def test_nothing_is_written(run: LocalRun) -> None:
    before = sorted(run.store.root.rglob("*"))
    verify_dataset(run.store)
    assert sorted(run.store.root.rglob("*")) == before


def test_a_missing_file_is_a_problem(run: LocalRun, part: Path) -> None:
    part.unlink()
    assert problems(run.store.root) == [f"{name_of(part)}: missing"]


def test_a_truncated_file_is_a_problem(run: LocalRun, part: Path) -> None:
    size = part.stat().st_size
    part.write_bytes(part.read_bytes()[:-1])
    assert problems(run.store.root) == [f"{name_of(part)}: expected {size} bytes, got {size - 1}"]


@pytest.mark.parametrize("place", [0, 4, 1000, -1])
def test_any_flipped_bit_is_a_problem(run: LocalRun, part: Path, place: int) -> None:
    data = bytearray(part.read_bytes())
    data[place] ^= 1
    part.write_bytes(data)
    assert problems(run.store.root) == [
        f"{name_of(part)}: its content was altered: the SHA-256 differs"
    ]


def test_two_files_that_changed_places_are_problems(run: LocalRun, part: Path) -> None:
    other = run.store.path(run.files[0].name)
    one, two = part.read_bytes(), other.read_bytes()
    part.write_bytes(two)
    other.write_bytes(one)
    assert len(problems(run.store.root)) == 2


@pytest.mark.parametrize("name", ["part-x.parquet", "notes.txt", ".hidden"])
@pytest.mark.parametrize("table", ["", *(f"{one}/" for one in TABLES)])
def test_a_file_of_nobody_is_a_problem(run: LocalRun, table: str, name: str) -> None:
    name = f"{table}{name}"
    run.store.path(name).write_bytes(b"")
    assert problems(run.store.root) == [f"{name}: not in the commit log"]


@pytest.mark.parametrize("table", [ACCOUNTS, RUNS])
def test_a_run_that_is_not_complete_has_no_rows_in_accounts_and_runs(
    tmp_path: Path, table: str
) -> None:
    run = land(tmp_path, "new", pages=2)
    [file] = [
        file
        for file in write_run_tables(run.store, run, engine="fast", compression="zstd")
        if table_of(file.name) == table
    ]
    run.commit([file], {}, is_complete=False)
    assert problems(tmp_path) == [
        f"run {run.id} is not complete: expected 0 rows of {table}, got {file.rows}"
    ]


def test_a_complete_run_has_one_row_in_runs_and_one_in_accounts_for_each_account(
    tmp_path: Path,
) -> None:
    run = open_local(tmp_path, request={}, accounts=["a"], skipped={"b": "blocked"})
    files = open_writer(run).finish(with_empty=True)
    run.commit(files, {"a": ResumePoint(is_done=True)}, is_complete=True)
    assert problems(tmp_path) == [
        f"run {run.id} is complete: expected 2 rows of accounts, got 0",
        f"run {run.id} is complete: expected 1 row of runs, got 0",
    ]


def test_a_file_of_another_content_with_a_record_to_match_is_counted(tmp_path: Path) -> None:
    """Promised with a wrong number of rows: the file itself has the last word."""
    run = open_local(tmp_path, request={}, accounts=["a"])
    [file] = open_writer(run).finish(with_empty=True)
    wrong = PartFile(file.name, 7, file.bytes, file.sha256)
    run.commit([wrong], {"a": ResumePoint(is_done=True, rows=7)}, is_complete=False)
    assert problems(tmp_path) == [f"{file.name}: expected 7 rows, got 0"]


def test_a_file_that_is_not_parquet_is_a_problem(tmp_path: Path) -> None:
    run = open_local(tmp_path, request={}, accounts=["a"])
    name = run.part_name(1)
    run.store.create(run.staged(name), b"PAR1")
    digest = hashlib.sha256(b"PAR1").hexdigest()
    run.commit([PartFile(name, 0, 4, digest)], {}, is_complete=False)
    [problem] = problems(tmp_path)
    assert problem.startswith(f"{name}: not readable as Parquet")


def test_an_unfinished_run_is_a_note(tmp_path: Path) -> None:
    run = land(tmp_path, "new", pages=2)
    report = verify_dataset(run.store)
    assert report.problems == []
    assert report.notes == [f"run {run.id} is unfinished, with 140 rows: run the same export again"]


def test_an_unfinished_overwrite_is_a_note_and_its_staged_files_are_checked(
    tmp_path: Path,
) -> None:
    land(tmp_path, "old")
    run = land(tmp_path, "new", mode="overwrite", pages=2)
    report = verify_dataset(run.store)
    assert (report.problems, len(report.notes)) == ([], 1)
    run.store.delete(run.staged(run.files[0].name))
    assert problems(tmp_path) == [f"{run.files[0].name}: missing"]


def test_accounts_that_have_other_rows_than_the_part_files_are_a_problem(tmp_path: Path) -> None:
    run = open_local(tmp_path, request={}, accounts=["a"])
    files = open_writer(run).finish(with_empty=True)
    run.commit(files, {"a": ResumePoint(is_done=True, rows=3)}, is_complete=False)
    assert problems(tmp_path) == [f"run {run.id}: its accounts have 3 rows, its part files 0"]


def test_a_dataset_without_a_run_yet_is_noted_with_its_writer(tmp_path: Path) -> None:
    """It may discard the only run before it begins another."""
    with writer_lock(LocalStore(tmp_path)):
        report = verify_dataset(LocalStore(tmp_path))
    assert report.is_sound
    assert report.notes[0].startswith("it has no run yet: a writer is active")


def interrupted_before_the_move(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LakeWriter, "_show", lambda *_: None)
        land(dest, "new", pages=0)
        land(dest, "new")


def interrupted_before_the_end(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LakeWriter, "_show", lambda *_: None)
        land(dest, "new", pages=2, publish="commits")


def interrupted_in_a_removal(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = land(dest, "new")
    lake = LakeWriter(run.store)
    lake.open()
    with monkeypatch.context() as patch:
        patch.setattr(LakeWriter, "_show", lambda *_: None)
        lake.remove(run.id)


def interrupted_in_a_replacement(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replaced run is marked, and its licenses are not yet deleted."""
    land(dest, "old")
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(LocalStore, "delete", interrupted)
        land(dest, "new", mode="overwrite")


def interrupted(_: LocalStore, *names: str) -> None:
    if names:
        raise InterruptedError


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (interrupted_in_a_replacement, "was interrupted while it was published"),
        (interrupted_before_the_move, "was interrupted while it was published"),
        (interrupted_before_the_end, "readers do not see all of its rows"),
        (interrupted_in_a_removal, "is half removed"),
    ],
)
def test_what_a_reader_does_not_see_as_promised_is_a_problem(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[Path, pytest.MonkeyPatch], None],
    says: str,
) -> None:
    begin(tmp_path, monkeypatch)
    [problem] = problems(tmp_path)
    assert says in problem
    with writer_lock(LocalStore(tmp_path)):  # A writer may be in that step.
        report = verify_dataset(LocalStore(tmp_path))
    assert report.is_sound
    assert any(says in note and "a writer is active" in note for note in report.notes)


def write_owner(dest: Path, owner: str) -> None:
    (dest / "_streamlic/lock-owner").write_text(owner)


HERE = socket.gethostname()


@pytest.mark.parametrize(
    "owner",
    [f"process {os.getpid()} on {HERE}", f"process 1 on {HERE}", "nonsense"],
    ids=["this", "the first", "none"],
)
def test_a_killed_writer_is_not_active_if_another_process_has_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """Its lock is free: in containers every writer may be process 1."""
    interrupted_in_a_removal(tmp_path, monkeypatch)
    write_owner(tmp_path, owner)
    assert "is half removed: the next export" in problems(tmp_path)[0]


def test_a_writer_on_another_host_may_or_may_not_be_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_in_a_removal(tmp_path, monkeypatch)
    write_owner(tmp_path, "process 12 on elsewhere")
    report = verify_dataset(LocalStore(tmp_path))
    assert report.problems == []
    [note] = report.notes
    assert note.endswith(
        "is half removed: process 12 on elsewhere may be active, on another host: "
        "cannot tell whether it is alive"
    )


@pytest.mark.parametrize(
    "owner",
    ["process 12 on elsewhere", f"process {os.getpid()} on {HERE}"],
    ids=["elsewhere", "this"],
)
def test_a_writer_that_has_the_lock_lives_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """Another host's lock is seen on some file systems, and this process may be the writer."""
    interrupted_in_a_removal(tmp_path, monkeypatch)
    with writer_lock(LocalStore(tmp_path)):
        write_owner(tmp_path, owner)
        report = verify_dataset(LocalStore(tmp_path))
    assert report.problems == []
    assert f"a writer is active ({owner})" in report.notes[0]


def test_without_a_lock_to_look_at_the_owners_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is the reader itself."""
    interrupted_in_a_removal(tmp_path, monkeypatch)
    monkeypatch.setattr(locks, "is_held", lambda _: None)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        write_owner(tmp_path, f"process {living.pid} on {HERE}")
        assert problems(tmp_path) == []
        living.kill()
    assert len(problems(tmp_path)) == 1
    write_owner(tmp_path, f"process {os.getpid()} on {HERE}")
    assert len(problems(tmp_path)) == 1
    write_owner(tmp_path, f"process {'9' * 30} on {HERE}")
    assert len(problems(tmp_path)) == 1


class Meanwhile(LocalStore):
    """A store in which a writer acts just before a reader's ``step``-th operation, from 1."""

    def __init__(self, root: Path, step: int, act: Callable[[], object]) -> None:
        super().__init__(root)
        self.left = step
        self._act = act

    def path(self, name: str) -> Path:
        self._take_step()
        return super().path(name)

    def names(self, directory: str = "", *, after: str = "") -> list[str]:
        self._take_step()
        return super().names(directory, after=after)

    def writer(self, name: str) -> str:
        self._take_step()
        return super().writer(name)

    def _take_step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._act()


def promise(dest: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    """Land a job that is not published: all its part files are in staging."""
    with monkeypatch.context() as patch:
        patch.setattr(LakeWriter, "_show", lambda *_: None)
        land(dest, "new", **given)


def publish(dest: Path) -> None:
    LakeWriter(LocalStore(dest)).open()


def discard(dest: Path) -> None:
    lake = LakeWriter(LocalStore(dest))
    lake.remove(*(run.id for run in lake.open(leaves_unfinished=True) if not run.is_complete))


def complete_without_one(dest: Path) -> None:
    """Supersede a part file, move the others in, and remove the run that they replace."""
    store = LocalStore(dest)
    lake = LakeWriter(store)
    [run] = [one for one in lake.open() if not one.is_complete]
    keeps = carrying(store, run, {"account-a": "gone"}, batch_bytes=10_000)
    assert keeps is not None
    complete_run(
        lake,
        run,
        DatasetWriter(store, run, schema=SCHEMA, options=TINY),
        Ending(engine="fast", keeps=keeps),
    )


def begin_publishing(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promise(dest, monkeypatch, accounts=["account-a"], pages=1, publish="commits")


def begin_replacing(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    land(dest, "old", accounts=["account-a"])
    promise(dest, monkeypatch, accounts=["account-a"], mode="overwrite")


def begin_discarding(dest: Path, _: pytest.MonkeyPatch) -> None:
    land(dest, "old", accounts=["account-a"])
    land(dest, "new", accounts=["account-a"], mode="append", pages=2, publish="commits")


def begin_superseding(dest: Path, _: pytest.MonkeyPatch) -> None:
    land(dest, "old", accounts=["account-a"])
    land(dest, "new", accounts=["account-a"], mode="overwrite", pages=2)


WRITERS = [
    (begin_publishing, publish),
    (begin_replacing, publish),
    (begin_discarding, discard),
    (begin_superseding, complete_without_one),
]


@pytest.mark.parametrize(
    "stride", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize(
    ("begin", "act", "read", "ends"),
    [
        *((*one, verify_dataset, False) for one in WRITERS),
        # A writer that has ended holds no lock; what it did meanwhile is the same.
        (begin_publishing, publish, verify_dataset, True),
        (begin_superseding, complete_without_one, verify_dataset, True),
        (begin_publishing, publish, inspect_dataset, False),
        (begin_superseding, complete_without_one, inspect_dataset, False),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_no_step_of_a_writer_between_two_of_a_reader_is_a_problem(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[Path, pytest.MonkeyPatch], None],
    act: Callable[[Path], None],
    read: Callable[[Store], VerifyReport | Inspection],
    *,
    ends: bool,
    stride: int,
) -> None:
    """Files move and go, records come: whenever that is, all that was promised is there."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    begin(tmp_path / "start", monkeypatch)
    for step in itertools.count(1, stride):
        dest = tmp_path / str(step)
        shutil.copytree(tmp_path / "start", dest)
        with ExitStack() as writer:
            writer.enter_context(writer_lock(LocalStore(dest)))

            def work(dest: Path = dest, writer: ExitStack = writer) -> None:
                act(dest)
                if ends:
                    writer.close()

            store = Meanwhile(dest, step, work)
            assert read(store).problems == [], f"before step {step}"
        if store.left > 0:
            break
    assert step > 15


class Expiring(LocalStore):
    """A store in which old records go just after a reader has listed all records."""

    is_done = False

    def names(self, directory: str = "", *, after: str = "") -> list[str]:
        found = super().names(directory, after=after)
        if directory == RECORDS and not after and not self.is_done:
            self.is_done = True
            expire(LocalStore(self.root), keep=1, options=TINY)
        return found


def test_records_may_expire_meanwhile(tmp_path: Path) -> None:
    """Also if that is after they were listed, and before they are read."""
    for number in range(3):
        land(tmp_path, str(number), accounts=["account-a"], mode="append")
    before = len(LocalStore(tmp_path).names(RECORDS))
    store = Expiring(tmp_path)
    assert verify_dataset(store).problems == []
    assert store.is_done
    assert len(store.names(RECORDS)) < before


def _write_on(dest: Path) -> None:
    """Land one run after the other, until this process is killed."""
    for number in itertools.count():
        land(dest, str(number), mode="append" if number % 5 else "overwrite")


async def test_a_dataset_that_is_written_meanwhile_is_sound(tmp_path: Path) -> None:
    land(tmp_path, "first")
    writer = await start_forked(_write_on, tmp_path, env=os.environ)
    found: list[VerifyReport] = []
    try:
        while len({report.rows for report in found}) < 5 or len(found) < 40:
            assert writer.returncode is None
            found.append(verify_dataset(LocalStore(tmp_path)))
    finally:
        writer.kill()
        await writer.communicate()
    assert {problem for report in found for problem in report.problems} == set()


def test_a_missing_record_is_a_problem(run: LocalRun) -> None:
    land(run.store.root, "more", mode="append")
    run.store.delete(f"{RECORDS}/00000004.json")
    [problem] = problems(run.store.root)
    assert "expected record 4, which is missing" in problem


def test_an_old_record_that_a_snapshot_covers_is_still_checked(run: LocalRun) -> None:
    lake = LakeWriter(run.store)
    lake.open()
    lake._log.write_snapshot()
    assert problems(run.store.root) == []
    path = run.store.path(f"{RECORDS}/{run.last_record:08d}.json")
    path.write_bytes(path.read_bytes().replace(b'"number"', b'"nombre"'))
    assert problems(run.store.root) == [
        f"{RECORDS}/{path.name}: it was altered: its SHA-256 differs"
    ]


@pytest.mark.parametrize("number", [1, 2, 7, 10])
def test_any_flipped_bit_of_a_record_is_a_problem(run: LocalRun, number: int) -> None:
    """The last record too, which no other record could miss."""
    assert run.store.names(RECORDS)[-1] == "00000010.json"
    path = run.store.path(f"{RECORDS}/{number:08d}.json")
    whole = path.read_bytes()
    for place in range(0, len(whole) - 1, 11):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        assert problems(run.store.root), f"byte {place}"
    path.write_bytes(whole)
    assert problems(run.store.root) == []


def test_a_directory_without_a_log_is_not_a_dataset(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    with pytest.raises(UsageError, match="it is empty or does not exist"):
        problems(dest)
    dest.mkdir()
    (dest / "notes.txt").touch()
    assert promised_bytes(LocalStore(dest)) == 0
    with pytest.raises(UsageError, match="is not a streamlic lake: it has no commit log"):
        problems(dest)
    (dest / "notes.txt").unlink()
    (dest / "_streamlic").mkdir(parents=True)
    (dest / "_streamlic/lock").touch()
    assert problems(dest) == [f"{dest} is not a streamlic lake: it has no run"]


def test_the_rows_are_those_of_the_files(run: LocalRun) -> None:
    rows = sum(pq.read_metadata(run.store.path(file.name)).num_rows for file in run.license_files)
    assert verify_dataset(run.store).rows == rows


@pytest.mark.parametrize("name", ["licenses/_tmp/x.crc", "_tmp/x.crc", ".DS_Store", "runs/.x.crc"])
def test_what_the_next_export_refuses_is_a_problem(tmp_path: Path, name: str) -> None:
    land(tmp_path, "one")
    assert problems(tmp_path) == []
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    [problem] = problems(tmp_path)
    foreign = problem.removesuffix(": not in the commit log")
    assert name.startswith(foreign)
    with pytest.raises(DatasetConflict, match="not in the commit log, such as") as refused:
        land(tmp_path, "two", mode="append")
    assert foreign in str(refused.value)
