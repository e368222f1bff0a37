"""The licenses of many accounts, read at once: pages in, record batches out, in bounded memory.

Rules:
1. The scheduler of ``export`` decides which account's page comes next. An account's pages come in
   order; pages of different accounts come in any order.
2. One page at a time is decoded, and only while the queue of batches has room. Besides the queue,
   memory holds the first chunks of each page in flight, and up to ``_HELD_BYTES`` of each large
   page's batches. A page is large if its body does not fit into its share of memory.
3. No row is queued twice. The rows of a page are queued when it is complete, and it is requested
   again if it fails. A large page with more than ``_HELD_BYTES`` is queued as it arrives: if it
   fails, its account fails.
4. An account that fails does not stop the others: its error is raised after their last batch. An
   error that concerns all accounts is raised after the batches that were queued before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar, TypeVarTuple

import pyarrow as pa

from streamlic.api.accounts_table import AccountRead
from streamlic.api.batch_queue import BatchQueue
from streamlic.dataset.records import ResumePoint
from streamlic.decoder import Decoder, Envelope
from streamlic.errors import DecodeError, ReportedFailure
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import ChecksummingDecoder, check_count
from streamlic.job.pipeline.chunks import BodyPrefix
from streamlic.job.scheduler import Bounds, ScheduledAccount, Scheduler, scheduled
from streamlic.system.machine import room_for_connections
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.response import Page
from streamlic.truto.retry import Retry

_HELD_BYTES = 8 << 20
_LARGE_RECORD_BYTES = 4 << 20
_MAX_RECORD_BYTES = 64 << 20
Args = TypeVarTuple("Args")
T = TypeVar("T")
Shape = Callable[[str, pa.RecordBatch], pa.RecordBatch]
"""Makes the consumer's batch of an account's decoded one."""


class Listing:
    """The licenses of each request's account. ``connection`` has to be entered meanwhile.

    ``reads`` has what is known of each account that was started. With ``skip_failed`` the errors of
    accounts are only found there.
    """

    def __init__(
        self,
        connection: Connection,
        requests: Sequence[LicensesRequest],
        options: JobOptions,
        shape: Shape = lambda _, batch: batch,
    ) -> None:
        accounts = len(requests)
        large_pages = options.large_pages_at_once(accounts)
        self._connection = connection
        self._requests = requests
        self._options = options
        self._shape = shape
        self._small_body_bytes = options.small_body_bytes(accounts)
        self._queue = BatchQueue()
        self._decoding = asyncio.Lock()
        self._large_pages = asyncio.Semaphore(large_pages)
        self._large_record = asyncio.Lock()
        self._scheduler = Scheduler(
            connection,
            self._read_page,
            Bounds(room_for_connections(options.pages_at_once(accounts)), large_pages),
            self._on_change,
            can_restart=False,
        )
        self._failures = 0
        self.reads: dict[str, AccountRead] = {}

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield all batches. Closing the generator ends every request."""
        running = asyncio.create_task(self._run())
        try:
            while (batch := await self._queue.take()) is not None:
                yield batch
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if self._scheduler.failed and not self._options.skip_failed:
            first, *others = self._scheduler.failed.values()
            if others:
                first.add_note(f"{len(others):,} more of {len(self._requests):,} accounts failed")
            raise first

    async def _run(self) -> None:
        start = ResumePoint()
        requests = ((request, start) for request in self._requests)
        try:
            await self._scheduler.run(scheduled(requests, self._connection.policy))
        finally:
            self._queue.end()

    def _on_change(self, _: Retry | None) -> None:
        """Record which accounts have failed since the last call."""
        for account, error in islice(self._scheduler.failed.items(), self._failures, None):
            self.reads[account].fail(error)
        self._failures = len(self._scheduler.failed)

    async def _read_page(self, account: ScheduledAccount, permit: Permit) -> None:
        """Read an account's next page."""
        request, options = account.pages.request, self._options
        read = self.reads.setdefault(account.account, AccountRead(datetime.now(UTC)))
        account.is_large = account.is_handed_on = False
        async with self._connection.page(request, permit) as page:

            def open_decoder() -> Decoder:
                decoder = options.open_decoder(ndjson=page.is_ndjson, key_by=request.key_by)
                next_link = "the Link header" if options.raw and page.has_next_link else None
                return ChecksummingDecoder(
                    decoder, options.limits, account.rows, next_link=next_link
                )

            try:
                envelope = await self._decode(account, page, open_decoder)
            except ReportedFailure as failure:
                raise self._connection.reported(failure, page, account.account) from None
            except DecodeError as error:
                page.hide_in(error)
                raise
        account.rows += envelope.rows
        account.pages.page_arrived(envelope.next_cursor)
        read.add_page(envelope, is_last=account.pages.is_done)

    async def _decode(
        self, account: ScheduledAccount, page: Page, open_decoder: Callable[[], Decoder]
    ) -> Envelope:
        """Decode a page and queue its batches; return its envelope."""
        async with aclosing(page.chunks()) as arriving:
            prefix = BodyPrefix()
            await prefix.read(arriving, self._small_body_bytes)
            if not prefix.is_whole:
                account.is_large = True
                async with self._large_pages, aclosing(prefix.then(arriving)) as chunks:
                    return await self._decode_large(account, open_decoder(), chunks)
        envelope, batches = await self._decoded(_decode_whole, open_decoder, prefix.chunks)
        self._check(account, envelope)
        self._put(account, batches)
        return envelope

    async def _decode_large(
        self, account: ScheduledAccount, decoder: Decoder, chunks: AsyncGenerator[bytes, None]
    ) -> Envelope:
        held: list[pa.RecordBatch] = []
        held_bytes = 0
        async with AsyncExitStack() as stack:
            has_large_record = False
            async for chunk in chunks:
                batches = await self._decoded(decoder.feed, chunk)
                held += batches
                held_bytes += sum(batch.nbytes for batch in batches)
                if held_bytes > _HELD_BYTES:
                    account.is_handed_on = True
                    self._put(account, held)
                if decoder.held_bytes > _LARGE_RECORD_BYTES and not has_large_record:
                    await stack.enter_async_context(self._large_record)
                    has_large_record = True
            held += await self._decoded(decoder.close)
            envelope = decoder.envelope
            self._check(account, envelope)
            self._put(account, held)
        return envelope

    async def _decoded(self, step: Callable[[*Args], T], *args: *Args) -> T:
        """Run a step of decoding in a thread, one at a time, as soon as there is room."""
        async with self._decoding:
            await self._queue.room()
            return await asyncio.to_thread(step, *args)

    def _check(self, account: ScheduledAccount, envelope: Envelope) -> None:
        check_count(envelope)
        account.pages.check(envelope.next_cursor)
        account.duplicates.check(envelope)

    def _put(self, account: ScheduledAccount, batches: list[pa.RecordBatch]) -> None:
        """Queue an account's batches, and remove them from the list."""
        while batches:
            batch = batches.pop(0)
            self.reads[account.account].rows += batch.num_rows
            self._queue.put(self._shape(account.account, batch))


def reading_options(request: LicensesRequest, **given: Any) -> JobOptions:
    """Return the options for reading lists like that of ``request``; UsageError if one is invalid.

    ``memory_bytes`` is the default of an export: it decides how many pages are in flight.
    """
    raw = request.response_format == "raw"
    return JobOptions(raw=raw, max_record_bytes=_MAX_RECORD_BYTES, **given)


def _decode_whole(
    open_decoder: Callable[[], Decoder], chunks: list[bytes]
) -> tuple[Envelope, list[pa.RecordBatch]]:
    """Return the envelope and the batches of a whole body."""
    decoder = open_decoder()  # Only now: it takes more memory than the body.
    batches = decoder.feed(b"".join(chunks)) + decoder.close()
    return decoder.envelope, batches
