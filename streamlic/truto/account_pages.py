"""The pages of one list, in order: what to request next, when, and when the list has ended.

Rules:
1. No I/O and no clock: the driver sends requests, waits, and passes in the time.
2. One page at a time: the cursor of the next page comes with this one.
3. The driver reports each request once: ``page_arrived`` or ``failed``. Then it asks for the next.
4. A page that fails is requested again with the same cursor, as the retry policy allows.
5. A cursor that was followed before is an error: the pages would form a loop.

The drivers are ``page_driver``, for a list by itself, and the job's scheduler, for those of many
accounts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from streamlic.errors import PageMismatch, StreamlicError
from streamlic.truto.retry import Failures, Retry, RetryPolicy, given_up, retry_cause
from streamlic.truto.wait_reasons import WaitCause

_REMEMBERED_CURSORS = 4_096


class PageRequest(Protocol):
    """A request for one page of a list."""

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the page, None for the first page."""

    def after(self, next_cursor: str | None) -> Self | None:
        """Return the request for the page that a cursor leads to, None if it leads nowhere."""


R = TypeVar("R", bound=PageRequest)


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing may be requested before this moment (monotonic)."""

    moment: float
    cause: WaitCause


@dataclass(frozen=True, slots=True)
class Done:
    """There is nothing more to request: the list has ended, or its page was given up."""


class RecentCursors:
    """The latest cursors of all accounts, in bounded memory."""

    def __init__(self, most: int = _REMEMBERED_CURSORS) -> None:
        self._most = most
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def has(self, account: str | None, cursor: str) -> bool:
        """Return whether an account's cursor is remembered."""
        return hash((account, cursor)) in self._hashes

    def add(self, account: str | None, cursor: str) -> None:
        """Remember an account's cursor; this may forget the oldest one."""
        self._hashes[hash((account, cursor))] = None
        if len(self._hashes) > self._most:
            self._hashes.popitem(last=False)


class CursorLoopDetector:
    """Detects a cursor that repeats within an account.

    It compares each cursor with the latest ones of all accounts, and by Brent's algorithm with one
    cursor that is replaced at every power of two: any loop reaches that one again.
    """

    __slots__ = ("_account", "_count", "_kept", "_recent")

    def __init__(self, recent: RecentCursors | None = None, account: str | None = None) -> None:
        self._recent = recent or RecentCursors()
        self._account = account
        self._kept: str | None = None
        self._count = 0

    def check(self, asked: str | None, following: str | None) -> None:
        """Raise PageMismatch if the page of cursor ``asked`` leads back to an earlier page."""
        if asked and not self._recent.has(self._account, asked):  # Otherwise it is a retry.
            self._recent.add(self._account, asked)
            self._count += 1
            if self._count & (self._count - 1) == 0:
                self._kept = asked
        if following and (self._recent.has(self._account, following) or following == self._kept):
            raise PageMismatch(
                "the API gave the same cursor twice, so its pages form a loop; the cursor ends in "
                f"{following[-12:]!r}"
            )


class AccountPages(Generic[R]):
    """The state of one list. ``request`` is for the page that comes next, or came last."""

    __slots__ = ("_failures", "_loops", "_policy", "_wait", "count", "is_done", "request")

    def __init__(
        self,
        request: R,
        policy: RetryPolicy,
        *,
        loops: CursorLoopDetector | None = None,
        count: int = 0,
    ) -> None:
        self.request = request
        self.count = count
        """The pages that arrived; those of earlier processes are passed in."""
        self._policy = policy
        self._loops = loops or CursorLoopDetector()
        self._failures = Failures()
        self._wait: WaitUntil | None = None
        self.is_done = False
        """Whether the list has ended, or its page was given up."""

    def next_request(self, now: float) -> R | WaitUntil | Done:
        """Return what to do at the time ``now`` (monotonic)."""
        if self.is_done:
            return Done()
        if self._wait and self._wait.moment > now:
            return self._wait
        return self.request

    def check(self, next_cursor: str | None) -> None:
        """Raise PageMismatch if the cursor of the page being read leads back to an earlier page."""
        self._loops.check(self.request.next_cursor, next_cursor)

    def page_arrived(self, next_cursor: str | None) -> None:
        """Move on to the page that ``next_cursor`` leads to. Raises what ``check`` raises."""
        self.check(next_cursor)
        following = self.request.after(next_cursor)
        self.is_done = following is None
        self.request = following or self.request
        self.count += 1
        self._failures = Failures()
        self._wait = None

    def failed(self, error: StreamlicError, now: float) -> Retry | None:
        """Plan another attempt and return it; None if the page is given up, as ``error`` then says.

        Whatever the policy does not retry is given up at once.
        """
        self._failures.count(error, now)
        wait_seconds = self._policy.wait_seconds(error, self._failures)
        if wait_seconds is None:
            given_up(error, self._failures)
            self.is_done = True
            return None
        self._wait = WaitUntil(now + wait_seconds, retry_cause(error))
        return Retry(error, self._failures.total, wait_seconds)
