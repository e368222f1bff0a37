"""What a lake promises: part files and resume points become visible together, or not at all.

Rules:
1. Part files are durable before a record of the log names them; the record is durable before
   readers see them. A crash between any two steps leaves what ``open`` completes or deletes, and a
   crash in ``open`` leaves what the next one does.
2. Readers never see rows of a file that no record promises.
3. A run shows nothing until it is complete, unless it was started to show what it "commits". Then
   its files become visible: licenses first, the row of ``runs`` last. The licenses of the runs that
   it replaces go; their rows of ``accounts`` and ``runs`` stay.
4. The record that completes such a run may supersede part files of its earlier records. Readers
   have not seen them, and the record's own part files have the rows of theirs that count.
5. The same holds where rows only move to other part files, and for licenses that expire.
6. Taking over is a record of its own, before anything is deleted. A writer whose record is refused
   deletes its own staged files, and ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from streamlic.dataset.batch_sizes import opened
from streamlic.dataset.commit_log import CommitLog, load_lake
from streamlic.dataset.destination import Fenced, delete_partial_files
from streamlic.dataset.lake import (
    STAGING,
    TABLES,
    epoch_of,
    names_in_tables,
    rewritten_place,
    run_of,
    staged_name,
    table_of,
)
from streamlic.dataset.lake_state import (
    BEGIN,
    CLAIM,
    COMMIT,
    COMPLETE,
    EXPIRE,
    FINISH,
    REMOVE,
    REWRITE,
    LakeState,
)
from streamlic.dataset.records import PartFile, Promise, Rewritten, WantedFormat
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import DatasetConflict, IntegrityError, StoreError
from streamlic.storage.base import Store
from streamlic.system.process import this_process
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.formats import format_of
from streamlic.tables.table_format import Change, Kept, missing_file
from streamlic.tables.table_options import format_for


class LakeWriter:
    """The one writer of a lake, while it holds the lake's lock.

    ``open`` comes first. ``wanted`` is the format of a new lake; one that exists must have it.
    """

    lake: LakeState

    def __init__(self, store: Store, wanted: WantedFormat | None = None) -> None:
        self.store = store
        self._wanted = wanted

    @property
    def runs(self) -> list[RunState]:
        """The runs, oldest first. Those that have ended may have shed their accounts."""
        return self.lake.oldest_first

    def open(self, *, leaves_unfinished: bool = False) -> list[RunState]:
        """Claim the lake; complete what was promised, delete what was not; return the runs.

        ``leaves_unfinished`` leaves a run alone that the caller will remove: it may be past
        recovery. Raises IntegrityError if the log is damaged, or a promised file is missing.
        """
        self.lake = load_lake(self.store)
        self._check_format()
        self._log = CommitLog(self.store, self.lake)
        self._log.append(CLAIM, {"writer": this_process()})
        delete_partial_files(self.store)
        unfinished = [run for run in self.runs if not run.is_complete]
        for run in self.runs:
            run.epoch = self.lake.epoch
        self._existing = self.lake.tables_seen()
        self._sweep_rewritten()
        if not (leaves_unfinished and unfinished):
            self._sweep()
            with self.fenced():
                for run in unfinished:
                    self._check_staged(run)
        self._show_pending(leaves_unfinished=leaves_unfinished)
        return self.runs

    def begin(self, run: RunState) -> RunState:
        """Start a run: its request is then durable."""
        record = self._log.append(BEGIN, run.request_as_json())
        started = self.lake.runs[record["run"]]
        started.epoch = self.lake.epoch
        prepare_directories(self.store, started)
        return started

    def check_tables(self, run: RunState) -> None:
        """Raise an error if the tables are not as the run needs them, before it reads anything.

        Raises one, too, if the run could not be published.
        """
        with self.fenced():
            hidden = self.lake.names_of_licenses(run.replaces)
            self._tables.try_out(self._change(COMPLETE, run, (), hidden))

    def commit(self, run: RunState, promise: Promise) -> None:
        """Promise staged files and resume points, then show readers what they may see.

        ``run`` is brought up to date. Readers have not seen what ``promise`` supersedes.
        """
        self.lake.runs[run.id] = run
        body = {"run": run.id, **promise.as_json()}
        kind = COMPLETE if promise.is_complete else COMMIT
        self._promise(kind, body, promise.files, promise)

    def complete(self, run: RunState, writer: DatasetWriter, ending: Ending) -> None:
        """Commit what ``writer`` has, and that the run is complete: see ``complete_run``."""
        complete_run(self, run, writer, ending)

    def remove(self, *run_ids: str) -> None:
        """Remove runs with their rows. ``open`` completes an interrupted removal."""
        runs = [self.lake.runs[run_id] for run_id in run_ids if run_id in self.lake.runs]
        if not runs:
            return
        gone = {run.id for run in runs}
        of_runs = [name for name in names_in_tables(self.store) if run_of(name) in gone]
        staged = [f"{STAGING}/{name}" for name in self.store.names(STAGING)]
        promised = {run.staged(file.name) for run in runs for file in run.files}
        if not self.format.is_in_place:
            seen, unseen = of_runs, [name for name in staged if name in promised]
        else:
            shown = (file for run in runs if run.is_published for file in run.live_files)
            seen = [file.name for file in shown]
            unseen = [name for name in of_runs if name not in {*seen}]
        names = {"runs": [*gone], "files": seen, "unseen": unseen}
        self._promise(REMOVE, names, ())

    def rewrite(
        self, files: Sequence[Rewritten], superseded: Collection[str], expired: Sequence[str] = ()
    ) -> None:
        """Promise files in place of others, then show readers these instead.

        They have the same rows, without the licenses of the runs that have ``expired``.
        """
        body = {
            "files": [one.as_json() for one in files],
            "superseded": [*superseded],
            "runs": [*expired],
        }
        self._promise(EXPIRE if expired else REWRITE, body, [one.file for one in files])

    def delete_old_records(self) -> int:
        """Delete the records of the log that no run needs any longer; return how many."""
        return self._log.delete_old_records()

    def forget_versions(self, keep_days: int) -> list[str]:
        """Let old versions of the format's tables go, with the files that only they needed.

        Returns the names of these files. Plain Parquet has no versions.
        """
        names = {file.name for file in self.lake.live_files}
        # Shards may write and commit meanwhile.
        unfinished = {run.id for run in self.runs if not run.is_finished}
        kept = Kept(names, self.lake.epoch, unfinished)
        return self._tables.forget_versions(keep_days, kept)

    def staged(self, name: str) -> str:
        """Return where a part file is until readers may see it."""
        return name if self.format.is_in_place else staged_name(name)

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Raise Fenced in place of an error if another process has become the writer.

        It has published or deleted what this one misses.
        """
        try:
            yield
        except (DatasetConflict, IntegrityError, StoreError):
            self._log.check_epoch()
            raise

    def _promise(
        self,
        kind: str,
        body: Mapping[str, Any],
        files: Sequence[PartFile],
        promise: Promise | None = None,
    ) -> None:
        """Append a record that promises these files, and show it. Fenced, delete them staged."""
        try:
            if kind != COMMIT:
                self._check(kind, body, files)
            record = self._log.append(kind, body, promise)
        except Fenced:
            with suppress(StoreError):
                self.store.delete(*(self.staged(file.name) for file in files))
            raise
        self._show(record)
        self._log.write_snapshot_if_due()

    def _check_format(self) -> None:
        self.format = format_for(self.store.where(), self._wanted, self.lake.format)
        self._tables = format_of(self.store, self.format)

    def _check(self, kind: str, body: Mapping[str, Any], files: Sequence[PartFile]) -> None:
        """Raise what would keep readers from seeing a change, before a record promises it."""
        run = self.lake.runs[body["run"]] if kind == COMPLETE else None
        if run:
            hidden = self.lake.names_of_licenses(run.replaces)
        else:
            hidden = body["files"] if kind == REMOVE else body["superseded"]
        with self.fenced():
            self._tables.check(self._change(kind, run, files, hidden))

    def _show(self, record: Mapping[str, Any]) -> None:
        """Show and hide what a record says; then no work of it is left."""
        kind, hidden = record["kind"], list[str]()
        run = self.lake.runs[record["run"]] if kind in (COMMIT, COMPLETE) else None
        if run and not run.is_published:
            return
        if kind == REMOVE:
            hidden = record["files"]
            self.store.delete(*record["unseen"])
        elif kind in (REWRITE, EXPIRE):
            hidden = record["superseded"]
        elif run and run.is_complete:
            hidden = self.lake.names_of_licenses(run.replaces)
        with self.fenced():
            change = self._change(kind, run, self.lake.shown_by(record), hidden, record["number"])
            self._tables.show(change)
        self._existing |= {table_of(file.name) for file in change.shown}
        if kind != COMMIT:
            self._sweep()
            self._log.append(FINISH, {"runs": [run.id] if run else []})

    def _change(
        self,
        kind: str,
        run: RunState | None,
        shown: Sequence[PartFile],
        hidden: Sequence[str],
        number: int = 0,
    ) -> Change:
        return Change(
            lake=self.lake.id,
            number=number or self.lake.number + 1,
            run=run.id if run else "",
            shown=shown,
            hidden=hidden,
            schemas=self._schemas(shown),
            is_rewrite=kind == REWRITE,
            is_recorded=number > 0,
            existing=frozenset(self._existing),
            live=frozenset(file.name for file in self.lake.live_files) if hidden else None,
        )

    def _schemas(self, shown: Sequence[PartFile]) -> dict[str, pa.Schema]:
        """Return the tables' schemas, of ``licenses`` as its part files have it."""
        if not self.format.is_in_place:
            return {}
        schemas = {}
        for file in shown:
            table = table_of(file.name)
            if table not in schemas:
                with opened(self.store, file.name) as part:
                    schemas[table] = part.schema_arrow
        return schemas

    def _show_pending(self, *, leaves_unfinished: bool) -> None:
        record = self.lake.pending
        if record is None or (record["kind"] == COMMIT and leaves_unfinished):
            return
        if record["kind"] == COMPLETE:
            self.lake.runs[record["run"]].completed_unreported = True
        self._show(record)

    def _sweep(self) -> None:
        """Delete part files that no record promises, and readers have never seen.

        Those of later epochs belong to a writer that has taken over meanwhile, and those of shards
        that are being read to their writers.
        """
        promised = {
            run.staged(file.name)
            for run in self.runs
            if run.is_in_place or not run.is_finished
            for file in run.files
        }
        if self.lake.pending and self.lake.pending["kind"] in (REWRITE, EXPIRE):
            promised |= {self.staged(file["name"]) for file in self.lake.pending["files"]}
        names = [f"{STAGING}/{name}" for name in self.store.names(STAGING)]
        # A task of a run that has ended may have written one meanwhile. A run that has given up
        # files does not know all names that readers saw.
        known = {run.id for run in self.runs if run.is_in_place and not run.elsewhere}
        if known:
            names += [name for name in names_in_tables(self.store) if run_of(name) in known]
        kept = {
            epoch for run in self.runs if not run.is_complete for epoch in run.shards.live_epochs
        }
        swept = (name for name in names if name not in promised and epoch_of(name) not in kept)
        self.store.delete(*(name for name in swept if epoch_of(name) <= self.lake.epoch))

    def _sweep_rewritten(self) -> None:
        """Delete rewritten files that no record promises, where they have their names at once.

        Their numbers grow: so they follow the last one that was promised.
        """
        if not self.format.is_in_place or not self.lake.runs:
            return
        places = [(name, rewritten_place(name)) for name in names_in_tables(self.store)]
        last, next_epoch = self.lake.last_rewritten, (self.lake.epoch + 1, 0)
        self.store.delete(*(name for name, place in places if place and last < place < next_epoch))

    def _check_staged(self, run: RunState) -> None:
        """Raise IntegrityError if a part file that readers do not see yet is missing."""
        if run.is_published:
            return
        there = {f"{STAGING}/{name}" for name in self.store.names(STAGING)}
        there.update(names_in_tables(self.store))
        missing = [file.name for file in run.files if run.staged(file.name) not in there]
        if missing:
            raise missing_file(self.store, f"{missing[0]} is not in staging")


def prepare_directories(store: Store, run: RunState) -> None:
    """Prepare the directories in which a run's part files are written."""
    names = (run.staged(run.part_name(1, table)) for table in TABLES)
    for directory in dict.fromkeys(str(PurePosixPath(name).parent) for name in names):
        store.make_directory(directory)
