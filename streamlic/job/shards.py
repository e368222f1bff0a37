"""A run that several processes read at once: each a shard of its accounts.

The order of the steps:
1. The first process starts the run; the others find it by its key.
2. Each claims its shard, reads the accounts of that, and commits them.
3. The process that ends when all the other shards have ended completes the run: rows that are
   carried over, the rows of ``accounts`` and ``runs``, and what readers see.
4. A process that dies is started again with the same command. It claims its shard, and continues.
   If only step 3 was left, it does that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from streamlic.dataset.commit_log import in_full, load_lake
from streamlic.dataset.destination import Fenced, awaited_writer_lock
from streamlic.dataset.records import Failed
from streamlic.dataset.run_state import RunState
from streamlic.decoder import engine_named
from streamlic.errors import DatasetConflict, StreamlicError
from streamlic.job.job import Job, open_requested
from streamlic.job.options import JobOptions
from streamlic.job.outcome import Outcome, error_of
from streamlic.job.progress import OnProgress
from streamlic.job.source import RunRequest, Source
from streamlic.job.summary import Cancelled, ShardSummary, Summary
from streamlic.share import Share
from streamlic.storage.base import LockHeld, Store
from streamlic.tables.base import LakeWriter
from streamlic.tables.carry_over import Carrying
from streamlic.tables.runs import shared_run
from streamlic.tables.shards import ShardWriter, shard_view

_LOOK_SECONDS = 0.5
_START_SECONDS = 60.0
"""How long a shard waits for a writer of the lake before it says that there is one."""


class ShardRun:
    """One shard of a run: ``run`` reads it, and completes the run if no other shard is left."""

    def __init__(
        self,
        store: Store,
        request: RunRequest,
        source: Source,
        options: JobOptions,
        *,
        shard: Share,
        observer: OnProgress | None = None,
    ) -> None:
        self._store = store
        self._request = request
        self._source = source
        self._options = options
        self._shard = shard
        self._observer = observer
        self._started_at = time.monotonic()
        self._bytes_written = 0
        self._discarded: list[RunState] = []

    async def run(self) -> Summary:
        """Read the shard, and sum up: the whole run if it is complete, else the shard.

        Raises as ``run_job``, and DatasetConflict if the run with this key is of another request or
        has another number of shards.
        """
        run = await self._start()
        self._discarded = run.discarded
        if self._is_left(run):
            await self._read(run)
        run = await self._complete(run)
        summary = self._summary(run)
        failed = run.failed if run.is_complete else shard_view(run, self._shard.number).failed
        if failure := error_of(Outcome.COMPLETE, summary, {}, failed):
            raise failure
        return summary

    def _is_left(self, run: RunState | None) -> bool:
        """Return whether the shard has to be read, or accounts of it that failed again."""
        number = self._shard.number
        if run is None or run.is_complete:
            return False
        has_failed = any(run.shards.has(number, account) for account in run.failed)
        return has_failed or number not in run.shards.ended

    async def _start(self) -> RunState:
        """Return the run: one that another shard started, or a new one."""
        request, options, shards = self._request, self._options, self._shard.of
        end = time.monotonic() + _START_SECONDS
        while True:
            found = shared_run(
                self._store,
                request=request.identity,
                accounts=request.accounts,
                mode=options.mode,
                keeps_accounts=request.keeps_accounts,
                key=str(options.run_key),
                publish=options.publish,
                shards=shards,
                wanted=options.table_format,
            )
            if found:
                found.is_repeated = found.is_finished
                return found
            try:
                async with awaited_writer_lock(self._store):
                    lake = LakeWriter(self._store, options.table_format)
                    return open_requested(lake, request, options, shards=shards)
            except (LockHeld, Fenced):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)

    async def _read(self, run: RunState) -> None:
        """Read the shard's accounts. Raises what ended it before the last of them."""
        async with awaited_writer_lock(self._store, self._shard.number):
            lake = load_lake(self._store)
            if not self._is_left(lake.runs.get(run.id)):
                return  # Another process read it while this one waited.
            writer = ShardWriter(self._store, lake, run, self._shard.number)
            job = ShardJob(writer, writer.open(), self._source, self._options, self._observer)
            with writer.fenced():  # Its part files are gone, if another process reads the shard.
                outcome = await job.read()
        self._bytes_written += job.bytes_written
        if not job.run.is_complete:
            summary = self._summary(load_lake(self._store).runs.get(run.id, run))
            raise job.failure(outcome, summary) or Cancelled(summary)

    async def _complete(self, run: RunState) -> RunState:
        """Complete the run if all shards have ended; return it as it is then.

        A process that completes it already is waited for: it may die.
        """
        while True:
            found = load_lake(self._store).runs.get(run.id)
            if found is None:
                raise DatasetConflict(
                    f"run {run.id} was removed from {self._store.where()} while it was read",
                    advice="give each run a key of its own with {run_key}",
                )
            # A process that completed it may have died before readers saw it.
            if found.is_finished or not (found.is_complete or found.shards.have_ended):
                found = in_full(self._store, found)
                found.is_repeated = run.is_repeated
                return found
            if self._source.is_cancelled():
                raise Cancelled(self._summary(found))
            with suppress(LockHeld, Fenced):  # Another process has come first.
                async with awaited_writer_lock(self._store):
                    if completed := await self._complete_now(run):
                        return completed
                    continue
            await asyncio.sleep(_LOOK_SECONDS)

    async def _complete_now(self, run: RunState) -> RunState | None:
        """Complete the run; None if another process has, or reads a shard again."""
        lake = LakeWriter(self._store, self._options.table_format)
        lake.open()
        whole = lake.lake.runs.get(run.id)
        if whole is None or whole.is_complete or not whole.shards.have_ended:
            return None
        if most := self._options.most_absent:
            most.check_skipped(whole)
        job = CompletingJob(lake, whole, self._source, self._options, self._observer)
        with lake.fenced():
            outcome = await job.read(has_pages=False)
        self._bytes_written += job.bytes_written
        if job.run.is_complete:
            return job.run
        summary = replace(self._summary(job.run), accounts=Summary.accounts_of(job.run, {}))
        raise job.failure(outcome, summary) or Cancelled(summary)

    def _summary(self, run: RunState) -> Summary:
        """Sum up what is committed of the run if it is complete, else of the shard."""
        status = self._source.status()
        view = run if run.is_complete else shard_view(run, self._shard.number)
        summary = Summary.of(
            replace(view, discarded=self._discarded),
            {} if view.is_complete else self._source.failed,
            bytes_received=status.bytes_received,
            bytes_written=self._bytes_written,
            seconds=round(time.monotonic() - self._started_at, 3),
            engine=engine_named(self._options.engine),
            retries=status.retries,
        )
        ended = sorted(run.shards.ended)
        shard = ShardSummary(number=self._shard.number, of=self._shard.of, ended=ended)
        return replace(summary, complete=run.is_complete, shard=shard)


class ShardJob(Job):
    """Reads one shard. What concerns the whole run is left to the process that completes it."""

    @property
    def lacks_too_many(self) -> bool:
        """Whether too many accounts are absent: only the whole run can tell."""
        return False

    @property
    def accounts_done(self) -> int:
        """How many accounts were read to their ends, but never none: other shards may have some."""
        return super().accounts_done or 1

    async def read(self, *, has_pages: bool = True) -> Outcome:
        """Read every page of the shard. What an earlier process sent just now counts, too."""
        points = (self.run.point(account) for account in self.run.accounts)
        if self.run.is_resumed and not all(point.is_done for point in points):
            await self._source.rest()
        return await super().read(has_pages=has_pages)

    async def _carrying(self) -> Carrying | None:
        return None


class CompletingJob(Job):
    """Completes a run whose shards have all ended."""

    @property
    def failed(self) -> Mapping[str | None, Failed]:
        """Why accounts failed, in whichever shard."""
        return self.run.failed

    @property
    def accounts_done(self) -> int:
        """How many accounts were read to their ends, in whichever shard."""
        return sum(point.is_done for point in self.run.points.values())

    def failure(self, outcome: Outcome, summary: Summary) -> StreamlicError | None:
        """Return the error that tells the caller why the run is not complete."""
        too_many = self.options.max_absent if self.lacks_too_many else None
        return error_of(outcome, summary, {}, self.run.failed, max_absent=too_many)
