"""One stage of the pipeline: a thread, and the queue before it, which is bounded in bytes.

Rules:
1. Steps run one at a time, in the order in which they were queued.
2. ``put`` blocks the calling thread while the queue is full. Only the stage before this one calls
   it, so backpressure runs one way and no two stages wait for each other.
3. The last stage stays failed: after its first failure each later step raises that failure. The
   stage that feeds it raises it too, instead of its own later errors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVarTuple

_MAX_STEPS = 64  # Pages of hardly a row would fill a queue of bytes with too many steps.
Args = TypeVarTuple("Args")


class Stage:
    """A thread and its queue. ``feeds`` is the stage after it, None for the last. Close it."""

    def __init__(self, name: str, *, max_bytes: int = 0, feeds: Stage | None = None) -> None:
        self._max_bytes = max_bytes
        self._feeds = feeds
        self._failure: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, name)
        self._queued: deque[tuple[Future[None], int]] = deque()
        self._queued_bytes = 0

    @property
    def failure(self) -> BaseException | None:
        """The first failure in the last stage, if there is one: its pages are then in doubt."""
        return self._feeds.failure if self._feeds else self._failure

    def submit(self, step: Callable[[*Args], None], *args: *Args) -> Future[None]:
        """Queue a step, whose bytes the caller bounds. Raises RuntimeError when closed."""
        return self._thread.submit(self._run, step, *args)

    async def run(self, step: Callable[[*Args], None], *args: *Args) -> None:
        """Run a step after all steps that were queued before; wait for it in the event loop."""
        await asyncio.wrap_future(self.submit(step, *args))

    def put(self, size: int, step: Callable[[*Args], None], *args: *Args) -> None:
        """Queue a step that holds ``size`` bytes, as soon as there is room for it.

        Raises the failure of a step that was queued before.
        """
        while self._queued and (
            self._queued[0][0].done()
            or self._queued_bytes >= self._max_bytes
            or len(self._queued) >= _MAX_STEPS
        ):
            done, done_bytes = self._queued.popleft()
            done.result()
            self._queued_bytes -= done_bytes
        if self.failure:
            raise self.failure
        self._queued.append((self.submit(step, *args), size))
        self._queued_bytes += size

    def close(self) -> None:
        """Wait until every queued step has run, and end the thread."""
        self._thread.shutdown(wait=True)

    def _run(self, step: Callable[..., None], *args: object) -> None:
        if self._failure:
            raise self._failure
        try:
            step(*args)
        except BaseException as error:
            if self._feeds is None:
                self._failure = error
            elif self.failure and self.failure is not error:
                raise self.failure from error
            raise
