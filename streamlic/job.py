"""The job: pages in, a dataset out; the only place that knows the order of the steps.

Rules:
1. A page counts when its JSON was complete, its count was right and its batches are with the
   writer; then, and only then, the account's resume point moves on.
2. A page that fails is abandoned whole and asked for again.
3. A commit covers whole pages only. It follows a full part file, or ``commit_seconds``, or the end,
   whatever the end is: what was whole when a run was interrupted or failed is kept.
4. The next page is asked for when this one is decoded and right, and before it is encoded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

from streamlic.client import Connection
from streamlic.commits import Run
from streamlic.committer import Committer
from streamlic.decoder import Decoder, Envelope, engine_named
from streamlic.errors import ApiError, DecodeError, PageMismatch, TransportError, UsageError
from streamlic.job_options import JobOptions
from streamlic.page_checks import Cursors, check_count
from streamlic.pipeline import Pipeline
from streamlic.request import LicensesRequest
from streamlic.runs import open_run
from streamlic.store import LocalStore
from streamlic.summary import AccountSummary, OnProgress, Progress, Summary

_READ_BYTES = 256 * 1024
_OTHERS_FAULTS = (
    ApiError,
    TransportError,
    DecodeError,
    PageMismatch,
    UsageError,
    asyncio.CancelledError,
)
"""What ends a run without casting doubt on what the writer holds: whole pages are then kept."""


class _Job:
    """One run on its way: the pipeline to its commits, and the progress."""

    def __init__(self, run: Run, options: JobOptions, on_progress: OnProgress | None) -> None:
        self.run = run
        self.options = options
        self.progress = Progress(resumed_rows=run.rows)
        self.engine = engine_named(options.engine)
        self._on_progress = on_progress
        self._committer = Committer(run, options)
        self._pipeline = Pipeline(
            self._committer,
            chunk_bytes=options.chunk_queue_bytes,
            batch_bytes=options.batch_queue_bytes,
            whole_bytes=options.whole_bytes,
        )

    def told(self, **changes: Any) -> None:
        """Tell who watches."""
        self.progress.parts = len(self.run.files)
        vars(self.progress).update(changes)
        if self._on_progress:
            self._on_progress(self.progress)

    async def read_page(
        self,
        account: str | None,
        open_decoder: Callable[[], Decoder],
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
    ) -> Envelope:
        """Decode one page and have it encoded; ``check`` may still refuse it in between."""
        envelope = await self._pipeline.take_page(account, open_decoder, chunks, check)
        self.progress.pages += 1
        self.progress.rows += envelope.rows
        self.progress.rescued += envelope.rescued
        self.told(account=account, retry=None)
        return envelope

    async def complete(self) -> None:
        """Promise all pages, and that there are no more."""
        await self._pipeline.encode(self._committer.complete)
        self.told()

    def close(self, *, keeps_pages: bool) -> None:
        """End the job; ``keeps_pages`` commits the pages that are whole."""
        self._pipeline.close()
        self._committer.close(keeps_pages=keeps_pages and self._pipeline.failure is None)

    def summary(self, *, started: float, retries: int, bytes_received: int) -> Summary:
        """Sum up what is committed."""
        accounts = [
            AccountSummary(
                account=account,
                rows=point.rows,
                rescued=point.rescued,
                pages=point.pages,
                partial_response=point.is_partial,
                complete=point.is_done,
            )
            for account, point in ((one, self.run.point(one)) for one in self.run.accounts)
        ]
        return Summary(
            run=self.run.id,
            complete=self.run.is_complete,
            resumed=self.run.is_resumed,
            rows=self.run.rows,
            rescued=sum(one.rescued for one in accounts),
            pages=sum(one.pages for one in accounts),
            parts=len(self.run.files),
            bytes_received=bytes_received,
            bytes_written=self._committer.bytes_written,
            seconds=round(time.monotonic() - started, 3),
            engine=self.engine,
            partial_response=any(one.partial_response for one in accounts),
            retries=retries,
            accounts=accounts,
        )


async def export_async(
    dest: str,
    requests: Iterable[LicensesRequest],
    connection: Connection,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Land the licenses of each request's account in ``dest``; one account after the other.

    The requests must differ in nothing but their accounts. Goes on with an unfinished run of the
    same requests. Raises the StreamlicError that ended it; what is whole until then is committed.
    """
    options = options or JobOptions()
    requests = list(requests)
    _check_requests(requests)
    store = LocalStore(dest)
    started = time.monotonic()
    with store.lock():
        run = open_run(
            store,
            request={**requests[0].identity(), **options.identity()},
            accounts=[request.account for request in requests],
            mode=options.mode,
            restart=options.restart,
        )
        job = _Job(run, options, on_progress)
        keeps_pages = False
        try:
            async with connection:
                for request in requests:
                    await _export_account(job, connection, request)
                await job.complete()
        except _OTHERS_FAULTS:
            keeps_pages = True
            raise
        finally:
            job.close(keeps_pages=keeps_pages)
    received = connection.bytes_received
    return job.summary(started=started, retries=connection.retries, bytes_received=received)


async def _export_account(job: _Job, connection: Connection, request: LicensesRequest) -> None:
    point = job.run.point(request.account)
    params = None if point.is_done else replace(request, next_cursor=point.cursor)
    cursors = Cursors()
    job.told(account=request.account)
    while params:
        envelope = await _export_page(job, connection, params, cursors)
        params = params.after(envelope.next_cursor)  # the arrow back


async def _export_page(
    job: _Job, connection: Connection, params: LicensesRequest, cursors: Cursors
) -> Envelope:
    def check(envelope: Envelope) -> None:
        check_count(envelope)
        cursors.check(params.next_cursor, envelope.next_cursor)

    async for attempt in connection.attempts(lambda retry: job.told(retry=retry)):
        with attempt:
            async with connection.page(params) as page:
                is_lines = page.is_lines
                if job.options.is_lines is not None:
                    page.check(is_lines=job.options.is_lines)
                opened = partial(job.options.open_decoder, is_lines=is_lines)
                envelope = await job.read_page(params.account, opened, page.chunks(), check)
                job.progress.bytes_received = connection.bytes_received
                return envelope
    raise AssertionError  # attempts() ends with a return or an error


async def convert_async(
    source: BinaryIO,
    dest: str,
    *,
    account: str | None = None,
    name: str = "-",
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Land one body that is at hand, read from ``source``, in ``dest``; ``name`` identifies it."""
    options = options or JobOptions()
    store = LocalStore(dest)
    started = time.monotonic()
    received = 0

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal received
        while chunk := await asyncio.to_thread(source.read, _READ_BYTES):
            received += len(chunk)
            job.progress.bytes_received = received
            job.told()
            yield chunk

    with store.lock():
        run = open_run(
            store,
            request={"source": name, **options.identity()},
            accounts=[account],
            mode=options.mode,
            restart=options.restart,
        )
        job = _Job(run, options, on_progress)
        try:
            if not job.run.point(account).is_done:
                await job.read_page(account, options.open_decoder, chunks(), _is_all)
            await job.complete()
        finally:
            job.close(keeps_pages=False)
    return job.summary(started=started, retries=0, bytes_received=received)


def _check_requests(requests: list[LicensesRequest]) -> None:
    if not requests:
        raise UsageError("expected at least one account (--account)")
    accounts = [request.account for request in requests]
    doubled = {account for account in accounts if accounts.count(account) > 1}
    if doubled:
        raise UsageError(f"an account is given twice: {min(doubled)} (--account)")
    if any(request.identity() != requests[0].identity() for request in requests):
        raise UsageError("the requests of one export may differ in their accounts only")


def _is_all(envelope: Envelope) -> None:
    """Take a body at hand for the whole listing: there is nobody to ask for the next page."""
    check_count(envelope)
    envelope.next_cursor = None
