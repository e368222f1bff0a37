"""The job: pages in, a dataset out. The only module that knows the order of the steps.

Rules:
1. A page counts when its JSON is complete, its row count is right and the writer has its batches.
   Only then does the account's resume point move.
2. A page that fails is abandoned whole and requested again.
3. A commit covers whole pages only. It follows a full part file, ``commit_seconds``, or the end of
   the run, even an interrupted one: whole pages are kept.
4. An account's next page is requested when this one is decoded and checked, before it is encoded.
5. An account that fails is left to the next run. The other accounts continue.
6. A run that overwrites copies the rows of accounts that were not read before it is complete.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial

from streamlic.dataset.destination import awaited_writer_lock
from streamlic.dataset.records import AccountDetails, Failed, Promise
from streamlic.dataset.run_state import RunState
from streamlic.decoder import Decoder, Envelope, engine_named
from streamlic.errors import StreamlicError, TooManyAbsent
from streamlic.formatting import counted
from streamlic.job.committer import Committer
from streamlic.job.options import JobOptions
from streamlic.job.outcome import Outcome, error_of, may_complete, outcome_of
from streamlic.job.pipeline.pipeline import Pipeline
from streamlic.job.progress import OnProgress, ProgressRecorder
from streamlic.job.source import RunRequest, Source
from streamlic.job.summary import Summary, failure_of
from streamlic.storage.base import Store
from streamlic.tables.base import LakeWriter
from streamlic.tables.carry_over import Carrying, Copying
from streamlic.tables.completion import RunWriter
from streamlic.tables.kept_accounts import carrying
from streamlic.tables.runs import open_run

TICK_SECONDS = 1.0
"""How often an observer is called though nothing happens."""


async def run_job(
    store: Store,
    request: RunRequest,
    source: Source,
    options: JobOptions,
    observer: OnProgress | None = None,
) -> Summary:
    """Write every page of a source to a store, and return the summary.

    Resumes an unfinished run of the same request. Whatever ends the job, whole pages are committed
    unless the writer itself failed. Raises the error that ended it, AccountsFailed where some of
    several accounts failed, and Cancelled where the source was cancelled.
    """
    started = time.monotonic()
    lake = LakeWriter(store, options.table_format)
    async with awaited_writer_lock(store):
        run = open_requested(lake, request, options)
        job = Job(lake, run, source, options, observer)
        outcome = await job.read()
    summary = job.summary(started)
    if failure := job.failure(outcome, summary):
        raise failure
    return summary


def open_requested(
    lake: LakeWriter, request: RunRequest, options: JobOptions, *, shards: int = 0
) -> RunState:
    """Return the run of a request, as ``open_run``; TooManyAbsent if too many are skipped.

    ``shards`` is how many processes read it, each a shard of its accounts; 0 for one process.
    """
    run = open_run(
        lake,
        request=dict(request.identity),
        accounts=request.accounts,
        mode=options.mode,
        restart=options.restart,
        keeps_accounts=request.keeps_accounts,
        skipped=request.skipped,
        carries_over=options.carries_over,
        settings=options.settings(),
        key=options.run_key,
        publish=options.publish,
        details=request.details,
        shards=shards,
    )
    check_skipped(lake, run, options)
    return run


def check_skipped(lake: LakeWriter, run: RunState, options: JobOptions) -> None:
    """Raise TooManyAbsent if more accounts are skipped than may be absent.

    A run that has nothing yet is removed: the next one lists the accounts again.
    """
    accounts = len(run.accounts) + len(run.skipped)
    most = options.most_absent
    if run.is_complete or most is None or not most.is_exceeded(len(run.skipped), accounts):
        return
    if not run.commits:
        lake.remove(run.id)
    raise TooManyAbsent(
        f"{len(run.skipped):,} of {counted(accounts, 'account')} are skipped, more than "
        f"{most.text}, so nothing was read",
        parameter="max_absent",
    )


class Job:
    """One run in progress: its pipeline, its commits and its progress."""

    def __init__(
        self,
        lake: RunWriter,
        run: RunState,
        source: Source,
        options: JobOptions,
        observer: OnProgress | None = None,
    ) -> None:
        self._lake = lake
        self.run = run
        self.options = options
        self.progress = ProgressRecorder(
            source,
            observer,
            run=run.id,
            accounts=len(run.accounts),
            resumed_rows=run.rows,
            parts=len(run.license_files),
        )
        self._source = source
        self._engine = engine_named(options.engine)
        accounts = len(run.accounts)
        large_pages = options.large_pages_at_once(accounts)
        self._committer = Committer(
            lake,
            run,
            options,
            engine=self._engine,
            large_pages=large_pages,
            commits_early=not source.has_one_page,
            on_commit=self.progress.record,
        )
        self._pipeline = Pipeline(
            self._committer,
            chunk_bytes=options.chunk_queue_bytes // large_pages,
            batch_bytes=options.batch_queue_bytes,
            small_body_bytes=options.small_body_bytes(accounts),
            max_large_pages=large_pages,
            record_bytes=options.large_record_bytes,
        )

    async def read(self, *, has_pages: bool = True) -> Outcome:
        """Read every page, complete the run if it may be, and return how it ended.

        Without ``has_pages`` it is only completed. Raises what ended it: that another process has
        become the writer, if a file is missing because of that.
        """
        with self._lake.fenced():
            return await self._read(has_pages=has_pages)

    async def _read(self, *, has_pages: bool) -> Outcome:
        error: BaseException | None = None
        try:
            if has_pages:
                await self._source.read_pages(self)
            if self.may_complete:
                await self.complete()
        except BaseException as raised:
            error = raised
            raise
        finally:
            outcome = self.close(error)
        if self.write_failure:  # Whole pages were lost, which is worse than whatever ended the run.
            raise self.write_failure
        return outcome

    def failure(self, outcome: Outcome, summary: Summary) -> StreamlicError | None:
        """Return the error that tells the caller of an outcome; None if every account was read."""
        too_many = self.options.max_absent if self.lacks_too_many else None
        failed, recorded = self._source.failed, self.run.failed
        return error_of(outcome, summary, failed, recorded, max_absent=too_many)

    @property
    def failed(self) -> Mapping[str | None, Failed]:
        """Why the accounts failed that the run has to be completed without."""
        return recorded(self._source.failed)

    @property
    def accounts_done(self) -> int:
        """How many accounts were read to their ends."""
        return self._source.status().accounts_done

    @property
    def write_failure(self) -> BaseException | None:
        """What failed in the encode thread, if anything did."""
        return self._pipeline.failure

    @property
    def may_complete(self) -> bool:
        """Whether the run may be committed as complete."""
        return may_complete(
            self.failed,
            accounts_done=self.accounts_done,
            is_stopped=self._source.is_stopped,
            skip_failed=self.options.skip_failed,
            mode=self.options.mode,
            is_too_few=self.lacks_too_many,
        )

    @property
    def lacks_too_many(self) -> bool:
        """Whether more accounts are skipped or failed than may be absent."""
        most, run = self.options.most_absent, self.run
        absent = len(run.skipped) + len(self.failed)
        return most is not None and most.is_exceeded(absent, len(run.accounts) + len(run.skipped))

    def learn(self, account: str | None, details: AccountDetails) -> None:
        """Take what is known of an account, before its first page."""
        self._committer.learn(account, details)

    async def read_page(
        self,
        account: str | None,
        open_decoder: Callable[[], Decoder],
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
        on_large: Callable[[], None] | None = None,
    ) -> Envelope:
        """Decode one page and queue it for encoding. ``check`` may refuse it in between."""
        envelope = await self._pipeline.take_page(account, open_decoder, chunks, check, on_large)
        self.progress.record_page(account, envelope)
        return envelope

    async def commit_if_due(self) -> None:
        """Commit what has waited for ``commit_seconds``, though no page may end for long."""
        await self._pipeline.encode(self._committer.commit_if_due)

    async def take_promise(self, promise: Promise) -> None:
        """Commit what another process has read and staged."""
        await self._pipeline.encode(partial(self._committer.take_promise, promise))

    async def complete(self) -> None:
        """Commit every page, and that the run is complete.

        Copies the rows that are carried over first. Cancelling stops the copying, and the run is
        then not complete; after the copying it comes too late. Raises DatasetConflict where rows of
        another schema would have to be kept for accounts that failed.
        """
        keeps = None if self.run.is_complete else await self._carrying()
        copying = keeps.copying if keeps else Copying()
        step = partial(self._committer.complete, keeps, self.failed)
        completing = asyncio.ensure_future(self._pipeline.encode(step))
        interruption: BaseException | None = None
        while not completing.done():
            try:
                await asyncio.wait([completing], timeout=TICK_SECONDS)
                self._notify_of_copying(copying)
                if self._source.is_cancelled():
                    copying.stop()
            except BaseException as error:  # noqa: BLE001  # it is raised when the copying has ended
                interruption = interruption or error
                copying.stop()
        completing.result()
        if interruption and (self.progress.observer_failed or not self.run.is_complete):
            raise interruption
        self._notify_of_copying(copying)

    async def _carrying(self) -> Carrying | None:
        """Return what the run must keep; TooManyAbsent if it would drop too many accounts."""
        failed = {account or "": one.message for account, one in self.failed.items()}
        find = partial(
            carrying,
            self._lake.store,
            self.run,
            failed,
            batch_bytes=self.options.carried_batch_bytes,
            keeps_absent=self.options.carries_over,
        )
        keeps = find()
        if keeps is None or not keeps.dropped:
            return keeps
        if self.options.account_details:
            existing = await self._source.still_existing([*filter(None, keeps.dropped)])
            keeps = find(existing=existing) if existing else keeps
        if keeps and keeps.dropped and (most := self.options.most_absent):
            most.check_dropped(self.run, len(failed), len(keeps.dropped))
        return keeps

    def close(self, error: BaseException | None) -> Outcome:
        """End the job, which ``error`` ended if it is given; commit the pages that are kept."""
        self._pipeline.close()
        outcome = outcome_of(
            error=error,
            is_observers_error=self.progress.observer_failed,
            write_failed=self.write_failure is not None,
            is_complete=self.run.is_complete,
            may_complete=self.may_complete,
            is_stopped=self._source.is_stopped,
            any_failed=bool(self._source.failed or self.run.failed),
        )
        self._committer.close(keeps_pages=outcome.keeps_pages)
        return outcome

    @property
    def bytes_written(self) -> int:
        """The bytes of all closed part files of this process."""
        return self._committer.bytes_written

    def summary(self, started: float) -> Summary:
        """Sum up what is committed."""
        status = self._source.status()
        return Summary.of(
            self.run,
            self._source.failed,
            bytes_received=status.bytes_received,
            bytes_written=self._committer.bytes_written,
            seconds=round(time.monotonic() - started, 3),
            engine=self._engine,
            retries=status.retries,
        )

    def _notify_of_copying(self, copying: Copying) -> None:
        self.progress.record_carried(copying.rows)
        self.progress.notify()


def recorded(failed: Mapping[str, StreamlicError]) -> dict[str | None, Failed]:
    """Return what the commit log keeps of accounts' failures."""
    return {account or None: failure_of(error) for account, error in failed.items()}
