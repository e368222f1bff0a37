"""An export: the job whose pages come from the API, of many accounts at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from streamlic.dataset.records import AccountDetails
from streamlic.decoder import Decoder, Envelope
from streamlic.errors import DecodeError, ReportedFailure, StreamlicError
from streamlic.job.account_details import DetailsReader, is_gone
from streamlic.job.job import TICK_SECONDS, Job, run_job
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import ChecksummingDecoder, check_count
from streamlic.job.progress import AccountEnded, ActiveAccount, OnProgress, SourceStatus
from streamlic.job.scheduler import Bounds, ScheduledAccount, Scheduler, scheduled
from streamlic.job.settings import Cancel
from streamlic.job.shards import ShardRun
from streamlic.job.source import RunRequest, Source
from streamlic.job.summary import Summary
from streamlic.storage.base import Store
from streamlic.system.machine import room_for_connections
from streamlic.tables.runs import run_of_key
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest, check_requests, identity_of
from streamlic.truto.retry import Retry
from streamlic.truto.wait_reasons import WaitStatus

_SLOWEST = 3


async def export_async(
    dest: str,
    requests: Iterable[LicensesRequest],
    connection: Connection,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
    *,
    all_of: Mapping[str, Any] | None = None,
    skipped: Mapping[str, str] | None = None,
    details: Mapping[str, AccountDetails] | None = None,
    cancel: Cancel | None = None,
) -> Summary:
    """Export the licenses of each request's account to ``dest``.

    ``all_of`` says that the requests are for all accounts of that description, however many these
    are now: a run that is resumed keeps the accounts it started with. ``skipped`` are accounts that
    cannot be read, with the reasons. ``details`` are what is known of accounts. Raises Cancelled
    soon after ``cancel`` is set, what ``on_progress`` raises, and otherwise as ``run_job``.
    """
    options = options or JobOptions()
    requests = sorted(requests, key=lambda request: request.account)
    request = run_request(requests, options, all_of=all_of, skipped=skipped, details=details)
    source = ApiSource(requests, connection, cancel)
    store = options.open_store(dest)
    if shard := options.own_shard:
        return await ShardRun(
            store, request, source, options, shard=shard, observer=on_progress
        ).run()
    return await run_job(store, request, source, options, on_progress)


def run_request(
    requests: list[LicensesRequest],
    options: JobOptions,
    *,
    all_of: Mapping[str, Any] | None = None,
    skipped: Mapping[str, str] | None = None,
    details: Mapping[str, AccountDetails] | None = None,
) -> RunRequest:
    """Return the request of a run of these accounts' requests, as ``export_async`` takes them."""
    check_requests(requests)
    identity = {**identity_of(requests), **options.identity()}
    if all_of is not None:
        identity["all_of"] = dict(all_of)
    return RunRequest(
        identity=identity,
        accounts=[request.account for request in requests],
        keeps_accounts=all_of is not None,
        skipped=skipped,
        details=details,
    )


def accounts_of_key(store: Store, key: str | None, *, restart: bool) -> list[str] | None:
    """Return the accounts of the run with this key, None if there is none that is continued.

    Such a run is resumed, or reported, with its own accounts: they need not be listed again. A run
    that starts has to list them, for those that are skipped, too: ``restart`` starts one, and a run
    that has committed nothing may make way for one.
    """
    run = run_of_key(store, key) if key is not None and not restart else None
    if run is None or not (run.commits or run.shards.of):
        return None
    return [account for account in run.accounts if account]


class ApiSource(Source):
    """The pages of the accounts that a run has not read yet, from the API."""

    def __init__(
        self, requests: list[LicensesRequest], connection: Connection, cancel: Cancel | None = None
    ) -> None:
        self._requests = requests
        self._connection = connection
        self._cancel = cancel
        self._scheduler = Scheduler(connection, self._read_page, Bounds(1, 1), self._on_change)
        self._done_before = 0
        self._failed_before = 0

    @property
    def failed(self) -> Mapping[str, StreamlicError]:
        """The error of each account that failed."""
        return self._scheduler.failed

    @property
    def is_stopped(self) -> bool:
        """Whether it was cancelled before every page was read."""
        return self._scheduler.is_stopped

    async def rest(self) -> None:
        """Wait until requests of a process that this one replaces cannot exceed a limit.

        It may have been sending until now, with the same share of the token's rate.
        """
        limit = self._connection.own_token_limit
        end = time.monotonic() + (limit.window_seconds if limit else 0)
        while (left := end - time.monotonic()) > 0 and not self.is_cancelled():  # noqa: ASYNC110
            await asyncio.sleep(min(left, TICK_SECONDS))

    def is_cancelled(self) -> bool:
        """Return whether the caller wants the job to stop."""
        return self._cancel is not None and self._cancel.is_set()

    def drain(self) -> None:
        """Request no further page; ``read_pages`` ends when the pages in flight have ended."""
        self._scheduler.drain()

    def status(self) -> SourceStatus:
        """Return what is cheap to know of its progress, as of now."""
        return SourceStatus(
            accounts_done=self._done_before + self._scheduler.done,
            accounts_failed=len(self._scheduler.failed),
            pages_under_way=self._scheduler.pages_under_way,
            bytes_received=self._connection.bytes_received,
            retries=self._connection.retries,
        )

    async def still_existing(self, accounts: list[str]) -> set[str]:
        """Return which of these accounts exist, though a full listing lacks them.

        One that the API does not deny exists: the rows of a customer are at stake.
        """
        async with self._connection:
            return {one for one in accounts if not await is_gone(self._connection, one)}

    def waits(self) -> list[WaitStatus]:
        """Return what requests wait for, one for each reason."""
        return self._scheduler.waits()

    def slowest(self) -> list[ActiveAccount]:
        """Return the accounts under way that started first."""
        now = time.monotonic()
        return [
            ActiveAccount(one.account, one.pages.count, now - one.started_at)
            for one in islice(self._scheduler.under_way.values(), _SLOWEST)
        ]

    async def read_pages(self, job: Job) -> None:
        """Read every page that the run does not have."""
        self._job = job
        self._details = DetailsReader(job, self._connection)
        accounts, options = len(job.run.accounts), job.options
        self._scheduler.bounds = Bounds(
            room_for_connections(options.pages_at_once(accounts)),
            options.large_pages_at_once(accounts),
        )
        self._connection.read_buffer_bytes = options.read_buffer_bytes(accounts)
        left = self._accounts_left(job)
        async with self._connection:
            self._done_before = accounts - len(left)
            self._on_change(None)
            ticking = asyncio.create_task(self._tick())
            try:
                await self._scheduler.run(left)
            finally:
                ticking.cancel()
                self._on_change(None)

    def _accounts_left(self, job: Job) -> list[ScheduledAccount]:
        """Return the accounts that the run has not read to their ends, at their resume points."""
        known = {request.account: request for request in self._requests}
        points = {account or "": job.run.point(account) for account in job.run.accounts}
        left = (
            (known.get(account) or self._requests[0].of(account), point)
            for account, point in points.items()
            if not (point.is_done or job.run.is_complete)
        )
        return scheduled(left, self._connection.policy)

    async def _read_page(self, account: ScheduledAccount, permit: Permit) -> None:
        """Read an account's next page, or first what is known of the account."""
        params, limits = account.pages.request, self._job.options.limits
        limits.check_pages(account.pages.count)

        def check(envelope: Envelope) -> None:
            check_count(envelope)
            account.pages.check(envelope.next_cursor)
            account.duplicates.check(envelope)

        def on_large() -> None:
            account.is_large = True

        job, connection = self._job, self._connection
        account.is_large = False
        if self._details.are_missing(params.account):
            await self._details.learn(params.account, permit)
            return  # The scheduler asks for the page, with a permit of its own.
        async with connection.page(params, permit) as page:
            if job.options.ndjson is not None:
                page.check(ndjson=job.options.ndjson)

            def open_decoder() -> Decoder:
                decoder = job.options.open_decoder(ndjson=page.is_ndjson, key_by=params.key_by)
                is_further = job.options.raw and page.has_next_link
                next_link = "the Link header" if is_further else None
                return ChecksummingDecoder(decoder, limits, account.rows, next_link=next_link)

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
        account.rows += envelope.rows
        account.pages.page_arrived(envelope.next_cursor)  # The arrow back.
        if account.pages.is_done:
            job.progress.record(AccountEnded(params.account))

    async def _tick(self) -> None:
        """Call the observer, and commit what is due, though no page may end for long.

        An error here ends the run through the scheduler: nothing awaits this task.
        """
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._on_change(None)
                await self._job.commit_if_due()
            except Exception as error:  # noqa: BLE001  # the scheduler raises it
                self._scheduler.stop(error)
                return

    def _on_change(self, retry: Retry | None) -> None:
        progress, failed = self._job.progress, self._scheduler.failed
        if retry:
            progress.record(retry)
        for account, error in islice(failed.items(), self._failed_before, None):
            progress.record(AccountEnded(account, error))
        self._failed_before = len(failed)
        progress.notify()
        if self.is_cancelled():  # By the observer, for one.
            self._scheduler.stop()
