"""Where a job stands, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streamlic.amounts import counted
from streamlic.client import Retry
from streamlic.commits import Run
from streamlic.errors import StreamlicError
from streamlic.pacing import may_pass
from streamlic.waits import Wait


@dataclass(frozen=True, kw_only=True)
class AccountError:
    """Why an account failed: the error's name, what it says, and whether a retry can help.

    Where it cannot, somebody has to do something first: connect the account again, for one.
    """

    kind: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: StreamlicError | None) -> Self | None:
        """Return what there is to tell of an error, if there is one."""
        if error is None:
            return None
        return cls(kind=type(error).__name__, message=str(error), retryable=may_pass(error))


@dataclass(frozen=True, kw_only=True)
class AccountSummary:
    """What is committed of one account, and why it failed if it did."""

    account: str | None
    rows: int
    rescued: int
    pages: int
    partial_response: bool
    complete: bool
    error: AccountError | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a job came to. Counts of rows, rescues, pages and parts are the whole run's.

    ``bytes_received``, ``bytes_written``, ``seconds`` and ``retries`` are this process's own.
    """

    run: str
    complete: bool
    resumed: bool
    rows: int
    rescued: int
    pages: int
    parts: int
    bytes_received: int
    bytes_written: int
    seconds: float
    engine: str
    partial_response: bool
    retries: int
    accounts: list[AccountSummary]
    failed: int = 0
    """How many of the accounts failed in this process."""

    @classmethod
    def of(cls, run: Run, failed: Mapping[str, StreamlicError], **this_process: Any) -> Self:
        """Sum up what is committed of a run, and which accounts failed in this process."""
        accounts = [
            AccountSummary(
                account=account,
                rows=point.rows,
                rescued=point.rescued,
                pages=point.pages,
                partial_response=point.is_partial,
                complete=point.is_done,
                error=AccountError.of(failed.get(account or "")),
            )
            for account, point in ((one, run.point(one)) for one in run.accounts)
        ]
        return cls(
            run=run.id,
            complete=run.is_complete,
            resumed=run.is_resumed,
            rows=run.rows,
            rescued=sum(one.rescued for one in accounts),
            pages=sum(one.pages for one in accounts),
            parts=len(run.files),
            partial_response=any(one.partial_response for one in accounts),
            accounts=accounts,
            failed=len(failed),
            **this_process,
        )


class AccountsFailed(StreamlicError):
    """Some of many accounts failed, and the others are committed: ``summary`` tells which.

    ``exit_code`` is that of their errors where all have the same.
    """

    def __init__(self, summary: Summary, errors: Mapping[str, StreamlicError]) -> None:
        self.summary = summary
        self.exit_code = _shared_exit_code(errors.values())
        [first, *_] = errors.values()
        hopeless = sum(not may_pass(error) for error in errors.values())
        left = "run the same command again to go on with them"
        if summary.complete:
            left = "the run was ended without them"
        elif hopeless == len(errors) < len(summary.accounts):
            left += ", or add --without-failed to end the run without them"
        super().__init__(
            f"{len(errors):,} of {counted(len(summary.accounts), 'account')} failed, "
            f"{hopeless:,} of them where no retry can help, such as: {first}; {left}"
        )


def _shared_exit_code(errors: Iterable[StreamlicError]) -> int:
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else 1


@dataclass(slots=True)
class UnderWay:
    """An account that has begun and not ended."""

    account: str
    pages: int
    seconds: float


@dataclass
class Progress:
    """Where a job stands, for who watches it."""

    run: str = ""
    """The run's id."""
    account: str | None = None
    """The one whose page came last."""
    accounts: int = 1
    accounts_done: int = 0
    accounts_failed: int = 0
    slowest: Callable[[], list[UnderWay]] = list
    """Tells the accounts that are under way longest."""
    waits: Callable[[], list[Wait]] = list
    """Tells what requests wait for, one for each reason."""
    pages_under_way: int = 0
    """Pages that were asked for, or are read, and have not ended."""
    rows: int = 0
    pages: int = 0
    bytes_received: int = 0
    bytes_in_all: int | None = None
    """Of a body at hand whose size is known."""
    parts: int = 0
    rescued: int = 0
    retries: int = 0
    retry: Retry | None = None
    resumed_rows: int = 0
    started: float = field(default_factory=time.monotonic)


OnProgress = Callable[[Progress], None]
