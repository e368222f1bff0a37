"""Batches for synchronous code, from an event loop in a thread, a few of them ahead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from queue import SimpleQueue

import pyarrow as pa

from streamlic.api.sync import CrossThreadTask
from streamlic.errors import UsageError

_BATCHES_AHEAD = 2


class BatchSource:
    """Takes batches from an asynchronous generator that runs in a thread of its own.

    ``closed`` is what a thread reads that waits for a batch when another one stops the source.
    """

    def __init__(
        self, batches: Callable[[], AsyncGenerator[pa.RecordBatch, None]], closed: str
    ) -> None:
        self._batches = batches
        self._closed = closed
        self._arrived: SimpleQueue[pa.RecordBatch | BaseException | None] = SimpleQueue()
        self._room = asyncio.Semaphore(_BATCHES_AHEAD)
        self.is_over = False
        """Whether the last batch was taken."""
        self._task = CrossThreadTask()
        self._thread: threading.Thread | None = None

    def take(self) -> pa.RecordBatch | None:
        """Wait for the next batch; None at the end. Raises the error that ended it."""
        if self.is_over:
            return None
        if self._thread is None:
            # A daemon, so that a process can exit in the middle of a listing.
            self._thread = threading.Thread(target=self._run, name="streamlic-read", daemon=True)
            self._thread.start()
        arrived = self._arrived.get()
        if isinstance(arrived, BaseException):
            raise arrived
        if arrived is None:
            self.is_over = True
        else:
            self._task.call(self._room.release)
        return arrived

    def stop(self) -> None:
        """Tell the thread to end; a thread that waits for a batch gets UsageError."""
        if not self._task.is_stopped:
            self._arrived.put(UsageError(self._closed))
            self._task.stop()

    def join(self) -> None:
        """Wait for the thread's end, unless this is it."""
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._fill())
        except BaseException as error:  # noqa: BLE001  # take() raises it
            self._arrived.put(error)
        else:
            self._arrived.put(None)

    async def _fill(self) -> None:
        self._task.begin()
        async with aclosing(self._batches()) as batches:
            await self._room.acquire()
            async for batch in batches:
                self._arrived.put(batch)
                await self._room.acquire()
