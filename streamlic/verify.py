"""Whether a dataset is what its commit log promises: every file, every byte, every row."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.commits import Run, is_removed, load_run, run_ids
from streamlic.errors import IntegrityError, StoreError
from streamlic.store import LOG_DIRECTORY, LocalStore

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
    for run_id in run_ids(store):
        with suppress(IntegrityError, StoreError):
            run = load_run(store, run_id)
            total += sum(file.bytes for file in run.files) if run else 0
    return total


def verify_dataset(store: LocalStore, on_bytes: OnBytes | None = None) -> VerifyReport:
    """Read the whole dataset and compare it with its commit log. Nothing is written.

    ``on_bytes`` is told of each file that is done.
    """
    report = VerifyReport()
    if not store.names(LOG_DIRECTORY):
        report.problems.append(f"{store.root} is no dataset of streamlic: it has no commit log")
        return report
    seen: set[str] = set()
    for run_id in run_ids(store):
        try:
            run = load_run(store, run_id)
        except (IntegrityError, StoreError) as error:
            report.problems.append(str(error))
            continue
        if run:
            report.runs += 1
            seen.update(file.name for file in run.files if run.is_published)
            _verify_run(store, run, report, on_bytes)
        elif is_removed(store, run_id):
            report.problems.append(f"run {run_id} is half removed: {_TIDY}")
    if not report.runs and not report.problems:
        report.problems.append(f"{store.root} is no dataset of streamlic: it has no run")
    report.problems.extend(
        f"{name}: no commit record speaks of it"
        for name in store.names()
        if name != LOG_DIRECTORY and name not in seen
    )
    return report


def _verify_run(
    store: LocalStore, run: Run, report: VerifyReport, on_bytes: OnBytes | None
) -> None:
    if not run.is_complete:
        report.notes.append(
            f"run {run.id} is unfinished, with {run.rows} rows: run the same export again"
        )
    elif store.exists(run.staging):
        report.problems.append(f"run {run.id} was cut short while it was published: {_TIDY}")
    for file in run.files:
        name = file.name
        if not store.exists(name) and store.exists(f"{run.staging}/{name}"):
            name = f"{run.staging}/{name}"
        try:
            problem = _problem_of(store, name, file.rows, file.bytes, file.sha256)
        except StoreError as error:
            problem = str(error)
        if problem:
            report.problems.append(f"{file.name}: {problem}")
        report.files += 1
        report.rows += file.rows
        report.bytes += file.bytes
        if on_bytes:
            on_bytes(file.bytes)


def _problem_of(store: LocalStore, name: str, rows: int, size: int, sha256: str) -> str | None:
    if not store.exists(name):
        return "missing"
    if store.size(name) != size:
        return f"expected {size} bytes, got {store.size(name)}"
    if store.sha256(name) != sha256:
        return "its content was altered: the SHA-256 differs"
    try:
        in_footer = pq.read_metadata(store.path(name)).num_rows
    except (OSError, pa.ArrowException) as error:
        return f"no readable Parquet: {error}"
    return None if in_footer == rows else f"expected {rows} rows, got {in_footer}"
