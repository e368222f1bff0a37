"""The contract of a token's budget: one count of its requests, which several clients share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamlic.truto.wait_reasons import WaitCause

UNDER_WAY_SECONDS = 0.5
"""The API counts a request this long after it was sent, at the latest, or when it answers."""


@dataclass(slots=True)
class TokenPermit:
    """Permission to send one request, and the time at which it is counted (monotonic).

    ``number`` is the budget's own.
    """

    counted_at: float
    number: int = 0


class TokenBudget(Protocol):
    """Hands out permits for one token's requests. All clients that share it keep one limit.

    All methods return at once, and may be called from any thread. ``now`` is ``time.monotonic()``.
    """

    def delay(self, now: float, wanted: int = 1) -> float:
        """Return the seconds after which to ask again; 0 if ``take`` has a permit, or raises.

        ``wanted`` is how many requests could be sent now.
        """
        ...

    def take(self, now: float) -> TokenPermit | None:
        """Count a request that is sent at ``now``. None if it must wait, as ``delay`` says.

        Raises a StreamlicError if there will be no permit any more.
        """
        ...

    def recount(self, permit: TokenPermit, moment: float) -> None:
        """Count a permit's request at ``moment``: it was sent later, or answered sooner."""
        ...

    def wait_until(self, moment: float) -> None:
        """Send no request of the token before ``moment``: the API said so."""
        ...

    def cause(self) -> WaitCause:
        """Return why the next request waits."""
        ...
