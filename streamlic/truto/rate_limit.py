"""Decides when a request may be sent, under the rate limits. Pure: its caller waits.

Source of the limits: Truto allows 500 requests in 10 seconds per token, and 50 in 10 seconds per
integrated account, and answers 429 with Retry-After above that. All times are seconds.
"""

from __future__ import annotations

import re
import threading
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from streamlic.errors import UsageError
from streamlic.formatting import counted
from streamlic.share import Share
from streamlic.truto.budget.base import UNDER_WAY_SECONDS, TokenBudget, TokenPermit
from streamlic.truto.wait_headers import is_used_up, retry_after_seconds, seconds_of
from streamlic.truto.wait_reasons import WaitCause, WaitReason

_MARGIN_SECONDS = 0.02  # For differences between two clocks and their resolution.
_MAX_ACCOUNTS = 10_000
_QUEUE_SECONDS = 2.5
_LATE_REQUESTS = 200
"""About so many of the last responses say whether late ones are usual."""
_RATE = re.compile(r"([0-9]{1,6})/([0-9]{1,6}(?:\.[0-9]{1,6})?)s")


@dataclass(frozen=True)
class RateLimit:
    """At most ``requests`` in any ``window_seconds``."""

    requests: int
    window_seconds: float

    def __post_init__(self) -> None:
        if self.requests < 1 or not self.window_seconds > 0:
            raise UsageError(f"expected 1 request or more in more than 0 s, got {self}")

    def __str__(self) -> str:
        return f"{counted(self.requests, 'request')} in {self.window_seconds:g} s"

    def share(self, number: int, of: int) -> RateLimit:
        """Return share ``number`` of ``of`` equal shares, from 1. They add up to this limit.

        Raises UsageError if there are more shares than requests.
        """
        share = Share(number, of)
        if of > self.requests:
            raise UsageError(
                f"{self} cannot be shared among {of:,}: some would have no request at all",
                parameter="token_share",
            )
        return RateLimit(share.part_of(self.requests), self.window_seconds)


TOKEN_RATE_LIMIT = RateLimit(500, 10)
ACCOUNT_RATE_LIMIT = RateLimit(50, 10)
_NO_LIMIT = RateLimit(1_000_000, 1e-9)


def parse_rate_limit(text: str, parameter: str = "rate_limit") -> RateLimit | None:
    """Read ``50/10s``; None for ``none``; UsageError for anything else, naming ``parameter``."""
    match = _RATE.fullmatch(text)
    if text == "none":
        return None
    if match is None or not int(match[1]) or not float(match[2]):
        raise UsageError(
            f"expected requests/seconds such as 50/10s, or none, got {text!r}",
            parameter=parameter,
        )
    return RateLimit(int(match[1]), float(match[2]))


class SlidingWindow:
    """A sliding window over the last requests, by the latest time the server counted each.

    The server counts a request when it arrives, at an unknown time between sending and response.
    The window assumes half a second after sending, or the response if that is earlier. So no window
    of the server holds too many requests, however much their latencies differ, and each window
    loses at most the latency of one request.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._kept = limit.requests
        self._counted: deque[float] = deque()
        self._not_before = 0.0

    @property
    def limit(self) -> RateLimit:
        """The limit, which may be set to another one: what was counted stays counted."""
        return self._limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        self._limit = limit
        self._kept = max(self._kept, limit.requests)  # A later limit may be as high as one before.

    def delay(self, now: float) -> float:
        """Return the seconds until the next request may be sent; 0 if it may be sent now."""
        return max(self.held_seconds(now), self._free_at() - now)

    def held_seconds(self, now: float) -> float:
        """Return how long a response still asks for no request; 0 if none does."""
        return max(self._not_before - now, 0.0)

    def cause(self, counts: WaitReason) -> WaitCause:
        """Return why the next request waits: a response said so, or our own count, ``counts``."""
        if self._not_before > self._free_at():
            return WaitCause(WaitReason.SERVER_LIMIT)
        return WaitCause(counts, str(self._limit))

    def _free_at(self) -> float:
        if len(self._counted) < self._limit.requests:
            return 0.0
        oldest = self._counted[-self._limit.requests]
        return oldest + self._limit.window_seconds + _MARGIN_SECONDS

    def count(self, moment: float) -> None:
        """Count a request at ``moment``. With a full window, this drops the oldest."""
        if len(self._counted) == self._kept:
            self._counted.popleft()
        insort(self._counted, moment)

    def recount(self, moment: float, now: float) -> None:
        """Count a request at ``now``, no longer at ``moment``; again if it is not counted there."""
        self.forget(moment)
        self.count(now)

    def forget(self, moment: float) -> None:
        """Forget a request that was counted at ``moment``, and was not sent."""
        if moment in self._counted:
            self._counted.remove(moment)

    def wait_until(self, moment: float) -> None:
        """Send no request before ``moment``: the server said so."""
        self._not_before = max(self._not_before, moment)


class LocalBudget:
    """One process's count of a token's requests, for clients and exports in any of its threads.

    None as the limit counts nothing: only waits that the API asks for hold. ``limit`` may be text:
    ``500/10s``. It does not pickle: another process has no part in it, but LeasedBudget has.
    """

    def __init__(self, limit: RateLimit | str | None = TOKEN_RATE_LIMIT) -> None:
        limit = parse_rate_limit(limit) if isinstance(limit, str) else limit
        self._is_counted = limit is not None
        self._window = SlidingWindow(limit or _NO_LIMIT)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LocalBudget({self._window.limit if self._is_counted else None})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a LocalBudget counts the requests of one process and does not pickle: a LeasedBudget, "
            "which asks a PermitServer, does"
        )

    @property
    def limit(self) -> RateLimit | None:
        """The limit. It may be set to another one: requests that were counted stay counted."""
        return self._window.limit if self._is_counted else None

    @limit.setter
    def limit(self, limit: RateLimit | None) -> None:
        with self._lock:
            self._is_counted = limit is not None
            self._window.limit = limit or _NO_LIMIT

    def delay(self, now: float, wanted: int = 1) -> float:  # noqa: ARG002  (any number is alike)
        """Return the seconds until the next request may be sent; 0 if it may be sent now."""
        with self._lock:
            return self._window.delay(now)

    def take(self, now: float, *, valid_seconds: float = 0.0) -> TokenPermit | None:
        """Count a request that is sent within ``valid_seconds``; None if ``delay`` says to wait."""
        with self._lock:
            if self._window.delay(now) > 0:
                return None
            permit = TokenPermit(now + valid_seconds + UNDER_WAY_SECONDS)
            if self._is_counted:
                self._window.count(permit.counted_at)
            return permit

    def recount(self, permit: TokenPermit, moment: float) -> None:
        """Count a permit's request at ``moment``: it was sent later, or answered sooner."""
        with self._lock:
            if self._is_counted:
                self._window.recount(permit.counted_at, moment)
            permit.counted_at = moment

    def give_back(self, permit: TokenPermit) -> None:
        """Forget a permit with which nothing was sent, and nothing will be."""
        with self._lock:
            self._window.forget(permit.counted_at)

    def wait_until(self, moment: float) -> None:
        """Send no request of the token before ``moment``: the API said so."""
        with self._lock:
            self._window.wait_until(moment)

    def held_seconds(self, now: float) -> float:
        """Return how long the API still asks all to wait; 0 if it does not."""
        with self._lock:
            return self._window.held_seconds(now)

    def cause(self) -> WaitCause:
        """Return why the next request waits."""
        with self._lock:
            return self._window.cause(WaitReason.TOKEN_LIMIT)


@dataclass
class Permit:
    """Permission to send one request: its account, and the time at which it is counted."""

    account: str
    counted_at: float
    of_token: TokenPermit


class RateLimiter:
    """Both tiers: the token's budget, and a window for each account that was requested lately.

    ``account_limit`` None turns off our own limits; waits that the server asks for still apply, and
    so does a ``budget`` that is given. ``token_limit`` is the token's in all: without a budget,
    ``share`` of it is this limiter's own.
    """

    def __init__(
        self,
        account_limit: RateLimit | None = ACCOUNT_RATE_LIMIT,
        *,
        token_limit: RateLimit | None = TOKEN_RATE_LIMIT,
        share: Share | None = None,
        budget: TokenBudget | None = None,
    ) -> None:
        self._account_limit = account_limit or _NO_LIMIT
        self._is_counted = account_limit is not None
        self._token_requests = (token_limit or TOKEN_RATE_LIMIT).requests
        own = token_limit.share(share.number, share.of) if token_limit and share else token_limit
        self._token = budget or LocalBudget(own if account_limit else None)
        self._late_share = 0.0
        self._accounts: OrderedDict[str, SlidingWindow] = OrderedDict()

    def token_delay(self, now: float, wanted: int = 1) -> float:
        """Return the seconds until a request of any account may be sent, of ``wanted`` ones."""
        return self._token.delay(now, wanted)

    def account_delay(self, account: str, now: float) -> float:
        """Return the seconds until this account's own tier allows a request."""
        window = self._accounts.get(account)
        return window.delay(now) if window else 0.0

    def token_cause(self) -> WaitCause:
        """Return why requests of all accounts wait."""
        return self._token.cause()

    def account_cause(self, account: str) -> WaitCause:
        """Return why requests of this account wait."""
        return self._window(account).cause(WaitReason.ACCOUNT_LIMIT)

    def delay(self, account: str, now: float) -> float:
        """Return the seconds until a request of this account may be sent."""
        return max(self.token_delay(now), self.account_delay(account, now))

    def acquire(self, account: str, now: float) -> Permit | None:
        """Count a request of this account that is sent at ``now``.

        None if another client of the token's budget took the last permit: see ``token_delay``.
        """
        of_token = self._token.take(now)
        if of_token is None:
            return None
        permit = Permit(account, now + UNDER_WAY_SECONDS, of_token)
        if self._is_counted:
            self._window(account).count(permit.counted_at)
        return permit

    def sent(self, permit: Permit, now: float) -> None:
        """Count the request at ``now``, when it was really sent: it may wait for a connection."""
        self._recount(permit, now + UNDER_WAY_SECONDS)

    def answered(self, permit: Permit, now: float) -> None:
        """Count the request at ``now``, when its response came: the server counted it before.

        A response that comes late may mean that the request waited in a queue, uncounted, unless
        most are late: then the server takes its time to respond to what it has counted.
        """
        late_seconds = now - permit.counted_at
        self._late_share += ((late_seconds > 0) - self._late_share) / _LATE_REQUESTS
        if late_seconds < 0 or (late_seconds < _QUEUE_SECONDS and self._late_share < 0.5):
            self._recount(permit, now)

    def forget(self, account: str) -> None:
        """Forget an account that needs no more requests."""
        self._accounts.pop(account, None)

    def penalize(self, account: str, seconds: float, now: float, *, is_accounts: bool) -> None:
        """Delay requests as a 429 asks: those of the account, or all."""
        self._window(account).wait_until(now + seconds)
        if not is_accounts:
            self._token.wait_until(now + seconds)

    def is_accounts_tier(self, headers: Mapping[str, str]) -> bool:
        """Return whether a 429's headers show that the account's own tier is used up.

        This holds whatever limit this client uses, or the account has: there are two tiers, and a
        limit below the token's in all belongs to the account.
        """
        limit = seconds_of(headers.get("ratelimit-limit", "").partition(";")[0])
        return is_used_up(headers) and limit is not None and limit < self._token_requests

    def observe(
        self, account: str, headers: Mapping[str, str], now: float, today: datetime
    ) -> None:
        """Respect ``ratelimit-remaining: 0``: wait as the response's headers say.

        ``now`` is monotonic, ``today`` the time of day.
        """
        if not is_used_up(headers):
            return
        wait = retry_after_seconds(headers, today, is_rate_limit=True)
        if wait is not None:
            self._window(account).wait_until(now + wait)

    def _recount(self, permit: Permit, moment: float) -> None:
        self._token.recount(permit.of_token, moment)
        if self._is_counted:
            self._window(permit.account).recount(permit.counted_at, moment)
        permit.counted_at = moment

    def _window(self, account: str) -> SlidingWindow:
        window = self._accounts.get(account)
        if window is None:
            window = self._accounts[account] = SlidingWindow(self._account_limit)
            if len(self._accounts) > _MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(account)
        return window
