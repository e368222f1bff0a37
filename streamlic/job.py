"""The job: pages in, a dataset out; the only place that knows the order of the steps.

Rules:
1. A page counts when its JSON was complete, its count was right and its batches are with the
   writer; then, and only then, the account's resume point moves on.
2. A page that fails is abandoned whole and asked for again.
3. A commit covers whole pages only. It follows a full part file, or ``commit_seconds``, or the end,
   whatever the end is: what was whole when a run was interrupted or failed is kept.
4. Decoding and encoding run in one thread of their own; the next chunk waits for it, so that
   backpressure reaches the socket.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import Any, BinaryIO

from streamlic.client import Connection
from streamlic.commits import ResumePoint, Run
from streamlic.dataset import DatasetWriter
from streamlic.decoder import Decoder, Envelope, engine_named
from streamlic.errors import ApiError, DecodeError, PageMismatch, TransportError, UsageError
from streamlic.job_options import JobOptions
from streamlic.request import LicensesRequest
from streamlic.runs import open_run
from streamlic.store import LocalStore
from streamlic.summary import AccountSummary, OnProgress, Progress, Summary

_READ_BYTES = 256 * 1024
_REMEMBERED_CURSORS = 20_000
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
    """One run on its way: the writer, the resume points to be committed, the progress."""

    def __init__(self, run: Run, options: JobOptions, on_progress: OnProgress | None) -> None:
        self.run = run
        self.options = options
        self.progress = Progress(resumed_rows=run.rows)
        self.engine = engine_named(options.engine)
        self._on_progress = on_progress
        self._moved: dict[str | None, ResumePoint] = {}
        self._committed_at = time.monotonic()
        self._writer = DatasetWriter(
            run.store,
            run.staging,
            run.part_prefix,
            schema=options.schema,
            has_account=True,
            exported_at=run.started_at,
            first_number=run.next_part_number(),
            options=options.write_options,
        )
        self._is_torn = False
        self._thread = ThreadPoolExecutor(1, "streamlic-decode")

    def point(self, account: str | None) -> ResumePoint:
        """Return how far an account has come, what is not yet committed included."""
        return self._moved.get(account) or self.run.point(account)

    def told(self, **changes: Any) -> None:
        """Tell who watches."""
        for name, value in changes.items():
            setattr(self.progress, name, value)
        if self._on_progress:
            self._on_progress(self.progress)

    async def read_page(
        self,
        account: str | None,
        decoder: Decoder,
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
    ) -> Envelope:
        """Decode one page into the writer; ``check`` may still refuse it when it is decoded."""
        self._writer.begin_page(account)
        loop = asyncio.get_running_loop()
        async with aclosing(chunks) as arriving:
            async for chunk in arriving:
                await loop.run_in_executor(self._thread, self._take, decoder, chunk)
        await loop.run_in_executor(self._thread, self._take, decoder, None)
        check_count(decoder.envelope)
        check(decoder.envelope)
        await loop.run_in_executor(self._thread, self._end_page, account, decoder.envelope)
        self.told(retry=None)
        return decoder.envelope

    def _take(self, decoder: Decoder, chunk: bytes | None) -> None:
        for batch in decoder.close() if chunk is None else decoder.feed(chunk):
            self._writer.write(batch)

    def _end_page(self, account: str | None, envelope: Envelope) -> None:
        """Give the page to the next commit, rows and resume point together.

        Both in this one call, in the thread: a cancelled task cannot come in between.
        """
        self._is_torn = True
        self._writer.end_page()
        before = self.point(account)
        is_partial = envelope.is_partial_response or envelope.next_link is not None
        self._moved[account] = ResumePoint(
            cursor=envelope.next_cursor or None,
            is_done=not envelope.next_cursor,
            rows=before.rows + envelope.rows,
            rescued=before.rescued + envelope.rescued,
            pages=before.pages + 1,
            is_partial=before.is_partial or is_partial,
        )
        self._is_torn = False
        self.progress.account = account
        self.progress.rows += envelope.rows
        self.progress.pages += 1
        self.progress.rescued += envelope.rescued

    def commit_if_due(self) -> None:
        """Commit a full part file, or what has waited for ``commit_seconds``."""
        waited = time.monotonic() - self._committed_at
        if self._writer.is_full or waited >= self.options.commit_seconds:
            self.commit()

    def commit(self, *, is_complete: bool = False) -> None:
        """Promise what is whole."""
        with_empty = is_complete and not self.run.files
        files = self._writer.finish(with_empty=with_empty)
        if files or self._moved or is_complete:
            self.run.commit(files, self._moved, is_complete=is_complete)
            self._moved = {}
        self._committed_at = time.monotonic()
        self.told(parts=len(self.run.files))

    def close(self, *, keeps_pages: bool) -> None:
        """End the job; ``keeps_pages`` commits the pages that are whole."""
        self._thread.shutdown(wait=True)
        try:
            if keeps_pages and not self._is_torn:
                self._writer.abandon_page()
                self.commit()
        finally:
            self._writer.discard()

    def summary(self, *, seconds: float, retries: int, bytes_received: int) -> Summary:
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
            bytes_written=self._writer.bytes_written,
            seconds=round(seconds, 3),
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
                job.commit(is_complete=True)
        except _OTHERS_FAULTS:
            keeps_pages = True
            raise
        finally:
            job.close(keeps_pages=keeps_pages)
    return job.summary(
        seconds=time.monotonic() - started,
        retries=connection.retries,
        bytes_received=connection.bytes_received,
    )


async def _export_account(job: _Job, connection: Connection, request: LicensesRequest) -> None:
    account = request.account
    point = job.point(account)
    params = None if point.is_done else replace(request, next_cursor=point.cursor)
    cursors = _Cursors()
    job.told(account=account)
    while params:
        envelope = await _export_page(job, connection, params, cursors)
        params = params.after(envelope.next_cursor)  # the arrow back
        job.commit_if_due()


async def _export_page(
    job: _Job, connection: Connection, params: LicensesRequest, cursors: _Cursors
) -> Envelope:
    def check(envelope: Envelope) -> None:
        cursors.check(params.next_cursor, envelope.next_cursor)

    async for attempt in connection.attempts(lambda retry: job.told(retry=retry)):
        with attempt:
            async with connection.page(params) as page:
                is_lines = page.is_lines
                if job.options.is_lines is not None:
                    page.check(is_lines=job.options.is_lines)
                decoder = job.options.open_decoder(is_lines=is_lines)
                envelope = await job.read_page(params.account, decoder, page.chunks(), check)
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
            if not job.point(account).is_done:
                await job.read_page(account, options.open_decoder(), chunks(), _is_all)
            job.commit(is_complete=True)
        finally:
            job.close(keeps_pages=False)
    seconds = time.monotonic() - started
    return job.summary(seconds=seconds, retries=0, bytes_received=received)


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
    envelope.next_cursor = None


def check_count(envelope: Envelope) -> None:
    """Raise PageMismatch where the page has another number of rows than it says.

    A keyed result may hold fewer: of records with the same key the server keeps one.
    """
    count = envelope.result_count
    if count is None or envelope.rows == count or (envelope.is_keyed and envelope.rows < count):
        return
    raise PageMismatch(
        f"expected {count} rows, as the page's result_count says, got {envelope.rows}"
    )


class _Cursors:
    """Notices a cursor that comes again, in bounded memory: by the last ones, and by Brent's way.

    Brent's way keeps one cursor, renewed at every power of two, which any cycle meets in the end.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._kept: str | None = None
        self._count = 0

    def check(self, asked: str | None, following: str | None) -> None:
        """Raise PageMismatch if the page asked for by ``asked`` leads back to one before it."""
        if asked and hash(asked) not in self._recent:  # Else it is asked for again.
            self._recent[hash(asked)] = None
            if len(self._recent) > _REMEMBERED_CURSORS:
                self._recent.popitem(last=False)
            self._count += 1
            if self._count & (self._count - 1) == 0:
                self._kept = asked
        if following and (hash(following) in self._recent or following == self._kept):
            raise PageMismatch(
                "the API gave a cursor for the second time, so that its pages go round in a "
                f"circle; the cursor ends in {following[-12:]!r}"
            )
