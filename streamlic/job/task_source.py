"""A source whose pages are read by tasks of other processes, and committed by this one.

Rules:
1. Each account is in one task at a time, so that its pages come in their order. Heavy accounts have
   tasks of their own.
2. A result is committed when its task ends, whatever the others do. A process that dies is started
   again with the same command, and continues from the last result.
3. A task that ends before its accounts do is followed by another one. If it made no progress, that
   one has no end of its time: otherwise an account that only fails would never fail for good.
4. After the first failure that concerns all accounts no task is started, and the results of those
   under way are still committed. If this process is stopped, they are not awaited.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from streamlic.errors import StreamlicError, TaskFailed
from streamlic.job.export import ApiSource
from streamlic.job.job import TICK_SECONDS, Job
from streamlic.job.progress import AccountEnded, SourceStatus
from streamlic.job.settings import Cancel
from streamlic.job.tasks import Task, TaskResult, run_for_task
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings

Pack = Callable[[Sequence[str], int], list[list[str]]]
"""Divides accounts into bundles for so many tasks at once, the heaviest bundle first."""


class TaskRunner(Protocol):
    """Runs tasks in other processes."""

    @property
    def slots(self) -> int:
        """How many tasks run at once."""

    async def run(self, task: Task) -> TaskResult:
        """Run a task as ``run_task``, again if its process dies. Raises what ended it for good."""

    def cancel(self) -> None:
        """End all tasks soon: nobody waits for their results."""


class TaskSource(ApiSource):
    """The pages of the accounts that a run has not read yet, read by tasks.

    ``connection`` is this process's own, and ``settings`` are those of the tasks.
    """

    def __init__(
        self,
        requests: list[LicensesRequest],
        connection: Connection,
        runner: TaskRunner,
        *,
        dest: str,
        settings: ConnectionSettings,
        pack: Pack,
        cancel: Cancel | None = None,
    ) -> None:
        super().__init__(requests, connection, cancel)
        self._dest = dest
        self._settings = settings
        self._runner = runner
        self._pack = pack
        self._waiting: deque[Task] = deque()
        self._under_way: dict[asyncio.Task[TaskResult], Task] = {}
        self._failures: dict[str, StreamlicError] = {}
        self._error: StreamlicError | None = None
        self._was_cancelled = False
        self._bytes_received = self._retries = 0
        self.bytes_written = 0
        """The bytes of the part files that tasks have written."""

    @property
    def failed(self) -> Mapping[str, StreamlicError]:
        """The error of each account that failed."""
        return self._failures

    @property
    def is_stopped(self) -> bool:
        """Whether it was cancelled before every page was read."""
        return self._was_cancelled

    def status(self) -> SourceStatus:
        """Return what is cheap to know of its progress, as of now."""
        points = self._job.run.points.values()
        return SourceStatus(
            accounts_done=sum(point.is_done for point in points),
            accounts_failed=len(self._failures),
            bytes_received=self._bytes_received + self._connection.bytes_received,
            retries=self._retries + self._connection.retries,
        )

    async def read_pages(self, job: Job) -> None:
        """Let tasks read every page that the run does not have, and commit their results."""
        self._job = job
        left = [one for one in map(str, job.run.accounts) if not job.run.point(one).is_done]
        if left and not job.run.is_complete:
            bundles = self._pack(left, self._runner.slots)
            seconds = job.options.commit_seconds
            self._waiting.extend(self._task(bundle, seconds) for bundle in bundles)
        try:
            while self._start() or self._under_way:
                job.progress.notify()
                if self.is_cancelled():
                    self._was_cancelled = True
                    return
                ended, _ = await asyncio.wait(
                    self._under_way, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for one in ended:
                    await self._take(self._under_way.pop(one), one)
        finally:
            await self._end()
        if self._error:
            raise self._error

    def _start(self) -> bool:
        """Start tasks while slots are free; return whether one is under way."""
        while self._waiting and not self._error and len(self._under_way) < self._runner.slots:
            task = self._waiting.popleft()
            self._under_way[asyncio.ensure_future(self._runner.run(task))] = task
        return bool(self._under_way)

    def _task(self, accounts: Sequence[str], seconds: float | None) -> Task:
        run, options = self._job.run, self._job.options
        known = {request.account: request for request in self._requests}
        shared = self._requests[0]
        return Task(
            dest=self._dest,
            run=run_for_task(run, accounts),
            requests=[known.get(one) or shared.of(one) for one in accounts],
            connection=self._settings,
            options=options,
            seconds=seconds,
        )

    async def _take(self, task: Task, ended: asyncio.Task[TaskResult]) -> None:
        """Commit what a task has read, and queue what it left."""
        try:
            result = ended.result()
        except StreamlicError as error:
            self._error = self._error or error
            return
        job, promise = self._job, result.promise
        if promise.files or promise.points or promise.details:
            await job.take_promise(promise)
        self._failures.update(result.failed)
        self._bytes_received += result.bytes_received
        self._retries += result.retries
        self.bytes_written += result.bytes_written
        for account in promise.points:
            if promise.points[account].is_done:
                job.progress.record(AccountEnded(str(account)))
        for failed, why in result.failed.items():
            job.progress.record(AccountEnded(failed, why))
        if result.stopped_by:
            result.stopped_by.add_note(f"in a task on {result.host}")
            self._error = self._error or result.stopped_by
            return
        self._continue(task, has_progress=bool(promise.points or promise.details or result.failed))

    def _continue(self, task: Task, *, has_progress: bool) -> None:
        """Queue what a task has not read to the end, for all slots that are free."""
        left = [
            request.account
            for request in task.requests
            if request.account not in self._failures
            and not self._job.run.point(request.account).is_done
        ]
        if not left:
            return
        if not has_progress and task.seconds is None:
            self._error = self._error or TaskFailed(
                f"a task ended and had read nothing of its accounts, such as {left[0]}"
            )
            return
        free = self._runner.slots - len(self._under_way) - len(self._waiting)
        bundles = self._pack(left, free) if free > 1 else [left]
        seconds = self._job.options.commit_seconds if has_progress else None
        self._waiting.extend(self._task(bundle, seconds) for bundle in bundles)

    async def _end(self) -> None:
        """End the tasks under way, if there are any: an error or the caller ended the run."""
        if self._under_way:
            self._runner.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            self._under_way.clear()
