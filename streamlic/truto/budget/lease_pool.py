"""A process's part of leasing: the permits it has, and what it has to ask and report. Pure."""

from __future__ import annotations

from collections import deque

from streamlic.truto.budget.base import UNDER_WAY_SECONDS, TokenPermit
from streamlic.truto.budget.ledger import VALID_SECONDS
from streamlic.truto.budget.messages import MOST_REPORTED, Answer, Ask
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT, RateLimit
from streamlic.truto.wait_reasons import WaitCause, WaitReason

_POLL_SECONDS = 0.005
_MOST_POLL_SECONDS = 0.25
"""When to look again for permits that are on their way: soon, and less often if they are not."""
_SHARE_OF_WINDOW = 20
_MOST_FLUSH_SECONDS = 0.5


class LeasePool:
    """The permits of one process. It asks when it has none left, and for what it has a use for."""

    def __init__(self) -> None:
        self._permits: deque[tuple[int, float]] = deque()
        self._sent: dict[int, float] = {}
        self._unused: list[int] = []
        self._report_at: float | None = None
        self._held_until = 0.0
        self._new_hold: float | None = None
        self._ask_at = 0.0
        self._limit = TOKEN_RATE_LIMIT
        self._asked = Ask()
        self._asked_at = 0.0
        self._reported: dict[int, float] = {}
        self._reported_hold: float | None = None
        self._wanted = 0
        self._wanted_at = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether a request waits for a permit."""
        return self._wanted > 0

    def delay(self, now: float, wanted: int = 1) -> float:
        """Return the seconds until a permit may be there for ``wanted`` requests; 0 if one is."""
        self._drop_expired(now)
        if self._held_until <= now and self._permits:
            return 0.0
        if not self._wanted:
            self._wanted_at = now
        self._wanted = max(self._wanted, min(wanted, MOST_REPORTED))
        free_at = max(self._held_until, self._ask_at)
        waited = now - max(self._wanted_at, free_at)
        return max(free_at - now, min(max(waited / 4, _POLL_SECONDS), _MOST_POLL_SECONDS))

    def take(self, now: float) -> TokenPermit | None:
        """Return a permit for a request that is sent at ``now``, None if there is none."""
        if self.delay(now) > 0:
            return None
        number, _ = self._permits.popleft()
        return TokenPermit(now + UNDER_WAY_SECONDS, number)

    def recount(self, permit: TokenPermit, moment: float, now: float) -> None:
        """Report that a permit's request is counted at ``moment``."""
        permit.counted_at = moment
        self._sent[permit.number] = moment
        self._report_soon(now)

    def wait_until(self, moment: float) -> None:
        """Use no permit before ``moment``, and let no other process use one."""
        self._held_until = max(self._held_until, moment)
        self._new_hold = self._held_until

    def cause(self) -> WaitCause:
        """Return why the next request waits."""
        if self._held_until and self._held_until >= self._ask_at:
            return WaitCause(WaitReason.SERVER_LIMIT)
        return WaitCause(WaitReason.TOKEN_LIMIT, str(self._limit))

    def due_at(self, now: float) -> float | None:
        """Return when there will be something to ask or report, None if there is nothing."""
        self._drop_expired(now)
        moments = [self._report_at, None if self._new_hold is None else now]
        if self._permits:
            moments.append(self._permits[0][1])
        elif self._wanted:
            moments.append(max(self._ask_at, self._held_until))
        return min((one for one in moments if one is not None), default=None)

    def ask(self, now: float) -> Ask:
        """Return what to ask and report. It stays on the list until ``answered``."""
        self._drop_expired(now)
        may_ask = not self._permits and max(self._ask_at, self._held_until) <= now
        self._asked_at, self._reported_hold = now, self._new_hold
        self._reported = dict(list(self._sent.items())[:MOST_REPORTED])
        self._asked = Ask(
            self._wanted if may_ask else 0,
            {number: now - moment for number, moment in self._reported.items()},
            self._unused[:MOST_REPORTED],
            0.0 if self._new_hold is None else max(self._new_hold - now, 0.0),
        )
        return self._asked

    def answered(self, answer: Answer, now: float) -> None:
        """Take the answer to ``ask``. ValueError if it answers something else."""
        if answer.permits > self._asked.wanted:
            raise ValueError("more permits than were asked for")
        for number, moment in self._reported.items():
            if self._sent[number] == moment:  # Otherwise there is news of it.
                del self._sent[number]
        del self._unused[: len(self._asked.unused)]
        self._report_at = None
        if self._sent or self._unused:
            self._report_soon(now)
        if self._new_hold == self._reported_hold:
            self._new_hold = None
        if answer.hold_seconds > 0:
            self._held_until = max(self._held_until, now + answer.hold_seconds)
        self._limit = RateLimit(answer.requests, answer.window_seconds)
        self._ask_at = now + answer.wait_seconds
        if answer.permits:
            # Valid from before the question: the server granted them later.
            numbers = range(answer.first, answer.first + answer.permits)
            self._permits += [(number, self._asked_at + VALID_SECONDS) for number in numbers]
            self._wanted = 0

    @property
    def held_until(self) -> float:
        """The time before which the API asked for no request."""
        return self._held_until

    def forget(self) -> None:
        """Ask and report nothing of what was: there is no server for it."""
        self._wanted = 0
        self._sent.clear()
        self._reported.clear()
        self._unused.clear()
        self._report_at = self._new_hold = None

    def _drop_expired(self, now: float) -> None:
        """Hand back the permits whose second is over."""
        while self._permits and self._permits[0][1] <= now:
            self._unused.append(self._permits.popleft()[0])
            self._report_at = now

    def _report_soon(self, now: float) -> None:
        if self._report_at is None:
            pause = self._limit.window_seconds / _SHARE_OF_WINDOW
            self._report_at = now + min(pause, _MOST_FLUSH_SECONDS)
