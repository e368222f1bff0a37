"""The permit server's count: which permits are leased, and when each request was counted. Pure.

Rules, for a limit of R requests in any W seconds:
1. A permit granted at ``t`` counts at ``t + VALID_SECONDS + UNDER_WAY_SECONDS``. Its process uses
   it within a second, or never, and it starts that second before it asks, so before ``t``. The API
   counts a request half a second after it was sent, at the latest. So a permit never counts before
   its request does at the API, whatever the process does, and if it dies.
2. A report moves the count to the time when the request was sent or answered. A permit that comes
   back unused does not count. A report has an age, to which its own way is added: again the permit
   does not count before its request.
3. A permit is granted at ``t`` only if fewer than R count after ``t - W``.

So no W seconds hold more than R requests. Take any request, which the API counts at ``a``, and all
those that it counted in the W seconds before. Of all their permits, the last was granted at ``t``,
and ``t <= a``. Each of the other requests was counted after ``a - W`` at the API, so its permit
counts after ``a - W`` here, too, and ``a - W >= t - W``: by rule 3 they are fewer than R. As in one
process, this needs requests that wait less than W for their connections.

What this costs: permits of a process that died count up to a second and a half late, and others as
late as their reports are.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from streamlic.truto.budget.base import UNDER_WAY_SECONDS, TokenPermit
from streamlic.truto.budget.messages import MOST_REPORTED, Answer, Ask
from streamlic.truto.rate_limit import LocalBudget, RateLimit

VALID_SECONDS = 1.0
_REMEMBERED_SECONDS = 60.0
"""How long after its window a permit is remembered: its request may have waited to connect."""
_NEWS_SECONDS = 3 * VALID_SECONDS
"""How long after the last grant reports can change what is free."""
_SHARE_OF_LIMIT = 20
_MOST_TIMES_THE_RATE = 5
"""How much faster than on average permits are granted: a burst of many processes may stall."""
_SHARE_OF_WINDOW = 50


@dataclass(slots=True)
class _Lease:
    granted_at: float
    permit: TokenPermit


class PermitLedger:
    """Grants permits out of a budget. Times are those of one clock, the server's."""

    def __init__(self, budget: LocalBudget, limit: RateLimit) -> None:
        self._budget = budget
        self._limit = limit
        self._leases: dict[int, _Lease] = {}
        self._granted_at = 0.0
        self._paced_at = 0.0
        self._most = min(max(limit.requests // _SHARE_OF_LIMIT, 1), MOST_REPORTED)
        self._spacing_seconds = limit.window_seconds / limit.requests / _MOST_TIMES_THE_RATE
        # No other server uses these numbers, so that a report to one before cannot be mistaken.
        self._next = 1 + secrets.randbelow(1 << 60)

    def answer(self, ask: Ask, now: float) -> Answer:
        """Take what a process reports, and grant what it may have."""
        self._forget_old(now)
        for number, age in ask.sent.items():
            self._recount(number, now - age, now)
        for number in ask.unused:
            if lease := self._leases.pop(number, None):
                self._budget.give_back(lease.permit)
        if ask.hold_seconds > 0:
            self._budget.wait_until(now + ask.hold_seconds)
        first, permits = self._next, self._granted(ask.wanted, now)
        wait, hold = self._budget.delay(now), self._budget.held_seconds(now)
        if ask.wanted and not wait and not permits:
            wait = self._spacing_seconds * self._most / 2
        elif wait > hold:
            # A few permits become free soon after the first: one message can carry them all.
            wait += self._limit.window_seconds / _SHARE_OF_WINDOW
            if now < self._granted_at + _NEWS_SECONDS:  # They may come back, or count earlier.
                wait = min(wait, VALID_SECONDS)
        return Answer(
            first,
            permits,
            wait,
            hold,
            requests=self._limit.requests,
            window_seconds=self._limit.window_seconds,
        )

    def _granted(self, wanted: int, now: float) -> int:
        """Grant up to ``wanted`` permits, and a small part of the limit; return how many."""
        self._paced_at = max(self._paced_at, now - self._most * self._spacing_seconds)
        most = min(wanted, int((now - self._paced_at) / self._spacing_seconds + 1e-6))
        for count in range(most):
            permit = self._budget.take(now, valid_seconds=VALID_SECONDS)
            if permit is None:
                return count
            self._paced_at += self._spacing_seconds
            self._leases[self._next] = _Lease(now, permit)
            self._granted_at = now
            self._next += 1
        return most

    def _recount(self, number: int, moment: float, now: float) -> None:
        """Count a permit's request at ``moment``, as far as that can be."""
        moment = min(moment, now + UNDER_WAY_SECONDS)
        lease = self._leases.get(number)
        if lease:
            self._budget.recount(lease.permit, max(moment, lease.granted_at))
        else:  # Of a server before this one: it is a request of the same token.
            self._budget.recount(TokenPermit(float("-inf")), moment)

    def _forget_old(self, now: float) -> None:
        oldest = now - self._limit.window_seconds - _REMEMBERED_SECONDS
        while self._leases:
            number = next(iter(self._leases))
            if self._leases[number].granted_at > oldest:
                return
            del self._leases[number]
