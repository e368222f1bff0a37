"""Batches on their way from the pages to the consumer: joined, and bounded in bytes.

Rules:
1. ``room`` waits while ``_MOST_BYTES`` or more are queued. A page asks for room before each step
   of its decoding, so nothing is decoded while the consumer does not take batches.
2. Small batches are joined, of one account or many, up to ``_BATCH_ROWS`` rows and
   ``_BATCH_BYTES``. A batch that is not full waits ``_LINGER_SECONDS`` for more: consumers spend
   as much on a batch of twenty rows as on one of a thousand.
3. Batches leave in the order in which they came.

One event loop uses it, without threads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import pyarrow as pa

_MOST_BYTES = 8 << 20
_BATCH_ROWS = 8192
_BATCH_BYTES = 2 << 20
_LINGER_SECONDS = 0.1


class _Queued(NamedTuple):
    batch: pa.RecordBatch
    size: int
    arrived_at: float


class BatchQueue:
    """A queue of batches with one consumer."""

    def __init__(self) -> None:
        self._queued: deque[_Queued] = deque()
        self._rows = 0
        self._bytes = 0
        self._has_ended = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Wait until more may be decoded."""
        await self._room.wait()

    def put(self, batch: pa.RecordBatch) -> None:
        """Queue a batch, unless it is empty."""
        if not batch.num_rows:
            return
        queued = _Queued(batch, batch.nbytes, asyncio.get_running_loop().time())
        self._queued.append(queued)
        self._rows += batch.num_rows
        self._bytes += queued.size
        if self._bytes >= _MOST_BYTES:
            self._room.clear()
        self._arrived.set()

    def end(self) -> None:
        """Say that no more batches come."""
        self._has_ended = True
        self._arrived.set()

    async def take(self) -> pa.RecordBatch | None:
        """Wait for batches, and return as many as fit into one; None after the last."""
        await self._wait_for_a_batch()
        taken: list[pa.RecordBatch] = []
        rows = size = 0
        while self._queued:
            first = self._queued[0]
            rows += first.batch.num_rows
            size += first.size
            if taken and (rows > _BATCH_ROWS or size > _BATCH_BYTES):
                break
            taken.append(self._remove().batch)
        return _joined(taken)

    async def _wait_for_a_batch(self) -> None:
        """Wait until a batch is full, or its first rows have waited long enough, or all came."""
        while not (self._has_ended or self._rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES):
            self._arrived.clear()
            until = self._queued[0].arrived_at + _LINGER_SECONDS if self._queued else None
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _remove(self) -> _Queued:
        queued = self._queued.popleft()
        self._rows -= queued.batch.num_rows
        self._bytes -= queued.size
        if self._bytes < _MOST_BYTES:
            self._room.set()
        return queued


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    if len(batches) < 2:
        return batches[0] if batches else None
    [batch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch
