"""Whether a dataset is what its commit log promises: every file, every byte, every row.

A writer may be at work meanwhile:

1. A part file is looked for in its place, in staging, and in its place again: it moves once. What
   is found there is read from one open file, wherever that moves.
2. A problem of a file counts if the log, read after it was seen, still promises the file. Before a
   writer deletes a file, its log says so.
3. What a writer leaves for a moment is a problem if it is still there after no writer was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.dataset.commit_log import PART_PREFIX, Run, is_removed, load_run, run_ids
from streamlic.dataset.writer import PartFile
from streamlic.errors import IntegrityError, StoreError
from streamlic.formatting import counted
from streamlic.storage.local import LOG_DIRECTORY, LocalStore

_TIDY = "the next export into this DEST, of whatever mode, completes it first"


@dataclass
class VerifyReport:
    """What was read, and every problem found; ``notes`` are no problems."""

    runs: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether the dataset is what was promised."""
        return not self.problems


OnBytes = Callable[[int], None]


def promised_bytes(store: LocalStore) -> int:
    """Return the size of all promised part files, as far as the commit log can be read."""
    total = 0
    for run_id in () if store.why_no_dataset() else run_ids(store):
        with suppress(IntegrityError, StoreError):
            run = load_run(store, run_id)
            total += sum(file.bytes for file in run.files) if run else 0
    return total


def verify_dataset(store: LocalStore, on_bytes: OnBytes | None = None) -> VerifyReport:
    """Read the whole dataset and compare it with its commit log. Nothing is written.

    ``on_bytes`` is told of each file that is done. A writer may be at work meanwhile: what it is in
    the midst of is noted, and no problem.
    """
    report = VerifyReport()
    if why := store.why_no_dataset():
        report.problems.append(why)
        return report
    names = store.names()  # Before the log is read: what is in place then is promised by then.
    seen: set[str] = set()
    for run_id in run_ids(store):
        run = _loaded(store, run_id, report)
        if run:
            report.runs += 1
            seen.update(file.name for file in run.files if run.is_published)
            _verify_run(store, run, report, on_bytes)
        elif is_removed(store, run_id):
            _note_unfinished(
                store,
                report,
                f"run {run_id} is half removed",
                partial(is_removed, store, run_id),
            )
            seen.update(name for name in names if name.startswith(f"{PART_PREFIX}{run_id}-"))
    if not (report.runs or report.problems or report.notes):
        if writer := store.writer():
            report.notes.append(f"it has no run yet: {writer}")
        elif any(load_run(store, run_id) for run_id in run_ids(store)):
            return verify_dataset(store, on_bytes)  # The writer has ended meanwhile.
        else:
            report.problems.append(f"{store.root} is no dataset of streamlic: it has no run")
    report.problems.extend(
        f"{name}: no commit record speaks of it"
        for name in names
        if name != LOG_DIRECTORY and name not in seen and store.exists(name)
    )
    return report


def _loaded(store: LocalStore, run_id: str, report: VerifyReport) -> Run | None:
    """Return a run, if it is one."""
    try:
        return load_run(store, run_id)
    except (IntegrityError, StoreError) as error:
        report.problems.append(str(error))
        return None


def _note_unfinished(
    store: LocalStore, report: VerifyReport, what: str, is_still_so: Callable[[], bool]
) -> None:
    """Note what a writer is in the midst of; without one it is a problem.

    One that has ended since then may have ended that too: so it is looked at once more.
    """
    writer = store.writer()
    if not is_still_so():
        return
    if writer:
        report.notes.append(f"{what}: {writer}")
    else:
        report.problems.append(f"{what}: {_TIDY}")


def _verify_run(
    store: LocalStore, run: Run, report: VerifyReport, on_bytes: OnBytes | None
) -> None:
    if not run.is_complete:
        report.notes.append(
            f"run {run.id} is unfinished, with {counted(run.rows, 'row')}: "
            "run the same export again"
        )
    what = f"run {run.id} was cut short while it was published"
    if _is_hidden(store, run):
        what += ", and readers do not see all of its rows"
        _note_unfinished(store, report, what, lambda: _is_hidden(store, run))
    elif _is_left_staged(store, run):
        _note_unfinished(store, report, what, lambda: _is_left_staged(store, run))
    of_accounts = sum(run.account_rows.values())
    if of_accounts != run.rows:
        report.problems.append(
            f"run {run.id}: its accounts have {of_accounts} rows, its part files {run.rows}"
        )
    for file in run.files:
        problem = _problem_of(store, run, file)
        if problem and _is_promised(store, run.id, file):
            report.problems.append(f"{file.name}: {problem}")
        report.files += 1
        report.rows += file.rows
        report.bytes += file.bytes
        if on_bytes:
            on_bytes(file.bytes)


def _is_hidden(store: LocalStore, run: Run) -> bool:
    """Whether a part file that readers must see is in staging yet."""
    hidden = [file for file in run.files if not store.exists(file.name)]
    return run.is_published and any(store.exists(_staged(run, file)) for file in hidden)


def _is_left_staged(store: LocalStore, run: Run) -> bool:
    """Whether a complete run has not ended its work."""
    return run.is_complete and store.exists(run.staging) and not is_removed(store, run.id)


def _is_promised(store: LocalStore, run_id: str, file: PartFile) -> bool:
    """Whether the log promises a part file now: not if its run was replaced, or it superseded."""
    try:
        run = load_run(store, run_id)
    except (IntegrityError, StoreError):
        return True
    return run is not None and file in run.files


def _staged(run: Run, file: PartFile) -> str:
    return f"{run.staging}/{file.name}"


def _problem_of(store: LocalStore, run: Run, file: PartFile) -> str | None:
    """Say what is wrong with a promised file, in its place or on the way there."""
    for name in (file.name, _staged(run, file), file.name):  # It may be moved meanwhile.
        path = store.path(name)
        try:
            with path.open("rb") as opened:
                return _problem_in(opened, file)
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}"
    return "missing"


def _problem_in(opened: BufferedReader, file: PartFile) -> str | None:
    size = os.fstat(opened.fileno()).st_size
    if size != file.bytes:
        return f"expected {file.bytes} bytes, got {size}"
    if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
        return "its content was altered: the SHA-256 differs"
    try:
        in_footer = pq.read_metadata(opened).num_rows
    except (OSError, pa.ArrowException) as error:
        return f"no readable Parquet: {error}"
    if in_footer != file.rows:
        return f"expected {counted(file.rows, 'row')}, got {in_footer:,}"
    return None
