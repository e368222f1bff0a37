"""Decides whether to retry after a failure, and after what wait. Pure: its caller waits."""

from __future__ import annotations

import random
from dataclasses import dataclass

from streamlic.errors import (
    ApiError,
    AuthenticationError,
    DecodeError,
    LimitExceeded,
    ListingTooLarge,
    NotAListing,
    PageMismatch,
    RescueError,
    StreamlicError,
    TransportError,
    TruncatedBody,
)
from streamlic.truto.wait_reasons import WaitCause, WaitReason

_LEAST_ATTEMPTS = 4


class Failures:
    """The failures at one page: how many, since when, and the malformed bodies counted apart.

    Counted apart: a malformed body gets its one retry whatever failed before.
    """

    __slots__ = ("_since", "_was_named", "seconds", "spoilt", "total", "waited_as_named")

    def __init__(self) -> None:
        self.total = 0
        self.spoilt = 0
        """Malformed bodies, which a proxy may have corrupted."""
        self.seconds = 0.0
        """The seconds from the first failure to the last."""
        self.waited_as_named = False
        """Whether the last failed attempt followed a wait that the server had named."""
        self._since = 0.0
        self._was_named = False

    def count(self, error: BaseException, now: float) -> None:
        """Count a failure that came at ``now`` (monotonic)."""
        if not self.total:
            self._since = now
        self.total += 1
        self.spoilt += _may_be_spoilt(error)
        self.seconds = now - self._since
        self.waited_as_named, self._was_named = self._was_named, _named_wait(error) is not None


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to retry one page, and how long to wait between attempts.

    A page is given up ``retry_for_seconds`` after its first failure, but not before four attempts.
    The time includes the attempts and the waits for the rate limit: one attempt at a long page may
    use all of it, and three more outlast a server's restart. A wait that the server named is always
    kept, and one attempt follows it. Each attempt doubles ``backoff_seconds``, up to
    ``max_backoff_seconds``; the wait is random between half of it and all of it. 0 means no waits,
    for tests.
    """

    retry_for_seconds: float = 900.0
    backoff_seconds: float = 0.5
    max_backoff_seconds: float = 30.0

    def wait_seconds(self, error: BaseException, failures: Failures) -> float | None:
        """Return the seconds before the next attempt after ``error``, None to give up.

        ``error`` is the last that ``failures`` counted. The wait is the one that the server named,
        or exponential backoff, plus jitter. A body that is not valid JSON, or contradicts itself,
        is fetched only once more: a proxy may have corrupted it.
        """
        named = _named_wait(error)
        if is_transient(error):
            has_tried = failures.total >= _LEAST_ATTEMPTS
            is_over = has_tried and failures.seconds >= self.retry_for_seconds
            if is_over and (named is None or failures.waited_as_named):
                return None
        elif not _may_be_spoilt(error) or failures.spoilt > 1:
            return None
        doubled = self.backoff_seconds * 2 ** min(failures.total - 1, 60)
        backoff = min(doubled, self.max_backoff_seconds)
        jitter = random.uniform(0, backoff / 2)  # noqa: S311  (it spreads load, not secrets)
        return backoff / 2 + jitter if named is None else named + jitter


def given_up(error: StreamlicError, failures: Failures) -> StreamlicError:
    """Add to a page's final error how long it was retried, and which option helps.

    An error that is not transient stays as it is.
    """
    if is_transient(error) and failures.total > 1:
        _add(
            error,
            f"given up after {failures.total:,} attempts in {failures.seconds:.0f} s",
        )
        error.parameter = error.parameter or "retry_for_seconds"
    return error


def naming_restart(error: StreamlicError) -> StreamlicError:
    """Add to the error of a page with a stored cursor what helps if the cursor has expired.

    Only if the request was refused: transient errors, and the account's own, stay as they are.
    """
    is_refused = type(error) is ApiError and 400 <= error.status < 500 and not error.retryable
    if is_refused:
        _add(error, "if it refuses the run's stored cursor, restart the run")
        error.parameter = "restart"
    return error


def _add(error: StreamlicError, text: str) -> None:
    error.args = (f"{error.described()}; {text}", *error.args[1:])


def retry_cause(error: StreamlicError) -> WaitCause:
    """Return why the attempt after this error waits."""
    is_named = _named_wait(error) is not None
    return WaitCause(WaitReason.RETRY_AFTER if is_named else WaitReason.BACKOFF, error.described())


def is_account_scoped(error: BaseException) -> bool:
    """Return whether a failure concerns only its account.

    Problems with the token, the disk or a certificate concern all accounts.
    """
    if isinstance(error, TransportError):
        return error.retryable
    is_of_page = isinstance(error, ApiError | DecodeError | PageMismatch | ListingTooLarge)
    return is_of_page and not isinstance(error, AuthenticationError)


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later without anybody changing anything."""
    if isinstance(error, ApiError | TransportError):
        return error.retryable
    return isinstance(error, TruncatedBody | NotAListing)


def _named_wait(error: BaseException) -> float | None:
    return error.retry_after_seconds if isinstance(error, ApiError) else None


def _may_be_spoilt(error: BaseException) -> bool:
    if is_transient(error) or isinstance(error, LimitExceeded | RescueError):
        return False
    return isinstance(error, DecodeError | PageMismatch)


@dataclass(frozen=True)
class Retry:
    """A retry: its reason, the attempts so far, the wait before it, and the account if known."""

    error: StreamlicError
    attempt: int
    wait_seconds: float
    account: str | None = None
