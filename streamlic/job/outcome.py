"""How a run ended in this process, and which error says so. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum, auto

from streamlic.dataset.records import Failed
from streamlic.errors import (
    RETRY_CAN_HELP,
    ApiError,
    DecodeError,
    PageMismatch,
    StreamlicError,
    TooManyAbsent,
    TransportError,
    UsageError,
)
from streamlic.job.summary import AccountsFailed, Cancelled, Summary
from streamlic.truto.retry import is_transient

_LEAVES_PAGES_SOUND = (
    ApiError,
    TransportError,
    DecodeError,
    PageMismatch,
    TooManyAbsent,
    UsageError,
    asyncio.CancelledError,
)
"""Errors that come from outside the writer, and so cast no doubt on what it holds."""


class Outcome(Enum):
    """How a run ended in this process."""

    COMPLETE = auto()
    """Every account was read to its end."""
    COMPLETE_WITHOUT_FAILED = auto()
    """The run is complete, without the accounts that failed."""
    ACCOUNTS_FAILED = auto()
    """Accounts failed, and the run is not complete."""
    CANCELLED = auto()
    """The run was stopped on purpose, and is not complete."""
    INTERRUPTED = auto()
    """An error ended the run, and what the writer holds is sound."""
    IN_DOUBT = auto()
    """An error ended the run, and the writer may hold half of something."""

    @property
    def keeps_pages(self) -> bool:
        """Whether the whole pages that the writer holds are committed."""
        return self is not Outcome.IN_DOUBT


def outcome_of(
    *,
    error: BaseException | None,
    is_observers_error: bool = False,
    write_failed: bool = False,
    is_complete: bool = False,
    may_complete: bool = False,
    is_stopped: bool = False,
    any_failed: bool = False,
) -> Outcome:
    """Return how a run ended.

    ``error`` ended it; the observer raised it if ``is_observers_error``. ``may_complete`` is what
    the function of that name returned.
    """
    if write_failed:
        return Outcome.IN_DOUBT
    if error is not None:
        is_sound = is_observers_error or isinstance(error, _LEAVES_PAGES_SOUND)
        return Outcome.INTERRUPTED if is_sound else Outcome.IN_DOUBT
    if is_complete:
        return Outcome.COMPLETE_WITHOUT_FAILED if any_failed else Outcome.COMPLETE
    # A run that may complete and did not was stopped while it copied rows of replaced runs.
    return Outcome.CANCELLED if is_stopped or may_complete else Outcome.ACCOUNTS_FAILED


def may_complete(
    failed: Mapping[str | None, Failed],
    *,
    accounts_done: int,
    is_stopped: bool,
    skip_failed: bool,
    mode: str,
    is_too_few: bool = False,
) -> bool:
    """Return whether a run may be committed as complete, with or without accounts that failed.

    It may not where all accounts failed, or where more are absent than ``max_absent`` allows, which
    ``is_too_few`` says. With mode "overwrite" it may not where a failure is transient, for the rows
    of that account would be replaced by nothing.
    """
    if is_stopped or is_too_few:
        return False
    if not failed:
        return True
    if not skip_failed or accounts_done == 0:
        return False
    return mode != "overwrite" or not any(one.retryable for one in failed.values())


def error_of(
    outcome: Outcome,
    summary: Summary,
    failed: Mapping[str, StreamlicError],
    recorded: Mapping[str | None, Failed],
    *,
    max_absent: int | str | None = None,
) -> StreamlicError | None:
    """Return the error that tells the caller of an outcome; None where all accounts were read.

    ``failed`` are the accounts that failed in this process. ``recorded`` are those in the commit
    log: an earlier process may have completed the run without them. ``max_absent`` is how many
    accounts may be absent, if that is why the run is not complete.
    """
    if outcome is Outcome.CANCELLED:
        return Cancelled(summary)
    if failed:
        return _error_of_failed(summary, failed, max_absent)
    if recorded:
        by_name = {str(account): one for account, one in recorded.items()}
        return AccountsFailed(summary, by_name, max_absent=max_absent)
    return None


def _error_of_failed(
    summary: Summary, failed: Mapping[str, StreamlicError], max_absent: int | str | None
) -> StreamlicError:
    """Return the account's own error where the run has one account.

    Its exit code is 1 where a retry can help, even for a body that could not be decoded.
    """
    if len(summary.accounts) == 1:
        [error] = failed.values()
        if is_transient(error):
            error.exit_code = RETRY_CAN_HELP
        return error
    return AccountsFailed(summary, failed, max_absent=max_absent)
