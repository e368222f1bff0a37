"""Compacting and expiring: readers see every row all the while, whatever ends the command."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from streamlic.dataset.commit_log import CommitLog, in_full, load_lake, load_runs
from streamlic.dataset.destination import writer_lock
from streamlic.dataset.head import rows_of_table
from streamlic.dataset.inspect import inspect_dataset
from streamlic.dataset.lake import RECORDS, STAGING, TABLES, names_in_tables, rewritten_name
from streamlic.dataset.records import WantedFormat, parsed
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import WriteOptions
from streamlic.errors import DatasetConflict, IntegrityError, UsageError
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables import base
from streamlic.tables.base import LakeWriter
from streamlic.tables.formats import unlike_the_log
from streamlic.tables.rewrite import Rewriter
from streamlic.tables.upkeep import compact, expire
from tests.support.batches import ACCOUNTS, PAGES, expected_ids, land, open_local, visible_ids
from tests.support.bucket import opened
from tests.support.killed_store import Killed, KilledStore
from tests.support.object_servers import MotoServer
from tests.tables.lake_tests import POINTS, complete, ids, part, start

OPTIONS = WriteOptions(row_group_bytes=1 << 20)
KEEP = 2


def nights(dest: Path, count: int) -> list[str]:
    """Append nights; return the ids of their runs."""
    return [land(dest, f"night-{number}", mode="append").id for number in range(count)]


def ids_of(*numbers: int) -> list[str]:
    return sorted(one for number in numbers for one in expected_ids(f"night-{number}"))


def rows_of(dest: Path, table: str) -> list[str]:
    """Return a table's rows with all their columns, sorted, as a reader of Parquet sees them."""
    return sorted(map(str, ds.dataset(dest / table).to_table().to_pylist()))


def check_sound(dest: Path) -> None:
    store = LocalStore(dest)
    report = verify_dataset(store)
    assert (report.problems, report.notes) == ([], [])
    assert store.names(STAGING) == []
    found = inspect_dataset(store)
    assert found.problems == []
    assert found.rows == report.rows == len(visible_ids(dest))


def digests(dest: Path) -> dict[str, str]:
    files = (path for path in dest.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kinds(dest: Path) -> list[str]:
    """Return the kinds of the log's records."""
    store = LocalStore(dest)
    names = (f"{RECORDS}/{name}" for name in store.names(RECORDS))
    return [parsed(store.read(name), name)["kind"] for name in names]


def part_names(dest: Path) -> dict[str, list[str]]:
    return {table: sorted(path.name for path in (dest / table).iterdir()) for table in TABLES}


def test_compacting_changes_no_row_and_leaves_one_file_a_table(tmp_path: Path) -> None:
    runs = nights(tmp_path, 4)
    before = {table: rows_of(tmp_path, table) for table in TABLES}
    looked = inspect_dataset(LocalStore(tmp_path))
    done = compact(LocalStore(tmp_path), OPTIONS)
    assert {table: rows_of(tmp_path, table) for table in TABLES} == before
    check_sound(tmp_path)
    assert all(len(names) == 1 for names in part_names(tmp_path).values())
    assert done.rewrites == len(TABLES)
    sizes = done.tables["licenses"]
    assert (sizes.files_before, sizes.files_after) == (looked.files, 1)
    assert sizes.bytes_after == sum(one.stat().st_size for one in (tmp_path / "licenses").iterdir())
    assert sizes.bytes_before == looked.bytes
    again = inspect_dataset(LocalStore(tmp_path))
    assert (again.runs, again.nights) == (looked.runs, looked.nights), "as they were promised"
    table = pq.read_table(tmp_path / "licenses")
    assert list(dict.fromkeys(table["_run"].to_pylist())) == runs, "in the order of the runs"
    for run_id in runs:
        rows = rows_of_table(LocalStore(tmp_path), "licenses", run=run_id)
        [found] = {one for b in rows.batches(rows.schema(), 9) for one in b["_run"].to_pylist()}
        assert found == run_id
        store = LocalStore(tmp_path)
        run = in_full(store, load_lake(store).runs[run_id])
        assert run.rows == sum(run.account_rows.values()) == 320


def test_what_is_compact_is_left_alone_without_a_record(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    compact(LocalStore(tmp_path), OPTIONS)
    before = digests(tmp_path)
    done = compact(LocalStore(tmp_path), OPTIONS)
    assert done.rewrites == 0
    assert all(one.files_after == one.files_before == 1 for one in done.tables.values())
    assert digests(tmp_path) == before


def test_a_file_is_compacted_if_it_is_smaller_than_half_of_a_part_file(tmp_path: Path) -> None:
    nights(tmp_path, 3)
    [largest, *_] = sorted(
        (one.stat().st_size for one in tmp_path.glob("licenses/*")), reverse=True
    )
    before = sorted(one.name for one in (tmp_path / "licenses").iterdir())
    compact(LocalStore(tmp_path), replace(OPTIONS, part_bytes=largest * 2))
    after = sorted(one.name for one in (tmp_path / "licenses").iterdir())
    kept = {*before} & {*after}
    assert kept
    for one in tmp_path.glob("licenses/*"):
        assert one.name in kept or one.stat().st_size < largest * 2.5
    assert visible_ids(tmp_path) == ids_of(0, 1, 2)
    check_sound(tmp_path)
    # What was compacted is compacted again with more nights, and with larger files.
    land(tmp_path, "night-3", mode="append")
    compact(LocalStore(tmp_path), OPTIONS)
    assert len(part_names(tmp_path)["licenses"]) == 1
    assert visible_ids(tmp_path) == ids_of(0, 1, 2, 3)
    check_sound(tmp_path)
    expire(LocalStore(tmp_path), keep=2, options=OPTIONS)
    assert visible_ids(tmp_path) == ids_of(2, 3)
    check_sound(tmp_path)


def test_a_run_that_has_not_ended_is_left_alone_and_resumed(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    unfinished = land(tmp_path, "night-2", mode="append", pages=2)
    done = compact(LocalStore(tmp_path), OPTIONS)
    assert done.tables["licenses"].files_after == 1
    expire(LocalStore(tmp_path), keep=1, options=OPTIONS)
    assert visible_ids(tmp_path) == ids_of(1)
    resumed = land(tmp_path, "night-2", mode="append")
    assert resumed.id == unfinished.id
    assert visible_ids(tmp_path) == ids_of(1, 2)
    check_sound(tmp_path)


def test_an_overwrite_over_compacted_nights_replaces_and_keeps_rows_once(tmp_path: Path) -> None:
    nights(tmp_path, 3)
    compact(LocalStore(tmp_path), OPTIONS)
    land(tmp_path, "new", mode="overwrite", accounts=ACCOUNTS[1:])
    kept = [one for number in range(3) for one in expected_ids(f"night-{number}", ACCOUNTS[:1])]
    assert visible_ids(tmp_path) == sorted(kept + expected_ids("new", ACCOUNTS[1:]))
    check_sound(tmp_path)
    assert not load_lake(LocalStore(tmp_path)).rewritten_licenses_of(
        [run.id for run in load_runs(LocalStore(tmp_path))]
    )
    compact(LocalStore(tmp_path), OPTIONS)
    land(tmp_path, "last", mode="overwrite", accounts=ACCOUNTS[:1])
    assert visible_ids(tmp_path) == sorted(
        expected_ids("last", ACCOUNTS[:1]) + expected_ids("new", ACCOUNTS[1:])
    )
    check_sound(tmp_path)


def test_thirty_nights_compacted_and_expired_keep_a_week(tmp_path: Path) -> None:
    """And history: of every night its accounts, and its run."""
    runs = nights(tmp_path, 30)
    history = {table: rows_of(tmp_path, table) for table in ("accounts", "runs")}
    compact(LocalStore(tmp_path), OPTIONS)
    check_sound(tmp_path)
    done = expire(LocalStore(tmp_path), keep=7, options=OPTIONS)
    assert done.kept == runs[:-8:-1]
    assert done.expired == runs[-8::-1]
    assert visible_ids(tmp_path) == ids_of(*range(23, 30))
    assert {table: rows_of(tmp_path, table) for table in history} == history
    check_sound(tmp_path)
    found = inspect_dataset(LocalStore(tmp_path))
    assert (len(found.nights), len(found.runs), found.expired) == (7, 7, 23)
    # A claim for each of 30 nights and of two commands, and all records of the week.
    left = Counter(kinds(tmp_path))
    assert left == {"claim": 32, "begin": 7, "commit": 7 * PAGES * 2, "complete": 7}
    # The command itself writes two records that go, too: of the expired runs, and of the files.
    assert done.records == load_lake(LocalStore(tmp_path)).number - left.total() - 2
    land(tmp_path, "night-30", mode="append")
    assert visible_ids(tmp_path) == ids_of(*range(23, 31))
    check_sound(tmp_path)
    land(tmp_path, "new", mode="overwrite")
    assert visible_ids(tmp_path) == expected_ids("new")
    check_sound(tmp_path)


def test_an_overwriting_lake_keeps_its_state(tmp_path: Path) -> None:
    for number in range(4):
        land(
            tmp_path,
            f"night-{number}",
            mode="overwrite",
            accounts=ACCOUNTS if not number else ACCOUNTS[:1],
        )
    before = visible_ids(tmp_path)
    done = expire(LocalStore(tmp_path), keep=1, options=OPTIONS)
    assert len(done.expired) == 3
    assert visible_ids(tmp_path) == before
    assert {*expected_ids("night-0", ACCOUNTS[1:])} <= {*before}
    check_sound(tmp_path)
    land(tmp_path, "new", mode="overwrite", accounts=ACCOUNTS[:1])
    assert {*expected_ids("night-0", ACCOUNTS[1:])} <= {*visible_ids(tmp_path)}
    check_sound(tmp_path)


def test_the_log_says_which_run_is_the_newest_whatever_the_clocks_say(tmp_path: Path) -> None:
    """A machine whose clock was ahead wrote the run before the last one."""
    store = LocalStore(tmp_path)
    lake = LakeWriter(store)
    lake.open()
    early = start(lake, clock=timedelta(days=2))
    complete(lake, early, part(lake, early, 0))
    late = start(lake, "overwrite", [early.id])
    complete(lake, late, part(lake, late, 20))
    assert [run.id for run in load_lake(store).newest_first] == [late.id, early.id]
    done = expire(store, keep=1, options=OPTIONS)
    assert (done.kept, done.expired) == ([late.id], [early.id])
    assert visible_ids(tmp_path) == ids(20)


def test_runs_that_were_replaced_do_not_count_as_nights_to_keep(tmp_path: Path) -> None:
    """A night that was repeated is one night."""
    store = LocalStore(tmp_path)
    lake = LakeWriter(store)
    lake.open()
    runs = [start(lake)]
    complete(lake, runs[0], part(lake, runs[0], 0))
    for number in (1, 2, 3):
        runs.append(start(lake, replaces=[runs[-1].id] if number > 1 else []))
        complete(lake, runs[-1], part(lake, runs[-1], 20 * number))
    assert visible_ids(tmp_path) == ids(0, 60)
    done = expire(store, keep=2, options=OPTIONS)
    assert done.expired == [runs[1].id]
    assert done.kept == [runs[3].id, runs[2].id, runs[0].id]
    assert visible_ids(tmp_path) == ids(0, 60)
    assert expire(store, keep=1, options=OPTIONS).expired == [runs[2].id, runs[0].id]
    assert visible_ids(tmp_path) == ids(60)


def test_what_has_expired_is_left_alone_without_a_record(tmp_path: Path) -> None:
    nights(tmp_path, 3)
    expire(LocalStore(tmp_path), keep=2, options=OPTIONS)
    before = digests(tmp_path)
    done = expire(LocalStore(tmp_path), keep=2, options=OPTIONS)
    assert (done.expired, done.records) == ([], 0)
    assert digests(tmp_path) == before


def test_nothing_to_keep_is_refused(tmp_path: Path) -> None:
    nights(tmp_path, 1)
    with pytest.raises(UsageError, match="expected 1 or more runs to keep, got 0"):
        expire(LocalStore(tmp_path), keep=0, options=OPTIONS)


@pytest.mark.parametrize("work", [compact, partial(expire, keep=1, options=OPTIONS)])
def test_a_place_without_a_lake_is_refused_and_stays_empty(
    tmp_path: Path, work: Callable[..., object]
) -> None:
    given = (OPTIONS,) if work is compact else ()
    with pytest.raises(UsageError, match="does not exist"):
        work(LocalStore(tmp_path / "no"), *given)
    assert not (tmp_path / "no").exists()


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(tmp_path: Path) -> None:
    nights(tmp_path, 4)
    store = LocalStore(tmp_path)
    before = digests(tmp_path)
    planned = compact(store, OPTIONS, dry_run=True)
    assert digests(tmp_path) == before
    done = compact(store, OPTIONS)
    assert planned.rewrites == done.rewrites
    for table, sizes in done.tables.items():
        assert asdict(replace(planned.tables[table], bytes_after=sizes.bytes_after)) == asdict(
            sizes
        )
    before = digests(tmp_path)
    would = expire(store, keep=2, options=OPTIONS, dry_run=True)
    assert digests(tmp_path) == before
    did = expire(store, keep=2, options=OPTIONS)
    assert (would.kept, would.expired) == (did.kept, did.expired)
    assert would.tables["licenses"].files_after == did.tables["licenses"].files_after
    assert would.records == did.records


def test_another_writer_that_is_active_is_left_alone(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    store = LocalStore(tmp_path)
    with writer_lock(store):
        for work in (
            partial(compact, store, OPTIONS),
            partial(expire, store, keep=1, options=OPTIONS),
        ):
            with pytest.raises(DatasetConflict, match="another writer is active"):
                work()


def test_an_altered_file_is_not_copied(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    [path, *_] = sorted(tmp_path.glob("licenses/*"))
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    before = part_names(tmp_path)
    with pytest.raises(IntegrityError, match=f"{path.name} was altered"):
        compact(LocalStore(tmp_path), OPTIONS)
    assert part_names(tmp_path) == before
    assert LocalStore(tmp_path).names(STAGING) == []


def test_a_writer_that_was_stopped_is_refused_after_its_records_are_gone(tmp_path: Path) -> None:
    """The number of its next record is that of the claim that took over, which stays."""
    nights(tmp_path, 2)
    stopped = open_local(tmp_path, request={"tag": "stopped"}, accounts=ACCOUNTS, mode="append")
    land(tmp_path, "other", mode="append", restart=True)
    for number in range(2, 5):
        land(tmp_path, f"night-{number}", mode="append")
    expire(LocalStore(tmp_path), keep=1, options=OPTIONS)
    with pytest.raises(DatasetConflict, match="another writer has taken over"):
        stopped.commit([], {}, is_complete=False)
    check_sound(tmp_path)


def test_a_claim_with_the_number_of_a_deleted_record_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    """Its process was stopped after it loaded the log, in the middle of another one's run."""
    store = LocalStore(tmp_path)
    stopped, writer = LakeWriter(store), LakeWriter(store)
    writer.open()
    run = start(writer)
    with pytest.MonkeyPatch.context() as patch:
        lake = load_lake(store)
        complete(writer, run, part(writer, run, 0), points=POINTS)
        nights(tmp_path, 1)
        expire(store, keep=1, options=OPTIONS)
        unfinished = land(tmp_path, "later", mode="append", pages=1)
        before = digests(tmp_path)
        assert store.names(STAGING)
        assert f"{lake.number + 1:08d}.json" not in store.names(RECORDS)
        patch.setattr(base, "load_lake", lambda _: lake)
        with pytest.raises(DatasetConflict, match="another writer has taken over"):
            stopped.open()
    assert digests(tmp_path) == before
    assert land(tmp_path, "later", mode="append").id == unfinished.id
    check_sound(tmp_path)


def test_a_claim_that_a_snapshot_covers_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer of another shard may write one as soon as the claim is there."""
    nights(tmp_path, 1)
    store = LocalStore(tmp_path)
    create = LocalStore.create

    def covered(self: LocalStore, name: str, data: bytes) -> None:
        create(self, name, data)
        if name.startswith(RECORDS):
            lake = load_lake(self)
            CommitLog(self, lake).write_snapshot()

    monkeypatch.setattr(LocalStore, "create", covered)
    writer = LakeWriter(store)
    writer.open()
    assert f"{writer.lake.epoch:08d}.json" in store.names(RECORDS)
    run = start(writer)
    complete(writer, run, part(writer, run, 0), points=POINTS)
    check_sound(tmp_path)


def test_a_claim_that_did_count_stays_where_its_writer_was_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses the writer before it, which may wake up yet."""
    nights(tmp_path, 1)
    store = LocalStore(tmp_path)
    first, second = LakeWriter(store), LakeWriter(store)
    first.open()
    run = start(first)
    create = LocalStore.create

    def overtaken(self: LocalStore, name: str, data: bytes) -> None:
        create(self, name, data)
        if name == f"{RECORDS}/{first.lake.number + 1:08d}.json":
            monkeypatch.undo()
            rival = LakeWriter(store)
            rival.open()
            CommitLog(store, rival.lake).write_snapshot()

    monkeypatch.setattr(LocalStore, "create", overtaken)
    second.open()
    with pytest.raises(DatasetConflict, match="another writer has taken over"):
        start(second)
    with pytest.raises(DatasetConflict, match="another writer has taken over"):
        complete(first, run, part(first, run, 0), points=POINTS)
    assert verify_dataset(store).is_sound


class UnlockedStore(LocalStore):
    """A store whose lock a stopped writer loses unseen, as it loses the lease in a bucket."""

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:  # noqa: ARG002
        yield


@pytest.mark.parametrize("of_format", ["parquet", "delta"])
@pytest.mark.parametrize("work", [compact, partial(expire, keep=1, options=OPTIONS)])
def test_maintenance_that_was_overtaken_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_format: str, work: Callable[..., object]
) -> None:
    """Not that files are missing, or altered: the other writer has replaced them."""
    store = UnlockedStore(tmp_path)
    small_lake(tmp_path, 3, of_format)
    if work is not compact:
        compact(store, OPTIONS)
    write = Rewriter.write

    def late(rewriter: Rewriter, *given: Any, **options: Any) -> Any:
        monkeypatch.undo()
        rival = LakeWriter(store)
        run = start(rival, "overwrite", [run.id for run in rival.open()])
        complete(rival, run, part(rival, run, 80), points=POINTS)
        for file in load_lake(store).oldest_first[0].license_files if of_format == "delta" else ():
            store.delete(file.name)  # As an expiry does after a week.
        return write(rewriter, *given, **options)

    monkeypatch.setattr(Rewriter, "write", late)
    with pytest.raises(DatasetConflict, match="another writer has taken over"):
        work(store, *([OPTIONS] if work is compact else []))
    assert seen_in(tmp_path) == ids(80)
    assert store.names(STAGING) == []
    assert unlike_the_log(store) == []


def test_the_key_of_a_night_that_has_expired_is_still_known(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    asked: dict[str, Any] = {"request": {"q": 1}, "accounts": ["a", None], "mode": "append"}
    run = open_local(tmp_path, key="2026-01-01", **asked)
    run.commit([], {}, is_complete=True)
    nights(tmp_path, 1)
    expire(store, keep=1, options=OPTIONS)
    again = open_local(tmp_path, key="2026-01-01", **asked)
    assert (again.id, again.is_repeated, again.is_expired) == (run.id, True, True)


def test_files_with_other_columns_keep_them_and_other_types_stay_apart(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    lake = LakeWriter(store)
    lake.open()
    for number, change in enumerate((without_status, as_they_are, with_more, with_texts)):
        run = start(lake)
        file = part(lake, run, number * 20)
        path = store.path(run.staged(file.name))
        pq.write_table(change(pq.read_table(path)), path)
        changed = replace(
            file,
            bytes=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        complete(lake, run, changed, points=POINTS)
    before = [
        row
        for path in sorted(tmp_path.glob("licenses/*"))
        for row in pq.read_table(path).to_pylist()
    ]
    compact(store, OPTIONS)
    [mixed, texts] = sorted(tmp_path.glob("licenses/*"), key=lambda path: -path.stat().st_size)
    assert pq.read_metadata(mixed).num_rows == 60
    assert pq.read_schema(texts).field("available_quantity").type == pa.string()
    after = [*pq.read_table(mixed).to_pylist(), *pq.read_table(texts).to_pylist()]
    assert [{**row, "status": None} if "status" not in row else row for row in before] == [
        {name: value for name, value in row.items() if name != "more" or value} for row in after
    ]
    report = verify_dataset(store)
    assert report.is_sound, report.problems


def as_they_are(table: pa.Table) -> pa.Table:
    return table


def without_status(table: pa.Table) -> pa.Table:
    return table.drop_columns("status")


def with_more(table: pa.Table) -> pa.Table:
    return table.append_column("more", pa.repeat("more", table.num_rows))


def with_texts(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("available_quantity")
    return table.set_column(place, "available_quantity", table["available_quantity"].cast("string"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"superseded": ["licenses/part-20260101T000000Z-00000000-000001-000001.parquet"]}, "Key"),
        ({"segments": 1}, "rows are not those of its runs"),
        ({"rows": 1, "segments": 1}, "does not have the same rows of run"),
        ({"runs": "newest"}, "does not have the same rows of run"),
        ({"number": 0}, "not the name of the next rewritten file"),
        ({"unfinished": True}, "which has not ended"),
    ],
    ids=str,
)
def test_a_record_that_loses_or_doubles_rows_breaks_the_log(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    small_lake(tmp_path, 2)
    lake = load_lake(LocalStore(tmp_path))
    files = [(run.id, run.license_files[0]) for run in lake.oldest_first]
    segments = [[run_id, file.rows] for run_id, file in files]
    segments[0][1] += change.get("segments", 0)
    name = rewritten_name("licenses", "20260101T000000Z", 9, change.get("number", 1))
    rows = sum(file.rows for _, file in files) + change.get("rows", 0)
    body = {
        "files": [{"name": name, "rows": rows, "bytes": 1, "sha256": "", "segments": segments}],
        "superseded": change.get("superseded", [file.name for _, file in files]),
        "runs": [lake.newest_first[0].id] if "runs" in change else [],
    }
    if "number" in change:
        lake.last_rewritten = (9, 0)
    if "unfinished" in change:
        lake.newest_first[0].is_finished = False
    record = {**lake.next_record("expire" if "runs" in change else "rewrite", "n"), **body}
    with pytest.raises((KeyError, ValueError)) as caught:
        lake.fold(record, b"")
    assert says in repr(caught.value)


def test_files_of_a_rewrite_that_no_record_promises_are_deleted_where_they_lie(
    tmp_path: Path,
) -> None:
    """Those of later epochs belong to a writer that has taken over meanwhile."""
    small_lake(tmp_path, 3, "delta")
    compact(LocalStore(tmp_path), OPTIONS)
    lake = load_lake(LocalStore(tmp_path))
    hidden = {one for one in names_in_tables(LocalStore(tmp_path)) if lake.was_hidden(one)}
    epoch = lake.epoch
    names = [rewritten_name("licenses", "20260101T000000Z", one, 99) for one in (epoch, epoch + 9)]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    fill(LocalStore(tmp_path), 4, WantedFormat(name="delta"))
    assert [(tmp_path / name).exists() for name in names] == [False, True]
    assert {*hidden} <= {*names_in_tables(LocalStore(tmp_path))}, "old versions need them"


def test_delta_says_that_a_compaction_changes_no_data_and_that_an_expiry_does(
    tmp_path: Path,
) -> None:
    """So readers that follow the changes of a table do not take the rows again."""
    prepare(tmp_path, "expire", "delta")
    store = LocalStore(tmp_path)
    for work, changes in ((WORKS["compact"], False), (WORKS["expire"], True)):
        work(store)
        [*_, newest] = sorted((tmp_path / "licenses/_delta_log").glob("*.json"))
        actions = [json.loads(line) for line in newest.read_text().splitlines()]
        said = [
            one[kind]["dataChange"] for one in actions for kind in ("add", "remove") if kind in one
        ]
        assert said
        assert {*said} == {changes}


# Death


FORMATS = ("parquet", "delta", "export_date")
"""The last one is Delta with partitions."""
WORKS: dict[str, Callable[[Store], object]] = {
    "compact": lambda store: compact(store, OPTIONS),
    "expire": lambda store: expire(store, keep=KEEP, options=OPTIONS),
}


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process wrote stays, synced or not, and syncing is slow."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def small_lake(dest: Path, count: int, of_format: str = "parquet") -> None:
    """Append runs of one part file a table, of twenty licenses."""
    if of_format != "parquet":
        pytest.importorskip("deltalake")
    chosen = {
        "parquet": WantedFormat(),
        "delta": WantedFormat(name="delta"),
        "export_date": WantedFormat(name="delta", partition_by="export_date"),
    }[of_format]
    fill(LocalStore(dest), count, chosen)


def fill(store: Store, count: int, chosen: WantedFormat) -> None:
    """Append runs to a lake until it has so many."""
    with writer_lock(store):
        lake = LakeWriter(store, chosen)
        for number in range(len(lake.open()), count):
            run = start(lake)
            complete(lake, run, part(lake, run, number * 20), points=POINTS)


def seen_in(dest: Path) -> list[str]:
    """Return the ids that a reader of the lake's format sees, sorted."""
    if not (dest / "licenses/_delta_log").exists():
        return visible_ids(dest)
    from deltalake import DeltaTable  # an extra

    table = DeltaTable(str(dest / "licenses")).to_pyarrow_table(columns=["id"])
    return sorted(table["id"].to_pylist())


def licenses(*numbers: int) -> list[str]:
    return sorted(f"license-{i}" for n in numbers for i in range(n * 20, n * 20 + 20))


ALL, NEWEST = licenses(0, 1, 2, 3), licenses(2, 3)
KEPT = {"compact": ALL, "expire": NEWEST}


def prepare(dest: Path, name: str, of_format: str) -> None:
    """Make a lake of four runs; to expire, the first three in one file, whose third one stays."""
    small_lake(dest, 3, of_format)
    if name == "expire":
        compact(LocalStore(dest), OPTIONS)
    small_lake(dest, 4, of_format)


def check_seen(dest: Path, name: str, of_format: str, when: str) -> None:
    """Check what readers see after a death, before any recovery."""
    seen = seen_in(dest)
    if of_format == "parquet":
        assert {*KEPT[name]} <= {*seen} <= {*ALL}, when
        assert max(Counter(seen).values()) <= 2, when
    else:
        assert seen in (ALL, KEPT[name]), when


def check_done(dest: Path, name: str, when: str) -> None:
    store = LocalStore(dest)
    assert seen_in(dest) == KEPT[name], when
    report = verify_dataset(store)
    assert (report.problems, report.notes, unlike_the_log(store)) == ([], [], []), when
    assert store.names(STAGING) == []
    lake = load_lake(store)
    live = {file.name for file in lake.live_files}
    there = {*names_in_tables(store)}
    assert live <= there
    assert all(lake.was_hidden(one) for one in there - live), when
    assert len(there) == len(live) or lake.is_in_place


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize(
    "stride", [5, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"]
)
@pytest.mark.parametrize("of_format", FORMATS)
@pytest.mark.parametrize("name", WORKS)
def test_a_command_that_dies_at_any_operation_loses_no_row(
    tmp_path: Path, name: str, of_format: str, stride: int
) -> None:
    """Then the next one dies at each of its own, and the last one completes the work."""
    prepare(tmp_path / "start", name, of_format)
    deaths = 0
    for step in itertools.count(1, stride):
        dest = tmp_path / str(step)
        shutil.copytree(tmp_path / "start", dest)
        if not dies(WORKS[name], KilledStore(dest, step)):
            break
        check_seen(dest, name, of_format, f"step {step}")
        for again in itertools.count(1, stride):
            if not dies(WORKS[name], KilledStore(dest, again)):
                break
            deaths += 1
            check_seen(dest, name, of_format, f"step {step}, then {again}")
        WORKS[name](LocalStore(dest))
        check_done(dest, name, f"step {step}")
    assert deaths > 40 // stride**2


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("name", WORKS)
def test_what_died_is_completed_by_the_next_export(tmp_path: Path, name: str) -> None:
    prepare(tmp_path / "start", name, "parquet")
    for step in itertools.count(2, 4):
        dest = tmp_path / str(step)
        shutil.copytree(tmp_path / "start", dest)
        if not dies(WORKS[name], KilledStore(dest, step)):
            break
        small_lake(dest, 5)
        assert seen_in(dest) in (licenses(*range(5)), licenses(2, 3, 4))
        check_sound(dest)


def dies(work: Callable[[Store], object], store: Store) -> bool:
    try:
        work(store)
    except Killed:
        return True
    return False


@pytest.mark.parametrize("of_format", FORMATS)
def test_a_reader_sees_every_row_all_the_while_and_of_delta_once(
    tmp_path: Path, of_format: str
) -> None:
    small_lake(tmp_path, 6, of_format)
    store = LocalStore(tmp_path)
    everything, newest = licenses(*range(6)), licenses(4, 5)
    wrong: list[object] = []
    is_over = threading.Event()
    looks = 0

    def look() -> None:
        """A file that goes while a reader of Parquet opens it is an error there: look again."""
        nonlocal looks
        with suppress(FileNotFoundError):
            seen = seen_in(tmp_path)
            looks += 1
            is_right = seen in (everything, newest)
            if of_format == "parquet":
                is_right = {*newest} <= {*seen} <= {*everything}
            if not is_right:
                wrong.append(seen)

    def read() -> None:
        while not is_over.is_set():
            try:
                look()
            except BaseException as error:  # noqa: BLE001  (the test shows it)
                wrong.append(error)

    reader = threading.Thread(target=read, name="tests-reader")
    reader.start()
    try:
        compact(store, replace(OPTIONS, part_bytes=60_000))
        compact(store, OPTIONS)
        expire(store, keep=2, options=OPTIONS)
    finally:
        is_over.set()
        reader.join()
    assert wrong == []
    assert looks
    assert seen_in(tmp_path) == newest
    report = verify_dataset(store)
    assert (report.problems, report.notes, unlike_the_log(store)) == ([], [], [])
    assert len([file for file in load_lake(store).live_files if "licenses/" in file.name]) == 1


# Elsewhere


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize(
    "stride", [13, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"]
)
@pytest.mark.parametrize("name", WORKS)
def test_readers_of_iceberg_see_every_row_once_whatever_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stride: int
) -> None:
    """Iceberg's metadata has whole paths, so the lake itself is brought back for each death."""
    pytest.importorskip("pyiceberg")
    from tests.tables.iceberg_lake import use_catalog  # an extra
    from tests.tables.test_iceberg_lake import TestIcebergLake

    lakes = TestIcebergLake()
    use_catalog(tmp_path, monkeypatch.setenv)
    dest = tmp_path / "lake"
    store = LocalStore(dest)
    fill(store, 3, lakes.format)
    if name == "expire":
        compact(store, OPTIONS)
    fill(store, 4, lakes.format)
    for step in itertools.count(1, stride):
        lakes.copied(dest, "")
        is_dead = dies(WORKS[name], KilledStore(dest, step))
        assert lakes.visible(store) in (ALL, KEPT[name]), f"step {step}"
        WORKS[name](store)
        assert lakes.visible(store) == KEPT[name], f"step {step}"
        report = verify_dataset(store)
        assert (report.problems, report.notes, unlike_the_log(store)) == ([], [], [])
        if not is_dead:
            break
    assert step > 5


def test_a_lake_in_a_bucket_is_compacted_and_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MotoServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = opened(server.dest("upkeep"), tmp_path / "scratch")
        fill(store, 4, WantedFormat())
        for work, ids in (("compact", ALL), ("expire", NEWEST)):
            WORKS[work](store)
            assert ids_in(store) == ids
            report = verify_dataset(store)
            assert (report.problems, report.notes) == ([], [])
            assert len(names_in_tables(store)) == len(TABLES)
        fill(store, 5, WantedFormat())
        assert ids_in(store) == licenses(2, 3, 4)
        assert [one.name for one in (tmp_path / "scratch").rglob("*.staged")] == []


def ids_in(store: Store) -> list[str]:
    """Return the ids in the licenses that a listing shows, sorted."""
    ids: list[str] = []
    for name in store.names("licenses"):
        with store.open(f"licenses/{name}") as content:
            ids += pq.read_table(content, columns=["id"])["id"].to_pylist()
    return sorted(ids)
