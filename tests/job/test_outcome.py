"""How a run ended: which pages are kept, and which error says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamlic.dataset.records import Failed
from streamlic.errors import (
    ApiError,
    DecodeError,
    NotAListing,
    PageMismatch,
    StoreError,
    StreamlicError,
    TransportError,
    UsageError,
)
from streamlic.job.job import recorded
from streamlic.job.outcome import Outcome, error_of, may_complete, outcome_of
from streamlic.job.summary import AccountsFailed, AccountSummary, Cancelled, Summary

TRANSIENT = TransportError("cut")
PERMANENT = ApiError("gone", status=404)


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"is_complete": True}, Outcome.COMPLETE),
        ({"is_complete": True, "any_failed": True}, Outcome.COMPLETE_WITHOUT_FAILED),
        ({"any_failed": True}, Outcome.ACCOUNTS_FAILED),
        ({"is_stopped": True}, Outcome.CANCELLED),
        ({"is_stopped": True, "any_failed": True}, Outcome.CANCELLED),
        # Copying rows of replaced runs was stopped.
        ({"may_complete": True}, Outcome.CANCELLED),
        ({"may_complete": True, "any_failed": True}, Outcome.CANCELLED),
        # The writer failed after everything else was done, or before.
        ({"is_complete": True, "write_failed": True}, Outcome.IN_DOUBT),
        ({"is_stopped": True, "write_failed": True}, Outcome.IN_DOUBT),
    ],
)
def test_without_an_error_the_facts_decide(facts: dict[str, bool], outcome: Outcome) -> None:
    assert outcome_of(error=None, **facts) is outcome
    assert outcome.keeps_pages == (outcome is not Outcome.IN_DOUBT)


@pytest.mark.parametrize(
    "error",
    [
        TRANSIENT,
        PERMANENT,
        DecodeError("bad", position=0),
        PageMismatch("repeated"),
        UsageError("wrong"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_from_outside_the_writer_keeps_whole_pages(error: BaseException) -> None:
    assert outcome_of(error=error) is Outcome.INTERRUPTED
    assert Outcome.INTERRUPTED.keeps_pages
    assert outcome_of(error=error, write_failed=True) is Outcome.IN_DOUBT


@pytest.mark.parametrize(
    "error",
    [StoreError("disk full"), MemoryError(), AssertionError(), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_keeps_none_unless_the_observer_raised_it(error: BaseException) -> None:
    assert outcome_of(error=error) is Outcome.IN_DOUBT
    assert not Outcome.IN_DOUBT.keeps_pages
    assert outcome_of(error=error, is_observers_error=True) is Outcome.INTERRUPTED


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
@pytest.mark.parametrize("skip_failed", [True, False])
def test_a_run_may_be_complete_without_failed_accounts(mode: str, skip_failed: bool) -> None:
    def may(failed: dict[str, StreamlicError], done: int = 1, *, is_stopped: bool = False) -> bool:
        return may_complete(
            recorded(failed),
            accounts_done=done,
            is_stopped=is_stopped,
            skip_failed=skip_failed,
            mode=mode,
        )

    assert may({})
    assert may({}, done=0), "a run of no accounts"
    assert not may({}, is_stopped=True)
    assert may({"a": PERMANENT}) == skip_failed
    assert may({"a": TRANSIENT}) == (skip_failed and mode != "overwrite")
    assert may({"a": TRANSIENT, "b": PERMANENT}) == (skip_failed and mode != "overwrite")
    assert not may({"a": PERMANENT}, done=0), "all accounts failed"


def summary_of(*accounts: str) -> Summary:
    zeros: dict[str, Any] = dict.fromkeys(
        ("rows", "rescued", "pages", "parts", "bytes_received", "bytes_written", "retries"), 0
    )
    of_each = [
        AccountSummary(
            account=account, rows=0, rescued=0, pages=0, partial_response=False, complete=False
        )
        for account in accounts
    ]
    return Summary(
        run="r", run_key=None, complete=False, resumed=False, repeated=False, seconds=0.0,
        engine="fast", partial_response=False, accounts=of_each, **zeros,
    )  # fmt: skip


def test_each_outcome_has_its_error() -> None:
    one, two = summary_of("a"), summary_of("a", "b")
    assert error_of(Outcome.COMPLETE, two, {}, {}) is None
    cancelled = error_of(Outcome.CANCELLED, two, {"a": TRANSIENT}, {})
    assert isinstance(cancelled, Cancelled)
    assert cancelled.summary is two
    assert error_of(Outcome.ACCOUNTS_FAILED, one, {"a": PERMANENT}, {}) is PERMANENT
    failed = error_of(Outcome.ACCOUNTS_FAILED, two, {"a": PERMANENT}, {})
    assert isinstance(failed, AccountsFailed)
    assert failed.parameter == "skip_failed", "no retry can help, and another account is read"
    recorded: dict[str | None, Failed] = {
        "a": Failed(kind="ApiError", message="gone", retryable=False)
    }
    earlier = error_of(Outcome.COMPLETE_WITHOUT_FAILED, two, {}, recorded)
    assert isinstance(earlier, AccountsFailed), "an earlier process died before it said so"


def test_bad_data_of_the_only_account_exits_with_1_where_a_retry_can_help() -> None:
    error = NotAListing("HTML", position=0)
    assert error.exit_code == 5
    assert error_of(Outcome.ACCOUNTS_FAILED, summary_of("a"), {"a": error}, {}) is error
    assert error.exit_code == 1
