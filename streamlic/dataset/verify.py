"""Whether a lake is what its commit log promises: every file, every byte, every row.

A writer may be active meanwhile:

1. A part file is looked for in its table, in staging, and in its table again: it is published
   once. Its content is read from one open file, even if that is published meanwhile.
2. A problem of a file counts if the log, read after it was seen, still promises the file. Before a
   writer deletes a file, its log says so.
3. What a writer leaves for a moment is a problem if it is still there after the writer ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from streamlic.dataset.commit_log import (
    in_full,
    load_lake,
    numbers_in,
    read_snapshot,
    record_name,
)
from streamlic.dataset.destination import active_writer, pending_step, why_no_dataset
from streamlic.dataset.lake import (
    ACCOUNTS,
    LICENSES,
    RECORDS,
    RUNS,
    SNAPSHOTS,
    TABLES,
    foreign_names,
    names_in_tables,
    rewritten_place,
    run_of,
    staged_name,
    table_of,
)
from streamlic.dataset.lake_state import COMPLETE, EXPIRE, REMOVE, REWRITE, LakeState
from streamlic.dataset.part_file import problem_in
from streamlic.dataset.records import PartFile, parsed
from streamlic.dataset.run_state import RunState
from streamlic.dataset.run_tables import accounts_of
from streamlic.errors import DatasetConflict, IntegrityError, StoreError, UsageError
from streamlic.formatting import counted
from streamlic.storage.base import NotFound, Store

_TIDY = "the next export into this lake, of whatever mode, completes it first"


@dataclass
class TableReport:
    """What was read of a table."""

    files: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass
class VerifyReport:
    """What was read, and every problem found; ``notes`` are not problems.

    ``rows`` are licenses, ``files`` and ``bytes`` those of all ``tables``.
    """

    runs: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    tables: dict[str, TableReport] = field(
        default_factory=lambda: {table: TableReport() for table in TABLES}
    )
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether the dataset is what its log promises."""
        return not self.problems


OnBytes = Callable[[int], None]


def promised_bytes(store: Store) -> int:
    """Return the size of all promised part files, as far as the commit log can be read."""
    with suppress(IntegrityError, StoreError, DatasetConflict):
        lake = LakeState() if why_no_dataset(store) else load_lake(store)
        return sum(file.bytes for file in lake.live_files)
    return 0


def verify_dataset(store: Store, on_bytes: OnBytes | None = None) -> VerifyReport:
    """Read the whole dataset and compare it with its commit log. Nothing is written.

    ``on_bytes`` gets the size of each file after it was read. A writer may be active meanwhile: its
    current step is a note, not a problem. Raises UsageError if there is no lake.
    """
    report = VerifyReport()
    if why := why_no_dataset(store):
        raise UsageError(why)
    names = names_in_tables(store)  # Before the log is read: the log promises each of them by then.
    try:
        lake = load_lake(store)
    except (IntegrityError, StoreError) as error:
        report.problems.append(error.described())
        return report
    report.problems += _log_problems(store, lake)
    seen = {name for name in names if _is_of_pending(lake, name)}
    for run in lake.oldest_first:
        report.runs += 1
        seen.update(file.name for file in _in_tables(run))
        _verify_run(store, run, report, on_bytes)
    for one in lake.live_rewritten:
        seen.add(one.file.name)
        _verify_file(store, one.file, report, on_bytes)
    _note_pending(store, lake, report)
    if not lake.runs and lake.pending is None:
        _note_no_run(store, report)
    report.problems.extend(
        f"{name}: not in the commit log"
        for name in (*foreign_names(store), *names)
        if name not in seen
        and not lake.was_hidden(name)
        and _is_there(store, lake, name)
        and not _is_in_progress(store, lake, name)
    )
    return report


def _is_there(store: Store, lake: LakeState, name: str) -> bool:
    """Return whether there is a foreign file, or a directory that the next export would refuse.

    In the tables' directories of formats with logs of their own, other programs have directories.
    """
    directory, _, last = name.rpartition("/")
    if directory and lake.is_in_place:
        return store.exists(name)
    return last in store.names(directory)


def _in_tables(run: RunState) -> list[PartFile]:
    """Return the part files of a run that may be in the tables' directories."""
    if run.is_in_place:
        return run.files
    return run.live_files if run.is_published else []


def _is_of_pending(lake: LakeState, name: str) -> bool:
    """Return whether a file may go, because a record that hides it is not finished."""
    record = lake.pending
    if record is None:
        return False
    if record["kind"] == REMOVE:
        return name in record["files"] or run_of(name) in record["runs"]
    if record["kind"] in (REWRITE, EXPIRE):
        return name in record["superseded"]
    replaced = lake.runs[record["run"]].replaces if record["kind"] == COMPLETE else []
    rewritten = (one.file.name for one in lake.rewritten_licenses_of(replaced))
    return (table_of(name) == LICENSES and run_of(name) in replaced) or name in rewritten


def _is_in_progress(store: Store, lake: LakeState, name: str) -> bool:
    """Return whether an active writer may be writing this file where it will stay."""
    run = lake.runs.get(run_of(name) or "")
    is_staged = run.is_in_place if run else lake.is_in_place and rewritten_place(name) is not None
    return is_staged and bool(active_writer(store))


def _note_no_run(store: Store, report: VerifyReport) -> None:
    if writer := active_writer(store):
        report.notes.append(f"it has no run yet: {writer}")
    elif not load_lake(store).runs:  # A writer may have ended meanwhile.
        report.problems.append(f"{store.where()} is not a streamlic lake: it has no run")


def _note_pending(store: Store, lake: LakeState, report: VerifyReport) -> None:
    """Note the step that a writer is in; without a writer it is a problem."""
    what, is_written = interrupted_step(store, lake)
    if what:
        (report.notes if is_written else report.problems).append(what)


def interrupted_step(store: Store, lake: LakeState) -> tuple[str, bool]:
    """Say which step is not done and who does it, and whether a writer does it now.

    A writer that ended since then may have finished the step: so this looks once more.
    """
    what = pending_step(store, lake)
    writer = active_writer(store) if what else ""
    if not what or not pending_step(store, load_lake(store)):
        return "", False
    return f"{what}: {writer or _TIDY}", bool(writer)


def _log_problems(store: Store, lake: LakeState) -> list[str]:
    """Return what is wrong with the records up to the state's, and with the snapshots.

    Old records may have been deleted: then the next one cannot be compared with the one before it.
    """
    problems = []
    before, digest = 0, ""
    for number, data in _records(store, lake.number):
        where = record_name(number)
        try:
            record = parsed(data, where)
        except IntegrityError as error:
            problems.append(error.described())
            continue
        if number == before + 1 and record["previous_sha256"] != digest:
            problems.append(f"{where}: the record before it was altered")
        before, digest = number, hashlib.sha256(data).hexdigest()
    for number in numbers_in(store, SNAPSHOTS):
        try:
            with suppress(NotFound):  # A writer has deleted it meanwhile.
                read_snapshot(store, number)
        except IntegrityError as error:
            problems.append(error.described())
    return problems


def _records(store: Store, last: int) -> Iterator[tuple[int, bytes]]:
    """Yield the records up to a number. A writer may delete old ones after they were listed."""
    done = 0
    while True:
        numbers = [number for number in numbers_in(store, RECORDS) if done < number <= last]
        contents = store.read_each(map(record_name, numbers))
        try:
            for number, data in zip(numbers, contents, strict=True):
                yield number, data
                done = number
        except NotFound:
            absent = next(number for number in numbers if number > done)
            if absent in numbers_in(store, RECORDS):
                raise
        else:
            return


def _verify_run(
    store: Store, shed: RunState, report: VerifyReport, on_bytes: OnBytes | None
) -> None:
    try:
        run = in_full(store, shed)
    except (IntegrityError, StoreError) as error:
        now = _now(store, shed.id)
        if error.described() not in report.problems and now and not now.is_expired:
            report.problems.append(error.described())
        return
    if not run.is_complete:
        report.notes.append(
            f"run {run.id} is unfinished, with {counted(run.rows, 'row')}: {_to_resume(run)}"
        )
    of_accounts = sum(run.account_rows.values())
    if of_accounts != run.rows and not run.is_expired:
        report.problems.append(
            f"run {run.id}: its accounts have {of_accounts} rows, its part files {run.rows}"
        )
    if not run.is_expired:
        report.problems += _problems_of_tables(run)
    for file in run.live_files:
        _verify_file(store, file, report, on_bytes)


def _to_resume(run: RunState) -> str:
    """Say what to do about an unfinished run."""
    left = [str(one) for one in range(1, run.shards.of + 1) if one not in run.shards.ended]
    if not left:
        return "run the same export again"
    return (
        f"{counted(len(left), 'shard')} of {run.shards.of} {'has' if len(left) == 1 else 'have'} "
        f"not ended, such as {left[0]}: run their exports again"
    )


def _verify_file(
    store: Store, file: PartFile, report: VerifyReport, on_bytes: OnBytes | None
) -> None:
    problem = _problem_of(store, file)
    if problem and _is_promised(store, file):
        report.problems.append(f"{file.name}: {problem}")
    _count(report, file)
    if on_bytes:
        on_bytes(file.bytes)


def _count(report: VerifyReport, file: PartFile) -> None:
    of_table = report.tables[table_of(file.name)]
    of_table.files += 1
    of_table.rows += file.rows
    of_table.bytes += file.bytes
    report.files += 1
    report.rows = report.tables[LICENSES].rows
    report.bytes += file.bytes


def _problems_of_tables(run: RunState) -> Iterator[str]:
    """Yield what is wrong with the rows that a run promises of ``accounts`` and ``runs``."""
    expected = {ACCOUNTS: len(accounts_of(run)), RUNS: 1} if run.is_complete else {}
    for table in (ACCOUNTS, RUNS):
        rows = run.totals(table).rows
        if rows != expected.get(table, 0):
            state = "complete" if run.is_complete else "not complete"
            yield (
                f"run {run.id} is {state}: expected "
                f"{counted(expected.get(table, 0), 'row')} of {table}, got {rows:,}"
            )


def _is_promised(store: Store, file: PartFile) -> bool:
    """Return whether the log promises a part file now: its run may be replaced, it superseded."""
    try:
        return file in load_lake(store).live_files
    except (IntegrityError, StoreError):
        return True


def _now(store: Store, run_id: str) -> RunState | None:
    return load_lake(store).runs.get(run_id)


def _problem_of(store: Store, file: PartFile) -> str | None:
    """Return what is wrong with a promised file, published or staged."""
    for name in (file.name, staged_name(file.name), file.name):  # It may be published meanwhile.
        try:
            with store.open(name) as opened:
                return problem_in(opened, file)
        except NotFound:
            continue
        except StoreError as error:
            return f"cannot be read: {error}"
        except OSError as error:
            return f"{store.where(name)} cannot be read: {error.strerror or error}"
    return "missing"
