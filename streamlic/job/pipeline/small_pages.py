"""Small pages: whole bodies, decoded and encoded several at once.

Rules:
1. One step of the decode stage takes all bodies that wait, up to a number, and queues their rows as
   one batch. With pages of twenty rows, waking threads and making batches costs more than the rows.
   More bodies gather while it runs.
2. A bad body fails alone.
3. The rows of several pages are copied into one batch: each batch takes kilobytes besides its rows.

A body's way: ``decode`` in the page's coroutine, ``_decode_pages`` in the decode stage,
``take_small`` of the committer in the encode stage.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import pyarrow as pa

from streamlic.decoder import Decoder, Envelope
from streamlic.job.committer import Committer
from streamlic.job.pipeline.stage import Stage

_MAX_PAGES = 32
_MAX_BYTES = 4 << 20


@dataclass
class SmallPage:
    """A page whose whole body has arrived; then its envelope, or the error in it."""

    account: str | None
    open_decoder: Callable[[], Decoder]
    chunks: list[bytes]
    check: Callable[[Envelope], None]
    envelope: Envelope | None = None
    error: BaseException | None = None
    is_abandoned: bool = False


_Waiting = tuple[SmallPage, asyncio.Future[Envelope]]


class SmallPageQueue:
    """Gathers small pages while others are decoded."""

    def __init__(self, decode_stage: Stage, encode_stage: Stage, committer: Committer) -> None:
        self._decode_stage = decode_stage
        self._encode_stage = encode_stage
        self._committer = committer
        self._waiting: deque[_Waiting] = deque()
        self._is_decoding = False

    # In the pages' coroutines

    async def decode(self, page: SmallPage) -> Envelope:
        """Decode a page and queue it for encoding; return its envelope."""
        result: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._waiting.append((page, result))
        self._submit()
        try:
            return await result
        finally:
            page.is_abandoned = True

    def _submit(self) -> None:
        if self._is_decoding:
            return
        taken: list[_Waiting] = []
        while self._waiting and len(taken) < _MAX_PAGES:
            page, result = self._waiting.popleft()
            if not page.is_abandoned:  # As all are when a run was stopped: the stages are closed.
                taken.append((page, result))
        if not taken:
            return
        loop = asyncio.get_running_loop()
        decoding = self._decode_stage.submit(self._decode_pages, [page for page, _ in taken])
        self._is_decoding = True
        decoding.add_done_callback(
            lambda done: loop.call_soon_threadsafe(self._resolve, taken, done)
        )

    def _resolve(self, taken: list[_Waiting], decoding: Future[None]) -> None:
        """Give the waiting coroutines their envelopes or errors, and submit the next pages."""
        self._is_decoding = False
        for page, result in taken:
            error = decoding.exception() or page.error
            if result.done():  # It was cancelled.
                continue
            if error:
                result.set_exception(error)
            elif page.envelope:
                result.set_result(page.envelope)
        self._submit()

    # In the decode stage

    def _decode_pages(self, pages: list[SmallPage]) -> None:
        batches: list[pa.RecordBatch] = []
        whole: list[tuple[str | None, Envelope]] = []
        size = 0
        for page in pages:
            before = len(batches)
            batches += decode_page(page)
            size += sum(_bytes(batch) for batch in batches[before:])
            if page.envelope:
                whole.append((page.account, page.envelope))
            if size >= _MAX_BYTES:  # A record of two bytes makes a row of a hundred.
                self._put(size, batches, whole)
                batches, whole, size = [], [], 0
        if whole:
            self._put(size, batches, whole)

    def _put(
        self, size: int, batches: list[pa.RecordBatch], whole: list[tuple[str | None, Envelope]]
    ) -> None:
        batch = _concatenated(batches)
        batches.clear()
        self._encode_stage.put(size, self._committer.take_small, batch, whole)


def _bytes(batch: pa.RecordBatch) -> int:
    """Return what a batch holds in memory. ``nbytes`` says the same, and takes 40 times as long."""
    size: int = batch.get_total_buffer_size()
    return size


def decode_page(page: SmallPage) -> list[pa.RecordBatch]:
    """Return a page's rows, none if the page is bad; set its envelope or its error."""
    if page.is_abandoned:
        return []
    try:
        decoder = page.open_decoder()  # Only now: it takes more memory than the body.
        batches = decoder.feed(b"".join(page.chunks)) + decoder.close()
        envelope = decoder.envelope
        page.check(envelope)
    except BaseException as error:  # noqa: BLE001  # the page's coroutine raises it
        page.error = error
        return []
    page.chunks = []
    page.envelope = envelope
    return batches


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    if not batches:
        return None
    [batch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch
