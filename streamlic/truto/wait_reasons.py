"""Why requests wait before they are sent, for display. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """Why a request waits."""

    TOKEN_LIMIT = "token_rate_limit"  # noqa: S105  (a reason's name)
    """Our own count of the token's requests."""
    ACCOUNT_LIMIT = "account_rate_limit"
    """Our own count of the account's requests."""
    PERMIT_SERVER = "permit_server"
    """The server that leases the token's permits does not answer."""
    SERVER_LIMIT = "server_rate_limit"
    """A response, perhaps to another request, said that the limit is used up."""
    RETRY_AFTER = "retry_after"
    """A request failed, and its response named the wait before a retry."""
    BACKOFF = "backoff"
    """A request failed, and its retry waits for the backoff."""


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
        """Return the time left, in seconds."""
        return max(self.until - now, 0.0)
