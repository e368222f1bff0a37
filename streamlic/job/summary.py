"""The result of a job, and the errors that carry it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from streamlic.dataset.lake import LICENSES
from streamlic.dataset.records import Failed
from streamlic.dataset.run_state import RunState
from streamlic.errors import (
    NO_RETRY_HELPS,
    RETRY_CAN_HELP,
    Spelling,
    StreamlicError,
    described,
)
from streamlic.formatting import counted
from streamlic.truto.retry import is_transient

HOW_TO_RESUME = "committed pages are kept; the same call resumes the run"


@dataclass(frozen=True, kw_only=True)
class AccountError:
    """Why an account failed: the error's class, its message, and whether a retry can help.

    If it cannot, somebody has to act first, for instance by connecting the account again.
    ``parameter`` is the Python name of the parameter that the error is about, if there is one.
    """

    kind: str
    message: str
    retryable: bool
    parameter: str | None = None

    @classmethod
    def of(cls, error: StreamlicError | Failed) -> Self:
        """Return a description of an error."""
        failed = failure_of(error) if isinstance(error, StreamlicError) else error
        return cls(**asdict(failed))

    def described(self, spelling: Spelling | None = None) -> str:
        """Return the message, followed by its parameter in brackets, as for the error itself."""
        return described(self.message, self.parameter, spelling) if spelling else self.message


def failure_of(error: StreamlicError) -> Failed:
    """Return what the commit log keeps of an account's error."""
    return Failed(
        kind=type(error).__name__,
        message=error.described(),
        retryable=is_transient(error),
        parameter=error.parameter,
    )


@dataclass(frozen=True, kw_only=True)
class AccountSummary:
    """What is committed of one account, and why it failed, if it did."""

    account: str | None
    rows: int
    rescued: int
    pages: int
    partial_response: bool
    complete: bool
    error: AccountError | None = None


@dataclass(frozen=True, kw_only=True)
class SkippedAccount:
    """An account that was listed, but could not be read when the run started. Not requested."""

    account: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FailedAccount:
    """An account that failed; ``reason`` is the error's message.

    ``parameter`` is the Python name of the parameter that the error is about, if there is one.
    """

    account: str | None
    reason: str
    kind: str
    retryable: bool
    parameter: str | None = None


@dataclass(frozen=True, kw_only=True)
class CarriedOverAccount:
    """An account whose rows were carried over from the runs that this run replaced."""

    account: str | None
    reason: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class DroppedAccount:
    """An account that no longer exists, and the rows of it that the lake had."""

    account: str | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class DiscardedRun:
    """An unfinished run that this one discarded, with its committed rows."""

    run: str
    run_key: str | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class ShardSummary:
    """One shard of a run that several processes read, and the numbers of those that have ended."""

    number: int
    of: int
    ended: list[int]

    @property
    def has_ended(self) -> bool:
        """Whether this shard has."""
        return self.number in self.ended


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a job. Rows, rescues, pages and parts are counted over the whole run.

    ``rows`` includes rows that were carried over. ``rescued`` and ``pages`` are of ``accounts``.
    ``bytes_received``, ``bytes_written``, ``seconds`` and ``retries`` are of this process only.
    ``format`` is how readers see the tables, and ``catalog`` the Iceberg catalog that has them.
    ``repeated``: an earlier process completed the run, and this one asked for its key again.
    ``expired``: the licenses of such a run were let go since, and its accounts are not known here.
    """

    run: str
    run_key: str | None
    complete: bool
    resumed: bool
    repeated: bool
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
    skipped: list[SkippedAccount] = field(default_factory=list)
    failed: list[FailedAccount] = field(default_factory=list)
    """The accounts that failed in this process, or in the one that completed the run."""
    carried_over: list[CarriedOverAccount] = field(default_factory=list)
    dropped: list[DroppedAccount] = field(default_factory=list)
    discarded: list[DiscardedRun] = field(default_factory=list)
    expired: bool = False
    format: str = "parquet"
    catalog: str | None = None
    shard: ShardSummary | None = None
    """The shard that this process read; the counts are its own until the run is complete."""

    @classmethod
    def of(cls, run: RunState, failed: Mapping[str, StreamlicError], **this_process: Any) -> Self:
        """Sum up what is committed of a run, and which accounts failed.

        ``failed`` are the accounts that failed in this process. The commit log has those that the
        run was completed without.
        """
        accounts = cls.accounts_of(run, failed)
        return cls(
            run=run.id,
            run_key=run.key,
            format=run.format.name,
            catalog=run.format.catalog,
            complete=run.is_complete,
            resumed=run.is_resumed,
            repeated=run.is_repeated,
            expired=run.is_expired,
            rows=run.rows,
            rescued=sum(one.rescued for one in accounts),
            pages=sum(one.pages for one in accounts),
            parts=run.totals(LICENSES).files,
            partial_response=any(one.partial_response for one in accounts),
            accounts=accounts,
            skipped=[
                SkippedAccount(account=account, reason=reason)
                for account, reason in sorted(run.skipped.items())
            ],
            failed=[
                FailedAccount(
                    account=one.account,
                    reason=one.error.message,
                    kind=one.error.kind,
                    retryable=one.error.retryable,
                    parameter=one.error.parameter,
                )
                for one in accounts
                if one.error
            ],
            carried_over=[
                CarriedOverAccount(account=account, reason=one.reason, rows=one.rows)
                for account, one in sorted(run.carried_over.items(), key=lambda item: item[0] or "")
            ],
            dropped=[
                DroppedAccount(account=account, rows=rows)
                for account, rows in sorted(run.dropped.items(), key=lambda item: item[0] or "")
            ],
            discarded=[
                DiscardedRun(run=one.id, run_key=one.key, rows=one.rows) for one in run.discarded
            ],
            **this_process,
        )

    @staticmethod
    def accounts_of(run: RunState, failed: Mapping[str, StreamlicError]) -> list[AccountSummary]:
        """Sum up each account of a run; ``failed`` are those that failed in this process."""
        return [
            AccountSummary(
                account=account,
                rows=point.rows,
                rescued=point.rescued,
                pages=point.pages,
                partial_response=point.is_partial,
                complete=point.is_done,
                error=AccountError.of(error) if error else None,
            )
            for account, point, error in (
                (one, run.point(one), failed.get(one or "", run.failed.get(one)))
                for one in run.accounts
            )
        ]


class Cancelled(StreamlicError):
    """The job was cancelled. Whole pages are committed; ``summary`` counts them.

    The same call resumes the run.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        done = sum(one.complete for one in summary.accounts)
        super().__init__(
            f"cancelled after {counted(summary.rows, 'row')} of {counted(summary.pages, 'page')}, "
            f"with {done:,} of {counted(len(summary.accounts), 'account')} done; {HOW_TO_RESUME}"
        )


class AccountsFailed(StreamlicError):
    """Some of several accounts failed; the others are committed. ``summary`` lists them.

    ``exit_code`` is 1 if a retry can help any of them, else 6 if other accounts are done. If none
    is done it is the exit code of their errors, or 6 if these differ. ``max_absent`` is how many
    accounts may be absent, if that is why the run is not complete.
    """

    def __init__(
        self,
        summary: Summary,
        errors: Mapping[str, StreamlicError | Failed],
        *,
        max_absent: int | str | None = None,
    ) -> None:
        self.summary = summary
        self.exit_code = _exit_code(summary, errors.values())
        hopeless = sum(not _is_transient(error) for error in errors.values())
        parameter = None
        left = "run it again to retry them"
        if hopeless == len(errors):
            left = "a retry cannot help until the cause is gone"
        elif hopeless:
            left = f"run it again to retry the other {len(errors) - hopeless:,}"
        if summary.complete:
            left = "the run is complete without them"
            if kept := sum(one.account in errors for one in summary.carried_over):
                left += f", and {counted(kept, 'account')} kept the rows of earlier runs"
        elif max_absent is not None:
            absent = len(errors) + len(summary.skipped)
            left = f"{absent:,} are absent, more than {max_absent}, so nothing is published: {left}"
            parameter = "max_absent"
        elif summary.shard and summary.shard.has_ended:
            left = f"the shard has ended without them; until the run is complete: {left}"
        elif hopeless == len(errors) < len(summary.accounts):
            left = "a retry cannot help: skip them to complete the run without them"
            parameter = "skip_failed"
        super().__init__(
            f"{len(errors):,} of {counted(len(summary.accounts), 'account')} failed, "
            f"{hopeless:,} permanently",
            parameter=parameter,
        )
        self._first = AccountError.of(next(iter(errors.values())))
        self._left = left

    def described(self, spelling: Spelling | None = None) -> str:
        """Return the message with the first account's error, and what to do about the rest."""
        first = self._first
        message = f"{self.args[0]}, such as: {first.described(spelling)}; {self._left}"
        return described(message, self.parameter, spelling) if spelling else message


def _is_transient(error: StreamlicError | Failed) -> bool:
    return error.retryable if isinstance(error, Failed) else is_transient(error)


def _exit_code(summary: Summary, errors: Collection[StreamlicError | Failed]) -> int:
    if summary.complete and summary.run_key:  # The same command would report this run again.
        return NO_RETRY_HELPS
    if any(map(_is_transient, errors)):
        return RETRY_CAN_HELP
    codes = {NO_RETRY_HELPS if isinstance(error, Failed) else error.exit_code for error in errors}
    is_any_done = any(one.complete for one in summary.accounts)
    return codes.pop() if len(codes) == 1 and not is_any_done else NO_RETRY_HELPS
