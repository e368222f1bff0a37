"""One shard of a run that several processes read at once.

Rules:
1. Each process has a shard: the accounts whose hash gives its number. It commits them to the
   lake's one log, under a claim of its own, next to the records of the other shards.
2. A process that claims a shard which another one had takes its place: that one's next record is
   refused, and its part files that no record promises are deleted.
3. Readers see nothing before the run is complete. When all shards have ended, whichever process
   finds that first becomes the writer of the lake and completes the run.
4. Accounts that failed are in the last record of a shard. A process that claims it again, before
   the run is complete, tries them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from streamlic.dataset.commit_log import CommitLog
from streamlic.dataset.destination import Fenced
from streamlic.dataset.lake import STAGING, epoch_of, names_in_tables, run_of
from streamlic.dataset.lake_state import CLAIM, COMMIT, LakeState
from streamlic.dataset.records import Promise
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.base import Store
from streamlic.system.process import this_process
from streamlic.tables.base import prepare_directories
from streamlic.tables.completion import Ending

Account = TypeVar("Account", str, str | None)
Kept = TypeVar("Kept")


class ShardWriter:
    """The one writer of a shard, while it holds the shard's lock. ``open`` comes first."""

    def __init__(self, store: Store, lake: LakeState, run: RunState, shard: int) -> None:
        self.store = store
        self._lake = lake
        self._run_id = run.id
        self._shard = shard
        self._log = CommitLog(store, lake, (run.id, shard))

    def open(self) -> RunState:
        """Claim the shard, delete what nobody promised, and return its part of the run."""
        self._append(CLAIM, {"writer": this_process()})
        run = self._lake.runs[self._run_id]
        self._sweep(run)
        mine = shard_view(run, self._shard)
        mine.epoch = run.shards.epoch(self._shard)
        prepare_directories(self.store, mine)
        return mine

    def commit(self, run: RunState, promise: Promise) -> None:
        """Promise staged files and resume points. ``run`` is the shard's part."""
        self._commit(run, promise, ends=False)

    def complete(self, run: RunState, writer: DatasetWriter, ending: Ending) -> None:
        """Commit what ``writer`` has, and that the shard has ended."""
        promise = Promise(
            files=writer.finish(),
            points=ending.points,
            failed=ending.failed,
            details=ending.details,
        )
        self._commit(run, promise, ends=True)

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Raise Fenced in place of an error if another process has claimed the shard."""
        try:
            yield
        except (IntegrityError, StoreError):
            self._log.check_epoch()
            raise

    def _commit(self, run: RunState, promise: Promise, *, ends: bool) -> None:
        body = {"run": self._run_id, "ends_shard": ends, **promise.as_json()}
        try:
            record = self._append(COMMIT, body)
        except Fenced:
            with suppress(StoreError):
                self.store.delete(*(run.staged(file.name) for file in promise.files))
            raise
        run.take(replace(promise, is_complete=ends), record["number"])
        self._log.write_snapshot_if_due()

    def _append(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._log.append(kind, {"run": self._run_id, "shard": self._shard, **body})

    def _sweep(self, run: RunState) -> None:
        """Delete part files of earlier writers of the shard that no record promises."""
        earlier = {*run.shards.epochs[self._shard][:-1]}
        names = [f"{STAGING}/{name}" for name in self.store.names(STAGING)]
        if run.is_in_place:
            names += [name for name in names_in_tables(self.store) if run_of(name) == run.id]
        promised = {run.staged(file.name) for file in run.files}
        left = (name for name in names if epoch_of(name) in earlier and name not in promised)
        self.store.delete(*left)


def shard_view(run: RunState, shard: int) -> RunState:
    """Return a shard's part of a run, as a run of its own: complete if the shard has ended."""
    epochs = {*run.shards.epochs.get(shard, ())}

    def mine(values: Mapping[Account, Kept]) -> dict[Account, Kept]:
        return {account: one for account, one in values.items() if run.shards.has(shard, account)}

    return replace(
        run,
        accounts=[account for account in run.accounts if run.shards.has(shard, account)],
        skipped=mine(run.skipped),
        points=mine(run.points),
        failed=mine(run.failed),
        details=mine(run.details),
        files=[file for file in run.files if epoch_of(file.name) in epochs],
        is_complete=shard in run.shards.ended,
        is_resumed=len(epochs) > 1,
    )
