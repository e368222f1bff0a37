"""Small pages through the pipeline: whole bodies, as many at once as have come meanwhile.

Rules:
1. A step of the decode thread takes all bodies that wait, up to a number, and hands their rows on
   as one batch: with pages of twenty rows, waking threads and making batches costs more than the
   rows. While it works the next gather.
2. A body that is bad fails alone.
3. Of several pages the rows are copied into one batch: each batch takes kilobytes beside its rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from streamlic.decoder import Decoder, Envelope

_AT_ONCE = 32
_MOST_BYTES = 4 << 20


class Threads(Protocol):
    """The threads of the pipeline, as far as they are needed here."""

    @property
    def pages(self) -> Takes:
        """Where pages go."""

    def submit(self, step: Callable[[], None]) -> Future[None]:
        """Have something done in the decode thread."""

    def put(self, step: Callable[[], None], size: int) -> None:
        """Hand something on from the decode thread to the encode thread, when there is room."""


class Takes(Protocol):
    """Takes whole pages, in the encode thread."""

    def take_whole(
        self, batch: pa.RecordBatch | None, pages: Sequence[tuple[str | None, Envelope]]
    ) -> None:
        """Take whole pages, their rows one page's after the other's."""


@dataclass
class SmallPage:
    """A page whose body has come, and what became of it."""

    account: str | None
    open_decoder: Callable[[], Decoder]
    chunks: list[bytes]
    check: Callable[[Envelope], None]
    envelope: Envelope | None = None
    error: BaseException | None = None
    is_over: bool = False

    def decode(self) -> list[pa.RecordBatch]:
        """Return the page's rows; what is wrong with it is remembered."""
        if self.is_over:
            return []
        try:
            decoder = self.open_decoder()  # Only now: it takes more memory than the body.
            batches = decoder.feed(b"".join(self.chunks)) + decoder.close()
            self.check(decoder.envelope)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is this page's
            self.error = error
            return []
        self.chunks = []
        self.envelope = decoder.envelope
        return batches


class SmallPages:
    """Gathers small pages while others are decoded."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: deque[tuple[SmallPage, asyncio.Future[Envelope]]] = deque()
        self._is_busy = False

    async def take(self, page: SmallPage) -> Envelope:
        """Decode a page and put it on its way."""
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._waiting.append((page, answer))
        self._next()
        try:
            return await answer
        finally:
            page.is_over = True

    def _next(self) -> None:
        if self._is_busy:
            return
        taken: list[tuple[SmallPage, asyncio.Future[Envelope]]] = []
        while self._waiting and len(taken) < _AT_ONCE:
            page, answer = self._waiting.popleft()
            if not page.is_over:  # Those of a run that was stopped are: its threads have ended.
                taken.append((page, answer))
        if not taken:
            return
        loop = asyncio.get_running_loop()
        work = self._threads.submit(lambda: self._decode([page for page, _ in taken]))
        self._is_busy = True
        work.add_done_callback(
            lambda done: loop.call_soon_threadsafe(self._tell, taken, done.exception())
        )

    def _tell(
        self,
        taken: list[tuple[SmallPage, asyncio.Future[Envelope]]],
        failure: BaseException | None,
    ) -> None:
        """Tell those who wait what became of their pages; begin with the next."""
        self._is_busy = False
        for page, answer in taken:
            error = failure or page.error
            if answer.done():  # It was cancelled.
                continue
            if error:
                answer.set_exception(error)
            elif page.envelope:
                answer.set_result(page.envelope)
        self._next()

    # In the decode thread

    def _decode(self, pages: list[SmallPage]) -> None:
        batches: list[pa.RecordBatch] = []
        whole: list[tuple[str | None, Envelope]] = []
        for page in pages:
            batches += page.decode()
            if page.envelope:
                whole.append((page.account, page.envelope))
            # A record of two bytes makes a row of a hundred.
            if sum(batch.nbytes for batch in batches) >= _MOST_BYTES:
                self._hand_on(batches, whole)
                batches, whole = [], []
        if whole:
            self._hand_on(batches, whole)

    def _hand_on(
        self, batches: list[pa.RecordBatch], whole: list[tuple[str | None, Envelope]]
    ) -> None:
        batch = _one(batches)
        batches.clear()
        self._threads.put(
            lambda: self._threads.pages.take_whole(batch, whole), batch.nbytes if batch else 0
        )


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Return the batches as one; None where there is none."""
    if not batches:
        return None
    [batch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch
