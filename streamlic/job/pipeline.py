"""Chunks in, pages out: one thread decodes, one encodes, and the event loop waits for neither.

Rules:
1. Who is behind is waited for, in one direction: the page's coroutine waits for the decode thread,
   that one for the encode thread, and that one for the disk. So backpressure reaches the socket,
   and no two wait for each other.
2. Beside the chunks being decoded at most ``chunk_bytes`` and a chunk wait; beside the batch in
   hand at most ``batch_bytes`` and a batch. Encoding comes in bursts, one for each row group: with
   room for less than a row group decoding stands still in each, and encoding after each.
3. A page comes to the encode thread by way of the decode thread, in the order of its account's
   pages. A large page passes in pieces, beside which other pages pass; of large pages only so many
   are let in at a time, and small ones wait for none of them. Small ones pass whole: see
   ``small_pages``.
4. A page in whose midst a record becomes larger than ``record_bytes`` waits until no other page has
   such a record: until what came of it is encoded.
5. Of a page that failed or was cancelled, neither thread takes up anything more.
6. A failure in the encode thread is the last that happens there: whoever comes later is told it.
   Otherwise the error that came first counts, and bytes that came before an error come first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Protocol

import pyarrow as pa

from streamlic.decoder import Decoder, Envelope
from streamlic.errors import TransportError
from streamlic.job.chunks import BodyPrefix, joined
from streamlic.job.small_pages import SmallPage, SmallPages

_MAX_STEPS = 64  # For pages that hold hardly a row.
_SOON_BYTES = 64 * 1024
_SOON_SECONDS = 0.1


class LargePage(Protocol):
    """A page in progress; all of it is called in the encode thread."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch of the page."""

    def end(self, envelope: Envelope) -> None:
        """Say that the page is whole."""

    def abandon(self) -> None:
        """Forget the page."""


class Pages(Protocol):
    """Where pages go; all of it is called in the encode thread."""

    def take_whole(
        self, batch: pa.RecordBatch | None, pages: Sequence[tuple[str | None, Envelope]]
    ) -> None:
        """Take whole pages, their rows one page's after the other's."""

    def begin_page(self, account: str | None) -> LargePage:
        """Begin a large page of this account's rows."""


class Pipeline:
    """Two threads, and the bounded queues before them. Close it, whatever happened.

    Bodies up to ``small_body_bytes`` are small. At most ``max_large_pages`` others are decoded at
    a time.
    """

    def __init__(
        self,
        pages: Pages,
        *,
        chunk_bytes: int,
        batch_bytes: int,
        small_body_bytes: int = 0,
        max_large_pages: int = 1,
        record_bytes: int = 4 << 20,
    ) -> None:
        self.pages = pages
        self.chunk_bytes = chunk_bytes
        self._batch_bytes = batch_bytes
        self._small_body_bytes = small_body_bytes
        self._large_pages = asyncio.Semaphore(max_large_pages)
        self.record_bytes = record_bytes
        self.large_record = asyncio.Semaphore(1)
        self.failure: BaseException | None = None
        """What failed in the encode thread, if anything did: the pages are then in doubt."""
        self._decode_thread = ThreadPoolExecutor(1, "streamlic-decode")
        self._encode_thread = ThreadPoolExecutor(1, "streamlic-encode")
        self._steps: deque[tuple[Future[None], int]] = deque()
        self._steps_bytes = 0
        self._small = SmallPages(self)

    async def take_page(
        self,
        account: str | None,
        open_decoder: Callable[[], Decoder],
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
        on_large: Callable[[], None] | None = None,
    ) -> Envelope:
        """Decode a page and put it on its way; ``check`` may refuse it when all is decoded.

        ``check`` is called in the decode thread; ``on_large`` when the page is found to be large.
        When this returns the page is decoded and all right; a failure to encode it is told to who
        comes next.
        """
        async with aclosing(chunks) as arriving:
            prefix = BodyPrefix()
            await prefix.read(arriving, self._small_body_bytes)
            if prefix.is_whole:
                small = SmallPage(account, open_decoder, prefix.chunks, check)
                return await self._small.take(small)
            if on_large:
                on_large()
            async with self._large_pages, aclosing(prefix.then(arriving)) as all_chunks:
                page = _Page(self, account, open_decoder())
                return await self._stream(page, all_chunks, check)

    async def _stream(
        self,
        page: _Page,
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
    ) -> Envelope:
        try:
            try:
                async for chunk in chunks:
                    await page.take(chunk)
            except TransportError:
                await page.take_rest()
                raise
            return await page.take_end(check)
        except BaseException:
            page.is_over = True
            with suppress(RuntimeError):  # The threads have ended, and with them the page.
                self._encode_thread.submit(self._encoded, page.abandon)
            raise
        finally:
            with suppress(RuntimeError):  # Likewise.
                page.end_large_record()

    async def encode(self, step: Callable[[], None]) -> None:
        """Do something in the encode thread, after all the pages that were taken."""
        await asyncio.wrap_future(self._encode_thread.submit(self._encoded, step))

    def close(self) -> None:
        """Wait for both threads to end what they have begun, and all whole pages."""
        self._decode_thread.shutdown(wait=True)
        self._encode_thread.shutdown(wait=True)

    def end_large_record(self) -> None:
        """Let another page have a large record, once all is encoded that was handed on by now."""
        loop = asyncio.get_running_loop()

        def give_back(_: Future[None]) -> None:
            with suppress(RuntimeError):  # The loop has ended, and with it all pages.
                loop.call_soon_threadsafe(self.large_record.release)

        self._encode_thread.submit(_nothing).add_done_callback(give_back)

    def submit(self, step: Callable[[], None]) -> Future[None]:
        """Have something done in the decode thread."""
        return self._decode_thread.submit(self._decoded, step)

    def put(self, step: Callable[[], None], size: int) -> None:
        """Hand something on from the decode thread to the encode thread, when there is room."""
        while self._steps and (
            self._steps[0][0].done()
            or self._steps_bytes >= self._batch_bytes
            or len(self._steps) >= _MAX_STEPS
        ):
            done, done_bytes = self._steps.popleft()
            done.result()
            self._steps_bytes -= done_bytes
        if self.failure:
            raise self.failure
        self._steps.append((self._encode_thread.submit(self._encoded, step), size))
        self._steps_bytes += size

    def _decoded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            if self.failure and self.failure is not error:
                raise self.failure from error
            raise

    def _encoded(self, step: Callable[[], None]) -> None:
        if self.failure:
            raise self.failure
        try:
            step()
        except BaseException as error:
            self.failure = error
            raise


def _nothing() -> None:
    """Wait for a thread to come to this."""


class _Page:
    """A page on its way: its chunks in the coroutine, its decoder and batches in the threads."""

    def __init__(self, pipeline: Pipeline, account: str | None, decoder: Decoder) -> None:
        self.is_over = False
        self._pipeline = pipeline
        self._account = account
        self._decoder = decoder
        self._page: LargePage | None = None
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._decoding: Future[None] | None = None
        self._handed_on_at = time.monotonic()
        self._has_large_record = False

    # In the coroutine

    async def take(self, chunk: bytes) -> None:
        """Take a chunk; hand on what gathered, if it is much or the decode thread is at leisure."""
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        if self._decoding and not self._decoding.done():
            is_due = self._bytes >= self._pipeline.chunk_bytes
        else:
            waited = time.monotonic() - self._handed_on_at
            is_due = self._bytes >= _SOON_BYTES or waited >= _SOON_SECONDS
        if is_due:
            await self._hand_on(self._feed)

    async def take_rest(self) -> None:
        """Decode all that came, though the body is not to be ended."""
        await self._hand_on(self._feed)
        await self._settled()

    async def take_end(self, check: Callable[[Envelope], None]) -> Envelope:
        """Decode what is left, and the end of the body."""
        await self._hand_on(lambda chunks: self._close(chunks, check))
        await self._settled()
        return self._decoder.envelope

    def end_large_record(self) -> None:
        """Let another page have a large record, if this one had."""
        if self._has_large_record:
            self._has_large_record = False
            self._pipeline.end_large_record()

    async def _hand_on(self, step: Callable[[list[bytes]], None]) -> None:
        await self._settled()
        if self._decoder.held_bytes <= self._pipeline.record_bytes:
            self.end_large_record()
        elif not self._has_large_record:
            await self._pipeline.large_record.acquire()
            self._has_large_record = True
        chunks, self._chunks, self._bytes = self._chunks, [], 0
        self._decoding = self._pipeline.submit(lambda: step(chunks))
        self._handed_on_at = time.monotonic()

    async def _settled(self) -> None:
        if self._decoding:
            await asyncio.wrap_future(self._decoding)

    # In the decode thread

    def _feed(self, chunks: list[bytes]) -> None:
        for piece in joined(chunks):
            batches = [] if self.is_over else self._decoder.feed(piece)
            while batches:  # None is kept here once it is handed on.
                self._put([batches.pop(0)])

    def _close(self, chunks: list[bytes], check: Callable[[Envelope], None]) -> None:
        self._feed(chunks)
        if self.is_over:
            return
        batches = self._decoder.close()
        check(self._decoder.envelope)
        self._put(batches, is_last=True)

    def _put(self, batches: list[pa.RecordBatch], *, is_last: bool = False) -> None:
        size = sum(batch.nbytes for batch in batches)
        self._pipeline.put(lambda: self._encode(batches, is_last=is_last), size)

    # In the encode thread

    def _encode(self, batches: list[pa.RecordBatch], *, is_last: bool) -> None:
        if self.is_over:
            return
        if self._page is None:
            self._page = self._pipeline.pages.begin_page(self._account)
        for batch in batches:
            self._page.write(batch)
        if is_last:
            self._page.end(self._decoder.envelope)

    def abandon(self) -> None:
        """Forget the page, whatever came of it."""
        if self._page:
            self._page.abandon()
