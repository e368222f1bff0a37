"""A task: accounts of a run that another process reads, for the process that commits them.

Rules:
1. A task reads its accounts from their resume points. It stages part files in the lake's store, and
   writes nothing to the log: its result counts when the writer of the lake commits it.
2. Its part files have the writer's epoch in their names, and numbers that no other attempt has. So
   what an attempt leaves whose result never arrives is swept, and no file is promised twice.
3. An account's failure is part of the result. What another machine may not have, such as a full
   disk, is raised, so that the engine tries again; the last attempt returns it. All other failures
   are returned at once: no attempt can help.
4. When ``seconds`` have passed, no further page is requested: the task ends, and its result says
   where its accounts continue. So a task that is lost repeats no more than that.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from streamlic.dataset.records import AccountDetails, PartFile, Promise, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import (
    MachineError,
    PermitsUnavailable,
    StoreError,
    StreamlicError,
    TransportError,
)
from streamlic.job.export import ApiSource
from streamlic.job.job import Job
from streamlic.job.options import JobOptions
from streamlic.job.progress import SourceStatus
from streamlic.storage.base import Store
from streamlic.tables.carry_over import Carrying
from streamlic.tables.completion import Ending
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings

Budget = Callable[[ConnectionSettings], ConnectionSettings]
NUMBERS_OF_AN_ATTEMPT = 1_000_000
"""The first are the writer's own."""
_MAY_BE_THE_MACHINES = (TransportError, StoreError, MachineError, PermitsUnavailable)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a task reads, and where it stages that. It pickles.

    ``run`` is the run with the accounts of the task, and nothing of others. ``seconds`` is how long
    the task requests pages; None is until the end of its accounts.
    """

    dest: str
    run: RunState
    requests: list[LicensesRequest]
    connection: ConnectionSettings
    options: JobOptions
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task has read: part files and resume points, for one commit. It pickles.

    ``stopped_by`` is what ended the task before its time, on ``host``.
    """

    promise: Promise
    failed: dict[str, StreamlicError]
    stopped_by: StreamlicError | None
    host: str
    bytes_received: int
    bytes_written: int
    retries: int


def run_for_task(run: RunState, accounts: Collection[str | None]) -> RunState:
    """Return a run as a task needs it that reads these accounts."""
    return RunState(
        id=run.id,
        started_at=run.started_at,
        mode=run.mode,
        request={},
        accounts=[*accounts],
        replaces=[],
        publish=run.publish,
        format=run.format,
        details={one: run.details[one] for one in accounts if one in run.details},
        points={one: run.points[one] for one in accounts if one in run.points},
        epoch=run.epoch,
    )


def run_task(
    task: Task, attempt: int, *, budget: Budget | None = None, is_last: bool = True
) -> TaskResult:
    """Read the accounts of a task, and return what is staged.

    ``attempt`` is a number that no other attempt has under the same writer, from 0. ``budget``
    gives the task's settings the budget of this process. Raises what another attempt may not meet,
    unless this one is the last.
    """
    return asyncio.run(_result(task, attempt, budget or _own, is_last=is_last))


async def _result(task: Task, attempt: int, budget: Budget, *, is_last: bool) -> TaskResult:
    stopped_by: StreamlicError | None = None
    run = run_for_task(task.run, task.run.accounts)  # Its own: the job brings it up to date.
    run.numbers_after = (attempt + 1) * NUMBERS_OF_AN_ATTEMPT
    options = replace(task.options, skip_failed=True, max_absent=None, take_over=False)
    writer: TaskWriter | None = None
    source: ApiSource | None = None
    bytes_written = 0
    try:
        source = ApiSource(task.requests, Connection(budget(task.connection)))
        writer = TaskWriter(options.open_store(task.dest))
        job = TaskJob(writer, run, source, options, seconds=task.seconds)
        try:
            await job.read()
        finally:
            bytes_written = job.bytes_written
    except BaseException as error:
        is_elsewhere = isinstance(error, _MAY_BE_THE_MACHINES) and not is_last
        if is_elsewhere or not isinstance(error, StreamlicError):
            if writer:
                writer.discard(run)
            raise
        stopped_by = error
    status = source.status() if source else SourceStatus()
    return TaskResult(
        promise=writer.promise if writer else Promise(),
        failed={**source.failed} if source else {},
        stopped_by=stopped_by,
        host=socket.gethostname(),
        bytes_received=status.bytes_received,
        bytes_written=bytes_written,
        retries=status.retries,
    )


def _own(settings: ConnectionSettings) -> ConnectionSettings:
    return settings


@dataclass
class TaskWriter:
    """Where a task's job commits: it only gathers the promises."""

    store: Store
    _files: list[PartFile] = field(default_factory=list)
    _points: dict[str | None, ResumePoint] = field(default_factory=dict)
    _details: dict[str | None, AccountDetails] = field(default_factory=dict)

    @property
    def promise(self) -> Promise:
        """All promises as one."""
        return Promise(files=self._files, points=self._points, details=self._details)

    def commit(self, run: RunState, promise: Promise) -> None:
        """Gather a promise. ``run`` is brought up to date."""
        self._files += promise.files
        self._points.update(promise.points)
        self._details.update(promise.details)
        run.take(promise, run.last_record)

    def complete(self, run: RunState, writer: DatasetWriter, ending: Ending) -> None:
        """Gather what ``writer`` has. The accounts need not be at their ends."""
        files = writer.finish()
        last = Promise(files=files, points=ending.points, details=ending.details)
        self.commit(run, replace(last, is_complete=True))

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Do nothing: the writer of the lake is fenced when it commits."""
        yield

    def discard(self, run: RunState) -> None:
        """Delete the part files, as far as that is possible: otherwise they are swept."""
        with suppress(StoreError):
            self.store.delete(*(run.staged(file.name) for file in self._files))


class TaskJob(Job):
    """Reads the accounts of a task. What concerns the whole run is left to its writer."""

    def __init__(
        self,
        lake: TaskWriter,
        run: RunState,
        source: ApiSource,
        options: JobOptions,
        *,
        seconds: float | None,
    ) -> None:
        super().__init__(lake, run, source, options)
        self._of_api = source
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    @property
    def may_complete(self) -> bool:
        """Whether all whole pages may be gathered: the writer decides what else is missing."""
        return True

    async def commit_if_due(self) -> None:
        """Request no further page if the task's time is over."""
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self._of_api.drain()

    async def _carrying(self) -> Carrying | None:
        return None
