"""The job: pages in, a dataset out; the only place that knows the order of the steps.

Rules:
1. A page counts when its JSON was complete, its count was right and its batches are with the
   writer; then, and only then, the account's resume point moves on.
2. A page that fails is abandoned whole and asked for again.
3. A commit covers whole pages only. It follows a full part file, or ``commit_seconds``, or the end,
   whatever the end is: what was whole when a run was interrupted or failed is kept.
4. An account's next page is asked for when this one is decoded and right, and before it is encoded.
5. An account that fails is left for the next run; the others go on.
6. A run that overwrites takes over, before it is complete, the rows of accounts that were not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from streamlic.dataset.destination import writer_lock
from streamlic.dataset.records import Failed
from streamlic.dataset.run_state import RunState
from streamlic.decoder import Decoder, Envelope, engine_named
from streamlic.errors import (
    RETRY_CAN_HELP,
    ApiError,
    DecodeError,
    PageMismatch,
    ReportedFailure,
    StreamlicError,
    TransportError,
    UsageError,
)
from streamlic.job.cancellation import Cancel, Cancelled
from streamlic.job.committer import Committer
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import ChecksummingDecoder, check_count
from streamlic.job.pipeline import Pipeline
from streamlic.job.scheduler import Bounds, Listing, Scheduler, listings_of
from streamlic.job.summary import AccountsFailed, OnProgress, Progress, Summary, UnderWay
from streamlic.storage.local import LocalStore
from streamlic.system.machine import room_for_connections
from streamlic.tables.base import Table
from streamlic.tables.carry_over import Copying, carrying
from streamlic.tables.parquet import ParquetTable
from streamlic.tables.runs import open_run
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest, check_requests, identity_of
from streamlic.truto.retry import Retry, is_transient

_OTHERS_FAULTS = (
    ApiError,
    TransportError,
    DecodeError,
    PageMismatch,
    UsageError,
    asyncio.CancelledError,
)
"""What ends a run without casting doubt on what the writer holds: whole pages are then kept."""
_SLOWEST = 3
_TICK_SECONDS = 1.0


class Job:
    """One run on its way: the pipeline to its commits, and the progress."""

    def __init__(
        self,
        table: Table,
        run: RunState,
        options: JobOptions,
        on_progress: OnProgress | None,
        *,
        is_one_page: bool = False,
    ) -> None:
        self.table = table
        self.run = run
        self.options = options
        self.progress = Progress(run=run.id, resumed_rows=run.rows, accounts=len(run.accounts))
        self.engine = engine_named(options.engine)
        self.is_watchers_fault = False
        """Whether it was ``on_progress`` that failed, which says nothing of the pages."""
        self._on_progress = on_progress
        accounts = len(run.accounts)
        large_pages = options.large_pages_at_once(accounts)
        self._committer = Committer(
            table, run, options, large_pages=large_pages, commits_early=not is_one_page
        )
        self._pipeline = Pipeline(
            self._committer,
            chunk_bytes=options.chunk_queue_bytes // large_pages,
            batch_bytes=options.batch_queue_bytes,
            small_body_bytes=options.small_body_bytes(accounts),
            max_large_pages=large_pages,
            record_bytes=options.large_record_bytes,
        )

    @property
    def failure(self) -> BaseException | None:
        """What failed where pages are written, if anything did."""
        return self._pipeline.failure

    def told(self, **changes: Any) -> None:
        """Tell who watches."""
        self.progress.parts = len(self.run.files)
        vars(self.progress).update(changes)
        if self._on_progress and not self.is_watchers_fault:
            try:
                self._on_progress(self.progress)
            except BaseException:
                self.is_watchers_fault = True
                raise
        self.progress.retry = None  # It was told, and once is enough.

    async def read_page(
        self,
        account: str | None,
        open_decoder: Callable[[], Decoder],
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
        on_large: Callable[[], None] | None = None,
    ) -> Envelope:
        """Decode one page and have it encoded; ``check`` may still refuse it in between."""
        envelope = await self._pipeline.take_page(account, open_decoder, chunks, check, on_large)
        self.progress.pages += 1
        self.progress.rows += envelope.rows
        self.progress.rescued += envelope.rescued
        self.progress.account = account
        return envelope

    async def commit_if_due(self) -> None:
        """Commit what has waited long enough, though no page may end for long."""
        await self._pipeline.encode(self._committer.commit_if_due)

    async def complete(
        self, failed: Mapping[str, StreamlicError] | None = None, cancel: Cancel | None = None
    ) -> None:
        """Promise all pages, and that there are no more.

        Rows that are carried over are copied first: to be cancelled, or ``cancel``, ends that, and
        the run is not complete. When all is promised it comes too late. Raises DatasetConflict
        where rows of another schema would have to be kept for accounts that failed.
        """
        keeps = None
        if not self.run.is_complete:
            keeps = carrying(
                self.table.store,
                self.run,
                {account: str(error) for account, error in (failed or {}).items()},
                batch_bytes=self.options.carried_batch_bytes,
                keeps_absent=self.options.carries_over,
            )
        copying = keeps.copying if keeps else Copying()
        step = partial(self._committer.complete, keeps, recorded(failed or {}))
        promised = asyncio.ensure_future(self._pipeline.encode(step))
        ended: BaseException | None = None
        while not promised.done():
            try:
                await asyncio.wait([promised], timeout=_TICK_SECONDS)
                self.told(carried_rows=copying.rows)
                if cancel and cancel.is_set():
                    copying.stop()
            except BaseException as error:  # noqa: BLE001  # it is raised again when all is settled
                ended = ended or error
                copying.stop()
        promised.result()
        if ended and (self.is_watchers_fault or not self.run.is_complete):
            raise ended
        self.told(carried_rows=copying.rows)

    def close(self, *, keeps_pages: bool) -> None:
        """End the job; ``keeps_pages`` commits the pages that are whole."""
        self._pipeline.close()
        self._committer.close(keeps_pages=keeps_pages and self._pipeline.failure is None)

    def summary(
        self,
        *,
        started: float,
        retries: int,
        bytes_received: int,
        failed: Mapping[str, StreamlicError] | None = None,
    ) -> Summary:
        """Sum up what is committed."""
        return Summary.of(
            self.run,
            failed or {},
            bytes_received=bytes_received,
            bytes_written=self._committer.bytes_written,
            seconds=round(time.monotonic() - started, 3),
            engine=self.engine,
            retries=retries,
        )


async def export_async(
    dest: str,
    requests: Iterable[LicensesRequest],
    connection: Connection,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
    *,
    all_of: Mapping[str, Any] | None = None,
    skipped: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> Summary:
    """Land the licenses of each request's account in ``dest``, of many accounts at once.

    Goes on with an unfinished run of the same requests. ``all_of`` says that the requests are for
    all accounts of that description, however many these are now: a run that is gone on with keeps
    those it began with. ``skipped`` are accounts that cannot be read, with the reasons, for the
    summary; it keeps those it began with, too. Raises the StreamlicError that ended it; where there
    are several accounts and some failed, AccountsFailed, when all the others are done. Raises
    Cancelled soon after ``cancel`` is set, and what ``on_progress`` raises. Whatever ended it,
    cancelling its task too, what is whole is committed.
    """
    options = options or JobOptions()
    requests = sorted(requests, key=lambda request: request.account)
    check_requests(requests)
    table = ParquetTable(LocalStore(dest))
    started = time.monotonic()
    with writer_lock(table.store):
        run = open_run(
            table,
            request={
                **identity_of(requests),
                **options.identity(),
                **({"all_of": dict(all_of)} if all_of is not None else {}),
            },
            accounts=[request.account for request in requests],
            mode=options.mode,
            restart=options.restart,
            keeps_accounts=all_of is not None,
            skipped=skipped,
            carries_over=options.carries_over,
            settings=options.settings(),
        )
        job = Job(table, run, options, on_progress)
        export = _Export(job, connection, cancel)
        keeps_pages = False
        try:
            connection.read_buffer_bytes = options.read_buffer_bytes(len(run.accounts))
            async with connection:
                await export.run(requests)
            if export.may_end:
                await job.complete(export.failed, cancel)
            keeps_pages = True
        except _OTHERS_FAULTS:
            keeps_pages = True
            raise
        except BaseException:
            keeps_pages = job.is_watchers_fault
            raise
        finally:
            job.close(keeps_pages=keeps_pages)
    summary = job.summary(
        started=started,
        retries=connection.retries,
        bytes_received=connection.bytes_received,
        failed=export.failed,
    )
    if job.failure:  # Pages are lost that were whole: that is worse news than whatever ended it.
        raise job.failure
    if export.is_stopped or (export.may_end and not summary.complete):
        raise Cancelled(summary)
    if export.failed:
        raise _failure(summary, export.failed)
    if run.failed:  # Of a process that ended before it could say so.
        raise AccountsFailed(summary, {str(account): one for account, one in run.failed.items()})
    return summary


class _Export:
    """The accounts of a run that are left, and what becomes of them."""

    def __init__(self, job: Job, connection: Connection, cancel: Cancel | None) -> None:
        self._job = job
        self._connection = connection
        self._cancel = cancel
        pages = room_for_connections(job.options.pages_at_once(len(job.run.accounts)))
        self._scheduler = Scheduler(
            connection,
            self._read_page,
            Bounds(pages, job.options.large_pages_at_once(len(job.run.accounts))),
            self._notify,
        )
        job.progress.slowest = self._slowest
        job.progress.waits = self._scheduler.waits

    @property
    def failed(self) -> dict[str, StreamlicError]:
        """Why each account that failed did."""
        return self._scheduler.failed

    @property
    def is_stopped(self) -> bool:
        """Whether ``cancel`` was set before all was done."""
        return self._scheduler.is_stopped

    @property
    def may_end(self) -> bool:
        """Whether the run is complete, with or without accounts that failed.

        Not where all have failed; and what an outage hides for a time is not overwritten.
        """
        options = self._job.options
        if self.is_stopped:
            return False
        if not self.failed:
            return True
        if not options.skip_failed or self._done_before + self._scheduler.done == 0:
            return False
        return options.mode != "overwrite" or not any(map(is_transient, self.failed.values()))

    async def run(self, requests: list[LicensesRequest]) -> None:
        """Read all pages that the run has not."""
        known = {request.account: request for request in requests}
        points = {account or "": self._job.run.point(account) for account in self._job.run.accounts}
        left = listings_of(
            (known.get(account) or replace(requests[0], account=account), point)
            for account, point in points.items()
            if not (point.is_done or self._job.run.is_complete)
        )
        self._done_before = len(points) - len(left)
        self._notify(None)
        ticking = asyncio.create_task(self._tick())
        try:
            await self._scheduler.run(left)
        finally:
            ticking.cancel()
            self._notify(None)

    async def _tick(self) -> None:
        """Tell who watches now and then, and look whether to stop, though no page may end for long.

        What it raises ends the pages: nobody waits for this task.
        """
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self._notify(None)
            except Exception as error:  # noqa: BLE001  # it is raised by the scheduler
                self._scheduler.stop(error)
                return
            try:
                await self._job.commit_if_due()
            except Exception as error:  # noqa: BLE001  # likewise
                self._scheduler.stop(error)
                return

    async def _read_page(self, listing: Listing, permit: Permit) -> bool:
        params, limits = listing.request, self._job.options.limits
        limits.check_pages(listing.pages)

        def check(envelope: Envelope) -> None:
            check_count(envelope)
            listing.cursors.check(params.next_cursor, envelope.next_cursor)
            listing.duplicates.check(envelope)

        def on_large() -> None:
            listing.is_large = True

        job, connection = self._job, self._connection
        listing.is_large = False
        async with connection.page(params, permit) as page:
            if job.options.ndjson is not None:
                page.check(ndjson=job.options.ndjson)

            def open_decoder() -> Decoder:
                decoder = job.options.open_decoder(ndjson=page.is_ndjson, key_by=params.key_by)
                is_further = job.options.raw and page.has_next_link
                next_link = "the Link header" if is_further else None
                return ChecksummingDecoder(decoder, limits, listing.rows, next_link=next_link)

            chunks = limits.bounded(page.chunks())
            try:
                envelope = await job.read_page(
                    params.account, open_decoder, chunks, check, on_large
                )
            except ReportedFailure as failure:
                raise connection.reported(failure, page, params.account) from None
            except DecodeError as error:
                page.hide_in(error)
                raise
        return listing.move_on(envelope.next_cursor, envelope.rows)

    def _notify(self, retry: Retry | None) -> None:
        self._job.told(
            retry=retry,
            accounts_done=self._done_before + self._scheduler.done,
            accounts_failed=len(self.failed),
            pages_under_way=self._scheduler.pages_under_way,
            bytes_received=self._connection.bytes_received,
            retries=self._connection.retries,
        )
        if self._cancel and self._cancel.is_set():  # By who was told, for one.
            self._scheduler.stop()

    def _slowest(self) -> list[UnderWay]:
        now = time.monotonic()
        return [
            UnderWay(one.account, one.pages, now - one.begun_at)
            for one in islice(self._scheduler.under_way.values(), _SLOWEST)
        ]


def recorded(failed: Mapping[str, StreamlicError]) -> dict[str | None, Failed]:
    """Return what the commit log keeps of accounts' failures."""
    return {
        account or None: Failed(
            kind=type(error).__name__, message=str(error), retryable=is_transient(error)
        )
        for account, error in failed.items()
    }


def _failure(summary: Summary, failed: Mapping[str, StreamlicError]) -> StreamlicError:
    """Return the error of a run of which accounts failed: its own where there is one account.

    Bad data ends with 1 where it may be right the next time, for there a retry can help.
    """
    if len(summary.accounts) == 1:
        [error] = failed.values()
        if is_transient(error):
            error.exit_code = RETRY_CAN_HELP
        return error
    return AccountsFailed(summary, failed)
