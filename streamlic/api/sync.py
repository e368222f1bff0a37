"""Asynchronous work called from code that is not: in a script, a notebook, a worker's thread.

Rules:
1. The work has an event loop of its own in a thread of its own, so that it is the same whether a
   loop runs where it is called or not, and nothing raised there falls into the middle of it.
2. What is raised in the caller while it waits (KeyboardInterrupt, or what a signal's handler
   raises) cancels the work, once. It is raised when the work has ended in order, and not before:
   what comes meanwhile is ignored.
3. A caller that is itself a task, and is cancelled while it waits, is treated alike. Its loop waits
   with it, so that it has to look: ``asyncio.run`` turns the first SIGINT into such a cancellation.
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
    """Return what ``work`` returns; ``when_stopped`` is noted on what interrupts it."""
    running = _Running(work)
    thread = threading.Thread(target=copy_context().run, args=(running.run,), name="streamlic-loop")
    try:
        with limits_named():
            thread.start()
        interrupt = _wait(running)
    finally:
        running.task.stop()
        if thread.ident is not None:
            thread.join()
        else:
            work.close()  # It never started.
    if interrupt:
        is_done = running.result.exception() is None
        interrupt.add_note("it came too late: all was done" if is_done else when_stopped)
        raise interrupt
    return running.result.result()


def _wait(running: _Running[Any]) -> BaseException | None:
    """Wait until the work has ended; return what was raised here meanwhile, if anything was."""
    task = _current_task()
    cancellations = task.cancelling() if task else 0
    interrupt: BaseException | None = None
    while not running.result.done():
        try:
            is_watching = task is not None and interrupt is None
            wait([running.result], timeout=_LOOK_SECONDS if is_watching else None)
            if is_watching and task and task.cancelling() > cancellations:
                raise asyncio.CancelledError
        except BaseException as error:  # noqa: BLE001  # it is raised again when the work has ended
            interrupt = interrupt or error
            running.task.stop()
    return interrupt


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs here.
        return None


class CrossThreadTask:
    """A task in the loop of another thread, as other threads may speak to it."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._task: asyncio.Task[Any] | None = None
        self._lock = threading.RLock()  # What a signal raises may come while it is held.

    def begin(self) -> None:
        """Say, in the task itself, that it is this one; stopped before, it is cancelled now."""
        with self._lock:
            self._task = asyncio.current_task()
            is_stopped = self.is_stopped
        if is_stopped and self._task:
            self._task.cancel()

    def stop(self) -> None:
        """Cancel it, once: now, or when it begins."""
        with self._lock:
            was_stopped, self.is_stopped = self.is_stopped, True
            task = self._task
        if task and not was_stopped:
            self.call(task.cancel)

    def call(self, what: Callable[[], object]) -> None:
        """Have something done in its loop, if it has begun."""
        if self._task:
            with suppress(RuntimeError):  # The loop has ended.
                self._task.get_loop().call_soon_threadsafe(what)


class _Running(Generic[T]):
    """Work on its way in another thread, which may be told to stop."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.result: Future[T] = Future()
        self.task = CrossThreadTask()
        self._work = work

    def run(self) -> None:
        """Run the work in a loop of its own; in its thread."""
        try:
            with limits_named():
                result = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  # it is raised again by who waits
            self.result.set_exception(error)
        else:
            self.result.set_result(result)

    async def _main(self) -> T:
        self.task.begin()
        return await self._work
