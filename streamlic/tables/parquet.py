"""Plain Parquet: a commit's part files become visible when they get their names in the dataset.

Readers take every ``part-<run>-<number>.parquet`` in the dataset's directory and do not read the
log. So a file must not have such a name before its record is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamlic.dataset import commit_log
from streamlic.dataset.records import Carried, Failed, PartFile, Points
from streamlic.dataset.run_state import PART_PREFIX, RunState
from streamlic.errors import IntegrityError
from streamlic.storage.base import NotFound, Store


class ParquetTable:
    """A dataset of plain Parquet files in a store."""

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
        )
        commit_log.append(self.store, run, record)
        self.publish(run, files)

    def publish(self, run: RunState, files: Iterable[PartFile]) -> None:
        """Publish promised files if readers may see them; do the last work of a complete run."""
        for file in run.files if run.is_complete and run.mode == "overwrite" else files:
            self._publish_file(run, file)
        if run.is_complete:
            for old in run.replaces:
                self.remove(old)
            self.store.delete_tree(run.staging)
            commit_log.mark_finished(self.store, run.id)

    def recover(self, *, leaves_unfinished: bool = False) -> list[RunState]:
        """Complete what was promised, delete what was not; return the runs, oldest first."""
        for run_id in commit_log.run_ids(self.store):
            self._tidy(run_id)
        runs = self.load()
        unreported: set[str] = set()
        for run in runs:
            if run.is_complete and not commit_log.is_unfinished(self.store, run.id):
                continue
            if run.is_complete:
                unreported.add(run.id)
            if run.is_complete or not leaves_unfinished:
                self._delete_unpromised(run)
                self.publish(run, run.files)
        runs = self.load()
        for run in runs:
            run.completed_unreported = run.id in unreported
        return runs

    def remove(self, run_id: str) -> None:
        """Remove a run and its part files."""
        if not commit_log.mark_removed(self.store, run_id):
            return
        for name in self.store.names():
            if name.startswith(f"{PART_PREFIX}{run_id}-"):
                self.store.delete(name)
        commit_log.delete_log(self.store, run_id)

    def _publish_file(self, run: RunState, file: PartFile) -> None:
        staged = run.staged(file.name)
        try:
            if run.is_published:
                self.store.publish(staged, file.name)
            elif not self.store.exists(staged):
                raise NotFound(f"{staged} does not exist")
        except NotFound as error:
            raise IntegrityError(
                f"{file.name} in {self.store.where()} was promised and is missing: "
                "fetch again with --restart, or into another DEST"
            ) from error

    def _tidy(self, run_id: str) -> None:
        """Finish a removal; clear away a start, or a file, that a process did not finish."""
        if commit_log.is_removed(self.store, run_id):
            self.remove(run_id)
        elif not commit_log.is_started(self.store, run_id):
            commit_log.delete_log(self.store, run_id)
        else:
            commit_log.delete_partial_files(self.store, run_id)

    def _delete_unpromised(self, run: RunState) -> None:
        promised = {file.name for file in run.files}
        for name in self.store.names(run.staging):
            if name not in promised:
                self.store.delete(run.staged(name))
