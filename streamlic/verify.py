"""Whether a dataset is what its commit log promises: every file, every byte, every row."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.amounts import counted
from streamlic.commits import PART_PREFIX, Run, is_removed, load_run, run_ids
from streamlic.dataset import PartFile
from streamlic.errors import IntegrityError, StoreError
from streamlic.store import LOG_DIRECTORY, LocalStore

_TIDY = "the next export into this DEST, of whatever mode, completes it first"
_WRITERS_STEP_SECONDS = 0.5


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
            _note_unfinished(store, report, f"run {run_id} is half removed")
            seen.update(name for name in names if name.startswith(f"{PART_PREFIX}{run_id}-"))
    if not (report.runs or report.problems or report.notes):
        report.problems.append(f"{store.root} is no dataset of streamlic: it has no run")
    report.problems.extend(
        f"{name}: no commit record speaks of it"
        for name in names
        if name != LOG_DIRECTORY and name not in seen and store.exists(name)
    )
    return report


def _loaded(store: LocalStore, run_id: str, report: VerifyReport) -> Run | None:
    """Return a run, if it is one; read twice where a writer may have been in the midst of it."""
    for is_last in (not store.writer(), True):
        try:
            return load_run(store, run_id)
        except (IntegrityError, StoreError) as error:
            if is_last:
                report.problems.append(str(error))
                break
            time.sleep(_WRITERS_STEP_SECONDS)
    return None


def _note_unfinished(store: LocalStore, report: VerifyReport, what: str) -> None:
    """Note what a writer is in the midst of; without one it is a problem."""
    writer = store.writer()
    if writer:
        report.notes.append(f"{what}: a writer is at work ({writer})")
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
    hidden = [file for file in run.files if not store.exists(file.name)]
    is_hidden = run.is_published and any(store.exists(_staged(run, file)) for file in hidden)
    if is_hidden or (run.is_complete and store.exists(run.staging)):
        what = f"run {run.id} was cut short while it was published"
        if is_hidden:
            what += ", and readers do not see all of its rows"
        _note_unfinished(store, report, what)
    for file in run.files:
        problem = _problem_of(store, run, file)
        if problem and load_run(store, run.id):  # It may have been replaced meanwhile.
            report.problems.append(f"{file.name}: {problem}")
        report.files += 1
        report.rows += file.rows
        report.bytes += file.bytes
        if on_bytes:
            on_bytes(file.bytes)


def _staged(run: Run, file: PartFile) -> str:
    return f"{run.staging}/{file.name}"


def _problem_of(store: LocalStore, run: Run, file: PartFile) -> str | None:
    """Say what is wrong with a promised file, in its place or on the way there."""
    for name in (file.name, _staged(run, file), file.name):  # It may be moved meanwhile.
        if store.exists(name):
            try:
                return _problem_at(store, name, file)
            except StoreError as error:
                if store.exists(name):
                    return str(error)
    return "missing"


def _problem_at(store: LocalStore, name: str, file: PartFile) -> str | None:
    if store.size(name) != file.bytes:
        return f"expected {counted(file.bytes, 'byte')}, got {store.size(name):,}"
    if store.sha256(name) != file.sha256:
        return "its content was altered: the SHA-256 differs"
    try:
        in_footer = pq.read_metadata(store.path(name)).num_rows
    except (OSError, pa.ArrowException) as error:
        return f"no readable Parquet: {error}"
    if in_footer != file.rows:
        return f"expected {counted(file.rows, 'row')}, got {in_footer:,}"
    return None
