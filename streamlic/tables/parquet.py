"""Plain Parquet: a commit's part files become visible when they get their names in the tables.

Readers take every ``part-<run>-<number>.parquet`` in a table's directory and do not read the log.
So a file must not have such a name before its record is durable. A directory cannot change many
names at once: a reader that lists it in the middle sees some of a run's files, or those of a run
and of the one that it replaces. That takes a system call a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamlic.dataset import commit_log
from streamlic.dataset.lake import LICENSES, TABLES, names_in_tables, run_of, table_of
from streamlic.dataset.records import AccountDetails, Carried, Failed, PartFile, Points
from streamlic.dataset.run_state import RunState
from streamlic.errors import IntegrityError
from streamlic.storage.base import NotFound, Store


class ParquetTable:
    """A lake of plain Parquet files in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def load(self) -> list[RunState]:
        """Return the runs, oldest first."""
        return commit_log.load_runs(self.store)

    def commit(
        self,
        run: RunState,
        files: Iterable[PartFile],
        points: Points,
        *,
        is_complete: bool,
        superseded: Iterable[str] = (),
        carried_over: Mapping[str | None, Carried] | None = None,
        failed: Mapping[str | None, Failed] | None = None,
        details: Mapping[str | None, AccountDetails] | None = None,
        dropped: Mapping[str | None, int] | None = None,
    ) -> None:
        """Promise staged files and resume points, then publish the files."""
        files = list(files)
        record = run.next_record(
            files,
            points,
            is_complete=is_complete,
            superseded=superseded,
            carried_over=carried_over,
            failed=failed,
            details=details,
            dropped=dropped,
        )
        commit_log.append(self.store, run, record)
        self.publish(run, files)

    def publish(self, run: RunState, files: Iterable[PartFile]) -> None:
        """Publish promised files if readers may see them; do the last work of a complete run."""
        files = run.live_files if run.is_complete else list(files)
        for table in TABLES:
            self._publish_files(run, [file for file in files if table_of(file.name) == table])
        if run.is_complete:
            # Last: the licenses of the newest run in ``runs`` are whole at every moment.
            for old in run.replaces:
                self._replace(old)
            self.store.delete_tree(run.staging)
            commit_log.mark_finished(self.store, run.id)

    def recover(self, *, leaves_unfinished: bool = False) -> list[RunState]:
        """Complete what was promised, delete what was not; return the runs, oldest first."""
        for run_id in commit_log.run_ids(self.store):
            self._tidy(run_id)
        runs, replaced = [], set[str]()
        for run in commit_log.each_run(self.store):
            runs.append(run)
            if run.is_complete and not commit_log.is_unfinished(self.store, run.id):
                run.shed()
                continue
            run.completed_unreported = run.is_complete
            if run.is_complete or not leaves_unfinished:
                self._delete_unpromised(run)
                self.publish(run, run.files)
                replaced.update(run.replaces if run.is_complete else ())
        for run in runs:
            run.is_replaced = run.is_replaced or run.id in replaced
        return sorted(runs, key=lambda run: run.started_at)

    def remove(self, run_id: str) -> None:
        """Remove a run and its part files."""
        if not commit_log.mark_removed(self.store, run_id):
            return
        names = names_in_tables(self.store)
        self.store.delete(*(name for name in names if run_of(name) == run_id))
        commit_log.delete_log(self.store, run_id)

    def _publish_files(self, run: RunState, files: list[PartFile]) -> None:
        try:
            if run.is_published:
                self.store.publish([(run.staged(file.name), file.name) for file in files])
                return
            for file in files:
                if not self.store.exists(run.staged(file.name)):
                    raise NotFound(f"{file.name} is not in staging")
        except NotFound as error:
            raise IntegrityError(
                f"a part file in {self.store.where()} was promised and is missing: {error}",
                advice="fetch again with {restart=True}, or into another {dest}",
            ) from error

    def _replace(self, run_id: str) -> None:
        """Delete the licenses of a run that a later one has replaced."""
        commit_log.mark_replaced(self.store, run_id)
        names = [f"{LICENSES}/{name}" for name in self.store.names(LICENSES)]
        self.store.delete(*(name for name in names if run_of(name) == run_id))

    def _tidy(self, run_id: str) -> None:
        """Finish a removal; clear away a start, or a file, that a process did not finish."""
        if commit_log.is_removed(self.store, run_id):
            self.remove(run_id)
        elif not commit_log.is_started(self.store, run_id):
            commit_log.delete_log(self.store, run_id)
        else:
            commit_log.delete_partial_files(self.store, run_id)

    def _delete_unpromised(self, run: RunState) -> None:
        promised = {run.staged(file.name) for file in run.files}
        staged = [f"{run.staging}/{name}" for name in self.store.names(run.staging)]
        self.store.delete(*(name for name in staged if name not in promised))
