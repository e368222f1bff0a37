"""Schedules the pages of many accounts: which comes next, which waits, and which failed.

Rules:
1. At most one page of an account is in flight: the cursor of the next page comes with it.
2. Only pages in flight count toward the bounds. An account that waits for a rate limit or a retry
   takes no place.
3. A failure of one account does not touch the others. A failure that concerns all ends the run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush, nsmallest
from itertools import count

from streamlic.dataset.records import ResumePoint
from streamlic.errors import StreamlicError
from streamlic.job.page_checks import DuplicatePageDetector
from streamlic.job.pipeline.fair_queue import FairQueue
from streamlic.truto.account_pages import (
    AccountPages,
    CursorLoopDetector,
    Done,
    RecentCursors,
    WaitUntil,
)
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import Retry, RetryPolicy, is_account_scoped, naming_restart
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus

_NEXT = 100
_NO_CAUSE = WaitCause(WaitReason.ACCOUNT_LIMIT)


@dataclass(slots=True)
class ScheduledAccount:
    """An account in this process: its pages, and what the job knows of them."""

    pages: AccountPages[LicensesRequest]
    duplicates: DuplicatePageDetector = field(default_factory=DuplicatePageDetector)
    rows: int = 0
    """The rows that arrived, those of earlier processes included."""
    resumed_at: int | None = None
    """The number of the page whose cursor an earlier process stored, None if there was none."""
    is_large: bool = False
    is_handed_on: bool = False
    """Whether rows of the page under way were handed on: a retry would hand them on again."""
    started_at: float = 0.0
    waits_for: WaitCause = _NO_CAUSE
    """Why it was deferred last."""

    @property
    def account(self) -> str:
        """The account's id."""
        return self.pages.request.account

    @property
    def asks_by_stored_cursor(self) -> bool:
        """Whether an earlier process stored the cursor of the page that comes next."""
        return self.pages.count == self.resumed_at


@dataclass(frozen=True)
class Bounds:
    """How many pages may be in flight, and how many of them of accounts with large pages."""

    pages: int
    large_pages: int


ReadPage = Callable[[ScheduledAccount, Permit], Awaitable[None]]
"""Reads an account's next page, and reports its arrival to the account's pages."""


@dataclass
class Scheduler:
    """Reads all pages of the accounts. ``failed`` and ``under_way`` may be read meanwhile."""

    connection: Connection
    read_page: ReadPage
    bounds: Bounds
    on_change: Callable[[Retry | None], None]
    can_restart: bool = True
    """Whether a run can be restarted, as the error of a refused cursor then advises."""
    failed: dict[str, StreamlicError] = field(default_factory=dict)
    """Why each account that failed did."""
    under_way: dict[str, ScheduledAccount] = field(default_factory=dict)
    """The accounts that started and have not ended, the one that started first at the front."""
    done: int = 0

    def __post_init__(self) -> None:
        self._queue: FairQueue[ScheduledAccount] = FairQueue()
        self._later: list[tuple[float, int, ScheduledAccount]] = []
        self._numbers = count()
        self._running: set[asyncio.Task[None]] = set()
        self._large = 0
        self._changed = asyncio.Event()
        self._fatal: BaseException | None = None
        self._is_stopped = False
        self._is_draining = False

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped before every listing was read."""
        return self._is_stopped and bool(self._queue or self._later or self.under_way)

    def stop(self, error: BaseException | None = None) -> None:
        """End ``run`` soon, with an error or without; pages in flight are cancelled."""
        self._is_stopped = True
        self._fatal = self._fatal or error
        self._changed.set()

    def drain(self) -> None:
        """Start no further page; ``run`` ends when the pages in flight have ended."""
        self._is_draining = True
        self._changed.set()

    @property
    def pages_under_way(self) -> int:
        """How many pages were requested and have not ended."""
        return len(self._running)

    def waits(self) -> list[WaitStatus]:
        """Return why requests wait: one status for each reason, the first to end first.

        A reason that none of the next hundred waits has is left out.
        """
        now = time.monotonic()
        rate_limiter = self.connection.rate_limiter
        # There may be ten thousand, several times a second: the work for each is kept small.
        counts = Counter([one.waits_for.reason for until, _, one in self._later if until > now])
        found: dict[WaitReason, WaitStatus] = {}
        if self._queue and (delay := rate_limiter.token_delay(now)) > 0:
            cause = rate_limiter.token_cause()
            counts[cause.reason] += len(self._queue)
            found[cause.reason] = WaitStatus(cause, now + delay, counts[cause.reason])
        for until, _, one in nsmallest(_NEXT, self._later):
            reason = one.waits_for.reason
            if until > now and (reason not in found or until < found[reason].until):
                found[reason] = WaitStatus(one.waits_for, until, counts[reason], one.account)
        return sorted(found.values(), key=lambda wait: wait.until)

    async def run(self, accounts: Iterable[ScheduledAccount]) -> None:
        """Read all pages, or until ``stop``. Raises the first failure that concerns everyone."""
        for account in accounts:
            self._queue.push(account, 0)
        try:
            while not (self._is_stopped or self._fatal):
                wait = None if self._is_draining else self._launch()
                has_more = not self._is_draining and (self._queue or self._later)
                if not (self._running or has_more):
                    break
                if wait and not self._running:
                    self.on_change(None)  # Nothing else reports it.
                await self._change(wait)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        given_up = self._is_stopped and isinstance(self._fatal, asyncio.CancelledError)
        if self._fatal and not given_up:
            raise self._fatal

    async def _change(self, wait_seconds: float | None) -> None:
        """Wait until a page has ended, or the seconds have passed."""
        loop = asyncio.get_running_loop()
        timer = None
        if wait_seconds is not None:
            timer = loop.call_later(wait_seconds, self._changed.set)
        await self._changed.wait()
        self._changed.clear()
        if timer:
            timer.cancel()

    def _launch(self) -> float | None:
        """Start all pages that may start; return the seconds until more may, None if none waits."""
        rate_limiter = self.connection.rate_limiter
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._enqueue(heappop(self._later)[2])
        while self._queue and (room := self.bounds.pages - len(self._running)) > 0:
            wait = rate_limiter.token_delay(now, min(len(self._queue), room))
            if wait > 0:
                return wait
            account = self._queue.pop(has_room_for_large=self._large < self.bounds.large_pages)
            if account is None:
                break
            wait = rate_limiter.account_delay(account.account, now)
            if wait > 0:
                self._defer(account, now + wait, rate_limiter.account_cause(account.account))
            elif permit := rate_limiter.acquire(account.account, now):
                self._start(account, permit)
            else:  # Another client of the token was faster.
                self._enqueue(account)
        return max(self._later[0][0] - now, 0.0) if self._later else None

    def _enqueue(self, account: ScheduledAccount) -> None:
        self._queue.push(account, account.pages.count, is_large=account.is_large)

    def _defer(self, account: ScheduledAccount, until: float, cause: WaitCause) -> None:
        account.waits_for = cause
        heappush(self._later, (until, next(self._numbers), account))

    def _start(self, account: ScheduledAccount, permit: Permit) -> None:
        if account.account not in self.under_way:
            account.started_at = time.monotonic()
            self.under_way[account.account] = account
        self._large += account.is_large
        task = asyncio.get_running_loop().create_task(
            self._run_page(account, permit, was_large=account.is_large)
        )
        self._running.add(task)
        task.add_done_callback(self._on_done)

    async def _run_page(
        self, account: ScheduledAccount, permit: Permit, *, was_large: bool
    ) -> None:
        try:
            await self.read_page(account, permit)
        except BaseException as error:  # noqa: BLE001  # it is raised again by run()
            self._take_failure(account, error)
            return
        finally:
            self._large -= was_large
        self._schedule(account)
        self._notify(None)

    def _schedule(self, account: ScheduledAccount) -> None:
        """Queue the account's next page, now or later, or end the account."""
        step = account.pages.next_request(time.monotonic())
        if isinstance(step, Done):
            self.done += 1
            self._end(account)
        elif isinstance(step, WaitUntil):
            self._defer(account, step.moment, step.cause)
        else:
            self._enqueue(account)

    def _notify(self, retry: Retry | None) -> None:
        """Call ``on_change``. An exception of it belongs to no page: it ends the run."""
        try:
            self.on_change(retry)
        except BaseException as error:  # noqa: BLE001  # it is raised again by run()
            self._fatal = self._fatal or error

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            self._fatal = self._fatal or task.exception()
        self._changed.set()

    def _take_failure(self, account: ScheduledAccount, error: BaseException) -> None:
        if not isinstance(error, StreamlicError) or not is_account_scoped(error):
            self._fatal = self._fatal or error
            return
        is_final = account.is_handed_on
        retry = None if is_final else account.pages.failed(error, time.monotonic())
        if retry is None:
            if self.can_restart and _may_be_the_cursor(account, error):
                naming_restart(error)
            self.failed[account.account] = _without_frames(error)
            self._end(account)
            self._notify(None)
            return
        self.connection.retries += 1
        self._schedule(account)
        self._notify(replace(retry, account=account.account))

    def _end(self, account: ScheduledAccount) -> None:
        self.under_way.pop(account.account, None)
        self.connection.rate_limiter.forget(account.account)


def _may_be_the_cursor(account: ScheduledAccount, error: StreamlicError) -> bool:
    """Return whether a page may have failed because of its cursor."""
    has_cursor = account.pages.request.next_cursor is not None
    return account.asks_by_stored_cursor or (has_cursor and "cursor" in str(error).lower())


def _without_frames(error: StreamlicError) -> StreamlicError:
    """Return the error, and what caused it, without the frames that hold its page's body."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _continued(request: LicensesRequest, point: ResumePoint) -> LicensesRequest:
    """Return the request for the page that follows a resume point, often the request itself."""
    has_cursor = request.next_cursor == point.cursor
    return request if has_cursor else replace(request, next_cursor=point.cursor)


def scheduled(
    requests: Iterable[tuple[LicensesRequest, ResumePoint]], policy: RetryPolicy
) -> list[ScheduledAccount]:
    """Return the accounts of requests, each with its pages from its resume point on."""
    recent = RecentCursors()
    return [
        ScheduledAccount(
            AccountPages(
                _continued(request, point),
                policy,
                loops=CursorLoopDetector(recent, request.account),
                count=point.pages,
            ),
            DuplicatePageDetector((point.page_rows, point.page_ids_crc32)),
            rows=point.rows,
            resumed_at=None if point.cursor is None else point.pages,
        )
        for request, point in requests
    ]
