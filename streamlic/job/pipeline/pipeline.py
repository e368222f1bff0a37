"""Chunks in, pages out: a decode stage and an encode stage, and the event loop waits for neither.

Rules:
1. Backpressure runs one way: a page's coroutine waits for the decode stage, which waits for the
   encode stage, which waits for the disk. So it reaches the socket, and there is no deadlock.
2. Besides the chunks that are decoded, at most ``chunk_bytes`` and a chunk of each large page wait;
   besides the batch that is encoded, at most ``batch_bytes`` and a batch. Encoding comes in bursts,
   one a row group: with room for less than a row group, decoding waits during each burst and
   encoding after it.
3. A page reaches the encode stage through the decode stage, in the order of its account's pages. A
   large page passes in pieces, between which other pages pass. At most ``max_large_pages`` of them
   are decoded at a time, and small pages wait for none of them. A small page passes whole: see
   ``small_pages``.
4. A page in which a record grows beyond ``record_bytes`` waits until no other page has such a
   record: until everything decoded of that one is encoded.
5. Neither stage starts any further work on a page that failed or was cancelled.
6. A failure in the encode stage is final: every later page fails with it. Otherwise the error that
   came first counts, and bytes that came before an error are decoded first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing, suppress

import pyarrow as pa

from streamlic.dataset.writer import PageWriter
from streamlic.decoder import Decoder, Envelope
from streamlic.errors import TransportError
from streamlic.job.committer import Committer
from streamlic.job.pipeline.chunks import BodyPrefix, joined
from streamlic.job.pipeline.small_pages import SmallPage, SmallPageQueue
from streamlic.job.pipeline.stage import Stage

_SOON_BYTES = 64 * 1024
_SOON_SECONDS = 0.1


class Pipeline:
    """The decode stage feeds the encode stage, which feeds the committer. Close it.

    Bodies up to ``small_body_bytes`` are small pages, all others large ones.
    """

    def __init__(
        self,
        committer: Committer,
        *,
        chunk_bytes: int,
        batch_bytes: int,
        small_body_bytes: int = 0,
        max_large_pages: int = 1,
        record_bytes: int = 4 << 20,
    ) -> None:
        self.committer = committer
        self.chunk_bytes = chunk_bytes
        self.record_bytes = record_bytes
        self.large_record = asyncio.Semaphore(1)
        self.encode_stage = Stage("streamlic-encode", max_bytes=batch_bytes)
        self.decode_stage = Stage("streamlic-decode", feeds=self.encode_stage)
        self._small_body_bytes = small_body_bytes
        self._small_pages = SmallPageQueue(self.decode_stage, self.encode_stage, committer)
        self._large_pages = asyncio.Semaphore(max_large_pages)

    @property
    def failure(self) -> BaseException | None:
        """The first failure in the encode stage, if there is one: its pages are then in doubt."""
        return self.encode_stage.failure

    async def take_page(
        self,
        account: str | None,
        open_decoder: Callable[[], Decoder],
        chunks: AsyncGenerator[bytes, None],
        check: Callable[[Envelope], None],
        on_large: Callable[[], None] | None = None,
    ) -> Envelope:
        """Decode a page and queue it for encoding; return its envelope.

        ``check`` is called in the decode stage, when the page is decoded, and may reject it.
        ``on_large`` is called when the page turns out to be large. If encoding the page fails, the
        next call raises the error.
        """
        async with aclosing(chunks) as arriving:
            prefix = BodyPrefix()
            await prefix.read(arriving, self._small_body_bytes)
            if prefix.is_whole:
                small = SmallPage(account, open_decoder, prefix.chunks, check)
                return await self._small_pages.decode(small)
            if on_large:
                on_large()
            async with self._large_pages, aclosing(prefix.then(arriving)) as all_chunks:
                return await LargePage(self, account, open_decoder(), check).read(all_chunks)

    async def encode(self, step: Callable[[], None]) -> None:
        """Run a step in the encode stage, after every page that was taken."""
        await self.encode_stage.run(step)

    def close(self) -> None:
        """Wait until both stages have ended: every whole page is then encoded."""
        self.decode_stage.close()
        self.encode_stage.close()

    def end_large_record(self) -> None:
        """Let another page have a large record, once everything queued by now is encoded."""
        loop = asyncio.get_running_loop()

        def release(_: Future[None]) -> None:
            with suppress(RuntimeError):  # The loop is closed: no page is left.
                loop.call_soon_threadsafe(self.large_record.release)

        self.encode_stage.submit(_nothing).add_done_callback(release)


def _nothing() -> None:
    """Mark a place in a queue."""


class LargePage:
    """A page that is decoded in pieces as its chunks arrive, and encoded batch by batch.

    A chunk's way: ``add`` in the page's coroutine, ``_decode`` in the decode stage, ``_encode`` in
    the encode stage, where the page's writer takes the batches.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        account: str | None,
        decoder: Decoder,
        check: Callable[[Envelope], None],
    ) -> None:
        self._pipeline = pipeline
        self._account = account
        self._decoder = decoder
        self._check = check
        self._writer: PageWriter | None = None
        self._is_abandoned = False
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._decoding: Future[None] | None = None
        self._submitted_at = time.monotonic()
        self._has_large_record = False

    # In the page's coroutine

    async def read(self, chunks: AsyncGenerator[bytes, None]) -> Envelope:
        """Decode a body to its end. A page that fails or is cancelled is abandoned."""
        try:
            try:
                async for chunk in chunks:
                    await self.add(chunk)
            except TransportError:
                await self._submit(self._decode)  # An error in these bytes comes before it.
                await self._decoded()
                raise
            await self._submit(self._decode_last)
            await self._decoded()
        except BaseException:
            self._is_abandoned = True
            with suppress(RuntimeError):  # The stages are closed, and discard the page.
                self._pipeline.encode_stage.submit(self._abandon)
            raise
        finally:
            with suppress(RuntimeError):  # Likewise.
                self._end_large_record()
        return self._decoder.envelope

    async def add(self, chunk: bytes) -> None:
        """Gather a chunk. Submit what was gathered if it is much or the decode stage is idle."""
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        if self._decoding and not self._decoding.done():
            is_due = self._bytes >= self._pipeline.chunk_bytes
        else:
            waited = time.monotonic() - self._submitted_at
            is_due = self._bytes >= _SOON_BYTES or waited >= _SOON_SECONDS
        if is_due:
            await self._submit(self._decode)

    async def _submit(self, step: Callable[[list[bytes]], None]) -> None:
        """Give the gathered chunks to the decode stage, which has one step of a page at most."""
        await self._decoded()
        if self._decoder.held_bytes <= self._pipeline.record_bytes:
            self._end_large_record()
        elif not self._has_large_record:
            await self._pipeline.large_record.acquire()
            self._has_large_record = True
        chunks, self._chunks, self._bytes = self._chunks, [], 0
        self._decoding = self._pipeline.decode_stage.submit(step, chunks)
        self._submitted_at = time.monotonic()

    async def _decoded(self) -> None:
        if self._decoding:
            await asyncio.wrap_future(self._decoding)

    def _end_large_record(self) -> None:
        if self._has_large_record:
            self._has_large_record = False
            self._pipeline.end_large_record()

    # In the decode stage

    def _decode(self, chunks: list[bytes]) -> None:
        for piece in joined(chunks):
            batches = [] if self._is_abandoned else self._decoder.feed(piece)
            while batches:  # None is referenced here once it is queued.
                self._put(self._encode, [batches.pop(0)])

    def _decode_last(self, chunks: list[bytes]) -> None:
        self._decode(chunks)
        if self._is_abandoned:
            return
        batches = self._decoder.close()
        self._check(self._decoder.envelope)
        self._put(self._encode_last, batches)

    def _put(
        self, step: Callable[[list[pa.RecordBatch]], None], batches: list[pa.RecordBatch]
    ) -> None:
        size = sum(batch.nbytes for batch in batches)
        self._pipeline.encode_stage.put(size, step, batches)

    # In the encode stage

    def _encode(self, batches: list[pa.RecordBatch]) -> None:
        if not self._is_abandoned:
            self._write(batches)

    def _encode_last(self, batches: list[pa.RecordBatch]) -> None:
        if not self._is_abandoned:
            self._write(batches).end()
            self._pipeline.committer.end_page(self._account, self._decoder.envelope)

    def _write(self, batches: list[pa.RecordBatch]) -> PageWriter:
        if self._writer is None:
            self._writer = self._pipeline.committer.open_page(self._account)
        for batch in batches:
            self._writer.write(batch)
        return self._writer

    def _abandon(self) -> None:
        if self._writer:
            self._writer.abandon()
