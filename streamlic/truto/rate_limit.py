"""Decides when a request may be sent, under the rate limits. Pure: its caller waits.

Source of the limits: Truto allows 500 requests in 10 seconds per token, and 50 in 10 seconds per
integrated account, and answers 429 with Retry-After above that. All times are seconds.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streamlic.errors import (
    UsageError,
)
from streamlic.truto.wait_headers import is_used_up, retry_after_seconds, seconds_of
from streamlic.truto.wait_reasons import WaitCause, WaitReason

_MARGIN_SECONDS = 0.02  # For differences between two clocks and their resolution.
_UNDER_WAY_SECONDS = 0.5
_MAX_ACCOUNTS = 10_000
_RATE = re.compile(r"([0-9]{1,6})/([0-9]{1,6}(?:\.[0-9]{1,6})?)s")


@dataclass(frozen=True)
class RateLimit:
    """At most ``requests`` in any ``window_seconds``."""

    requests: int
    window_seconds: float

    def __str__(self) -> str:
        return f"{self.requests:,} requests in {self.window_seconds:g} s"


TOKEN_RATE_LIMIT = RateLimit(500, 10)
ACCOUNT_RATE_LIMIT = RateLimit(50, 10)


def parse_rate_limit(text: str) -> RateLimit | None:
    """Read ``50/10s``; None for ``none``; UsageError for anything else."""
    match = _RATE.fullmatch(text)
    if text == "none":
        return None
    if match is None or not int(match[1]) or not float(match[2]):
        raise UsageError(
            f"expected requests/seconds such as 50/10s, or none, got {text!r}",
            parameter="rate_limit",
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
        self._counted: deque[float] = deque()
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """Return the seconds until the next request may be sent; 0 if it may be sent now."""
        return max(self._not_before - now, self._free_at() - now, 0.0)

    def cause(self, counts: WaitReason) -> WaitCause:
        """Return why the next request waits: a response said so, or our own count, ``counts``."""
        if self._not_before > self._free_at():
            return WaitCause(WaitReason.SERVER_LIMIT)
        return WaitCause(counts, str(self._limit))

    def _free_at(self) -> float:
        if len(self._counted) < self._limit.requests:
            return 0.0
        return self._counted[0] + self._limit.window_seconds + _MARGIN_SECONDS

    def count(self, moment: float) -> None:
        """Count a request at ``moment``. With a full window, this drops the oldest."""
        if len(self._counted) == self._limit.requests:
            self._counted.popleft()
        insort(self._counted, moment)

    def recount(self, moment: float, now: float) -> None:
        """Count a request at ``now`` that was counted at ``moment``.

        If it is no longer in the log, or was moved before, it was sent again: count it again.
        """
        if moment in self._counted:
            self._counted.remove(moment)
        self.count(now)

    def wait_until(self, moment: float) -> None:
        """Send no request before ``moment``: the server said so."""
        self._not_before = max(self._not_before, moment)


@dataclass
class Permit:
    """Permission to send one request: its account, and the time at which it is counted."""

    account: str
    counted_at: float


class RateLimiter:
    """Both tiers: one window for the token, one for each account that was requested lately.

    ``account_limit`` None turns off our own limits; waits that the server asks for still apply.
    """

    def __init__(self, account_limit: RateLimit | None = ACCOUNT_RATE_LIMIT) -> None:
        self._account_limit = account_limit or RateLimit(1_000_000, 1e-9)
        self._token = SlidingWindow(TOKEN_RATE_LIMIT if account_limit else self._account_limit)
        self._is_counted = account_limit is not None
        self._accounts: OrderedDict[str, SlidingWindow] = OrderedDict()

    def token_delay(self, now: float) -> float:
        """Return the seconds until a request of any account may be sent."""
        return self._token.delay(now)

    def account_delay(self, account: str, now: float) -> float:
        """Return the seconds until this account's own tier allows a request."""
        window = self._accounts.get(account)
        return window.delay(now) if window else 0.0

    def token_cause(self) -> WaitCause:
        """Return why requests of all accounts wait."""
        return self._token.cause(WaitReason.TOKEN_LIMIT)

    def account_cause(self, account: str) -> WaitCause:
        """Return why requests of this account wait."""
        return self._window(account).cause(WaitReason.ACCOUNT_LIMIT)

    def delay(self, account: str, now: float) -> float:
        """Return the seconds until a request of this account may be sent."""
        return max(self.token_delay(now), self.account_delay(account, now))

    def acquire(self, account: str, now: float) -> Permit:
        """Count a request of this account that is sent at ``now``."""
        permit = Permit(account, now + _UNDER_WAY_SECONDS)
        if self._is_counted:
            self._token.count(permit.counted_at)
            self._window(account).count(permit.counted_at)
        return permit

    def sent(self, permit: Permit, now: float) -> None:
        """Count the request at ``now``, when it was really sent: it may wait for a connection."""
        self._recount(permit, now + _UNDER_WAY_SECONDS)

    def answered(self, permit: Permit, now: float) -> None:
        """Count the request at ``now``, when its response came: the server counted it before."""
        if now < permit.counted_at:
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
        limit below the token's belongs to the account.
        """
        limit = seconds_of(headers.get("ratelimit-limit", "").partition(";")[0])
        return is_used_up(headers) and limit is not None and limit < TOKEN_RATE_LIMIT.requests

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
        if self._is_counted:
            self._token.recount(permit.counted_at, moment)
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
