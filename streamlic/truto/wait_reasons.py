"""What requests wait for before they may go, for who watches. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """Whose word it is that a request waits for."""

    TOKEN_LIMIT = "token_rate_limit"  # noqa: S105  (a reason's name)
    """Our own count of what the token may ask."""
    ACCOUNT_LIMIT = "account_rate_limit"
    """Our own count of what the account may be asked."""
    SERVER_LIMIT = "server_rate_limit"
    """An answer, perhaps to another request, said that the limit is used up."""
    RETRY_AFTER = "retry_after"
    """A request failed, and its answer said when to ask again."""
    BACKOFF = "backoff"
    """A request failed, and we let some time pass."""


@dataclass(frozen=True, slots=True)
class WaitCause:
    """Why a request waits; ``detail`` is the rate, or the error."""

    reason: WaitReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """Requests that wait for one reason: until when the first does (monotonic), and how many.

    ``account`` is that of the first.
    """

    cause: WaitCause
    until: float
    accounts: int
    account: str | None = None

    def seconds(self, now: float) -> float:
        """Return how long it is yet."""
        return max(self.until - now, 0.0)
