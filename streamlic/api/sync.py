"""Runs a coroutine from synchronous code: a script, a notebook, a worker's thread.

Rules:
1. The coroutine runs in an event loop of its own, in a thread of its own. So it does not matter
   whether a loop runs in the caller's thread, and no signal interrupts the coroutine midway.
2. An exception in the waiting caller (KeyboardInterrupt, or what a signal handler raises) cancels
   the coroutine, once. It is raised when the coroutine has ended. Later ones are ignored.
3. A caller that is itself a task may be cancelled while it waits: the same applies. Its loop is
   blocked meanwhile, so the caller polls. ``asyncio.run`` turns the first SIGINT into a
   cancellation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from streamlic.system.machine import limits_named

_LOOK_SECONDS = 0.1
T = TypeVar("T")


def run_sync(work: Coroutine[Any, Any, T], *, when_stopped: str) -> T:
    """Return what ``work`` returns. What interrupts it gets the note ``when_stopped``."""
    running = _Running(work)
    thread = threading.Thread(target=copy_context().run, args=(running.run,), name="streamlic-loop")
    try:
        with limits_named():
            thread.start()
        interrupt = _wait(running)
    finally:
        running.task.stop()
        if thread.ident is not None:
            _join(thread)
        else:
            work.close()  # It never started.
    if interrupt:
        is_done = running.result.exception() is None
        interrupt.add_note("it came too late: all was done" if is_done else when_stopped)
        raise interrupt
    return running.result.result()


def _join(thread: threading.Thread) -> None:
    """Wait until a thread that is about to end has ended, however many signals arrive."""
    while thread.is_alive():
        with suppress(BaseException):
            thread.join()


def _wait(running: _Running[Any]) -> BaseException | None:
    """Wait until the work has ended. Return the first exception raised here meanwhile."""
    task = _current_task()
    cancellations = task.cancelling() if task else 0
    interrupt: BaseException | None = None
    while not running.result.done():
        try:
            is_watching = task is not None and interrupt is None
            wait([running.result], timeout=_LOOK_SECONDS if is_watching else None)
            if is_watching and task and task.cancelling() > cancellations:
                raise asyncio.CancelledError
        except BaseException as error:  # noqa: BLE001  # run_sync raises it
            interrupt = interrupt or error
            running.task.stop()
    return interrupt


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs here.
        return None


class CrossThreadTask:
    """A task in another thread's event loop, with calls that are safe from any thread."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._task: asyncio.Task[Any] | None = None
        self._lock = threading.RLock()  # A signal handler may run while it is held.

    def begin(self) -> None:
        """Register the current task. It is cancelled now if ``stop`` was called before."""
        with self._lock:
            self._task = asyncio.current_task()
            is_stopped = self.is_stopped
        if is_stopped and self._task:
            self._task.cancel()

    def stop(self) -> None:
        """Cancel the task, once: now, or when it begins."""
        with self._lock:
            was_stopped, self.is_stopped = self.is_stopped, True
            task = self._task
        if task and not was_stopped:
            self.call(task.cancel)

    def call(self, what: Callable[[], object]) -> None:
        """Call something in the task's loop, if the task has started."""
        if self._task:
            with suppress(RuntimeError):  # The loop has ended.
                self._task.get_loop().call_soon_threadsafe(what)


class _Running(Generic[T]):
    """Work in another thread, which other threads can stop."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.result: Future[T] = Future()
        self.task = CrossThreadTask()
        self._work = work

    def run(self) -> None:
        """Run the work in a loop of its own. Called in its thread."""
        try:
            with limits_named():
                result = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  # run_sync raises it
            self.result.set_exception(error)
        else:
            self.result.set_result(result)

    async def _main(self) -> T:
        self.task.begin()
        return await self._work
