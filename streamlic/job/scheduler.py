"""Pages of many accounts under way at once: which goes next, which waits, and what has failed.

Rules:
1. An account has one page under way at most, for the cursor of the next comes with it.
2. Only pages that are under way count: who waits for a rate limit or a retry keeps nobody out.
3. A failure is its account's own, and the others go on; one that concerns all ends it for all.
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
from streamlic.job.fair_queue import FairQueue
from streamlic.job.page_checks import DuplicatePageDetector
from streamlic.truto.client import Connection
from streamlic.truto.cursors import CursorLoopDetector, RecentCursors
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import (
    Failures,
    Retry,
    given_up,
    is_account_scoped,
    naming_restart,
    retry_cause,
)
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus

_NEXT = 100
_NO_CAUSE = WaitCause(WaitReason.ACCOUNT_LIMIT)


@dataclass(slots=True)
class Listing:
    """An account's pages, as far as they have come in this process."""

    request: LicensesRequest
    """What is asked for next."""
    cursors: CursorLoopDetector
    duplicates: DuplicatePageDetector = field(default_factory=DuplicatePageDetector)
    pages: int = 0
    """All that came, in earlier processes too; and so the rows."""
    rows: int = 0
    failures: Failures = field(default_factory=Failures)
    """Those at the page that is asked for next."""
    is_resumed: bool = False
    """Whether a run before this one stored the cursor of the page that is asked for next."""
    is_large: bool = False
    begun_at: float = 0.0
    waits_for: WaitCause = _NO_CAUSE
    """Why it was last put off."""

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.request.account

    def move_on(self, next_cursor: str | None, rows: int) -> bool:
        """Take a page's end; return whether there is a next one."""
        following = self.request.after(next_cursor)  # The arrow back.
        self.request = following or self.request
        self.pages += 1
        self.rows += rows
        self.failures = Failures()
        self.is_resumed = False
        return following is not None


@dataclass(frozen=True)
class Bounds:
    """How many pages may be under way, and how many of accounts whose pages are large."""

    pages: int
    large_pages: int


ReadPage = Callable[[Listing, Permit], Awaitable[bool]]
"""Reads a listing's next page; returns whether there is another."""


@dataclass
class Scheduler:
    """Runs listings to their ends. ``failed`` and ``under_way`` may be looked at meanwhile."""

    connection: Connection
    read_page: ReadPage
    bounds: Bounds
    on_change: Callable[[Retry | None], None]
    failed: dict[str, StreamlicError] = field(default_factory=dict)
    """Why each account that failed did."""
    under_way: dict[str, Listing] = field(default_factory=dict)
    """The accounts that have begun and not ended, the longest under way first."""
    done: int = 0

    def __post_init__(self) -> None:
        self._queue: FairQueue[Listing] = FairQueue()
        self._later: list[tuple[float, int, Listing]] = []
        self._numbers = count()
        self._running: set[asyncio.Task[None]] = set()
        self._large = 0
        self._changed = asyncio.Event()
        self._fatal: BaseException | None = None
        self._is_stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped before all was done."""
        return self._is_stopped and bool(self._queue or self._later or self.under_way)

    def stop(self, error: BaseException | None = None) -> None:
        """End ``run`` soon, with an error or without; pages under way are given up."""
        self._is_stopped = True
        self._fatal = self._fatal or error
        self._changed.set()

    @property
    def pages_under_way(self) -> int:
        """How many pages were asked for and have not ended."""
        return len(self._running)

    def waits(self) -> list[WaitStatus]:
        """Tell what holds requests back, one for each reason, the first to end first.

        A reason for which none of the next hundred waits is left out.
        """
        now = time.monotonic()
        rate_limiter = self.connection.rate_limiter
        # Of ten thousand, perhaps, and several times a second: nothing dear is done for each.
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

    async def run(self, listings: Iterable[Listing]) -> None:
        """Read all pages, or until ``stop``. Raises the first failure that concerns all."""
        for listing in listings:
            self._queue.push(listing, 0)
        try:
            while not (self._is_stopped or self._fatal):
                wait = self._launch()
                if not (self._running or self._queue or self._later):
                    break
                if wait and not self._running:
                    self.on_change(None)  # Nothing else would tell of it.
                await self._change(wait)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        given_up = self._is_stopped and isinstance(self._fatal, asyncio.CancelledError)
        if self._fatal and not given_up:
            raise self._fatal

    async def _change(self, wait_seconds: float | None) -> None:
        """Wait until a page has ended, or so many seconds have passed."""
        loop = asyncio.get_running_loop()
        timer = None
        if wait_seconds is not None:
            timer = loop.call_later(wait_seconds, self._changed.set)
        await self._changed.wait()
        self._changed.clear()
        if timer:
            timer.cancel()

    def _launch(self) -> float | None:
        """Ask for all pages that may be; return when more may: None if none waits for a time."""
        rate_limiter = self.connection.rate_limiter
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._wait_in_line(heappop(self._later)[2])
        while self._queue and len(self._running) < self.bounds.pages:
            wait = rate_limiter.token_delay(now)
            if wait > 0:
                return wait
            listing = self._queue.pop(has_room_for_large=self._large < self.bounds.large_pages)
            if listing is None:
                break
            wait = rate_limiter.account_delay(listing.account, now)
            if wait > 0:
                self._defer(listing, now + wait, rate_limiter.account_cause(listing.account))
            else:
                self._start(listing, rate_limiter.acquire(listing.account, now))
        return max(self._later[0][0] - now, 0.0) if self._later else None

    def _wait_in_line(self, listing: Listing) -> None:
        self._queue.push(listing, listing.pages, is_large=listing.is_large)

    def _defer(self, listing: Listing, until: float, cause: WaitCause) -> None:
        listing.waits_for = cause
        heappush(self._later, (until, next(self._numbers), listing))

    def _start(self, listing: Listing, permit: Permit) -> None:
        if listing.account not in self.under_way:
            listing.begun_at = time.monotonic()
            self.under_way[listing.account] = listing
        self._large += listing.is_large
        task = asyncio.get_running_loop().create_task(
            self._run_page(listing, permit, was_large=listing.is_large)
        )
        self._running.add(task)
        task.add_done_callback(self._on_done)

    async def _run_page(self, listing: Listing, permit: Permit, *, was_large: bool) -> None:
        try:
            goes_on = await self.read_page(listing, permit)
        except BaseException as error:  # noqa: BLE001  # it is raised again by run()
            self._take_failure(listing, error)
            return
        finally:
            self._large -= was_large
        if goes_on:
            self._wait_in_line(listing)
        else:
            self.done += 1
            self._end(listing)
        self._notify(None)

    def _notify(self, retry: Retry | None) -> None:
        """Tell who watches. What that raises is nobody's page's: it ends the run."""
        try:
            self.on_change(retry)
        except BaseException as error:  # noqa: BLE001  # it is raised again by run()
            self._fatal = self._fatal or error

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            self._fatal = self._fatal or task.exception()
        self._changed.set()

    def _take_failure(self, listing: Listing, error: BaseException) -> None:
        if not isinstance(error, StreamlicError) or not is_account_scoped(error):
            self._fatal = self._fatal or error
            return
        failures = listing.failures
        failures.count(error, time.monotonic())
        wait = self.connection.policy.wait_seconds(error, failures)
        if wait is None:
            if listing.is_resumed or (
                listing.request.next_cursor and "cursor" in str(error).lower()
            ):
                naming_restart(error)
            self.failed[listing.account] = _without_frames(given_up(error, failures))
            self._end(listing)
            self._notify(None)
            return
        self.connection.retries += 1
        retry = Retry(error, failures.total, wait, listing.account)
        self._defer(listing, time.monotonic() + wait, retry_cause(error))
        self._notify(retry)

    def _end(self, listing: Listing) -> None:
        self.under_way.pop(listing.account, None)
        self.connection.rate_limiter.forget(listing.account)


def _without_frames(error: StreamlicError) -> StreamlicError:
    """Return the error, and what caused it, without the frames that hold its page's body."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def listings_of(requests: Iterable[tuple[LicensesRequest, ResumePoint]]) -> list[Listing]:
    """Return the listings of requests that go on where their accounts have come to."""
    recent = RecentCursors()
    return [
        Listing(
            replace(request, next_cursor=point.cursor),
            CursorLoopDetector(recent, request.account),
            DuplicatePageDetector((point.page_rows, point.page_ids_crc32)),
            pages=point.pages,
            rows=point.rows,
            is_resumed=point.cursor is not None,
        )
        for request, point in requests
    ]
