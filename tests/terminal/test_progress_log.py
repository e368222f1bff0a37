"""What a log shows of a job while it runs, as text and as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from streamlic.errors import TransportError
from streamlic.job.progress import ActiveAccount, Progress
from streamlic.terminal import progress_log as module
from streamlic.terminal.log import Log
from streamlic.terminal.progress_log import ProgressLines
from streamlic.truto.retry import Retry
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus

NOW = 1_000_000.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: NOW))


def of_many() -> Progress:
    slow = (ActiveAccount("account-x", 45, 61.4), ActiveAccount("account-y", 1, 3.0))
    return Progress(
        accounts=10_000,
        accounts_done=1234,
        accounts_failed=3,
        rows=24_680,
        pages=1300,
        slowest=slow,
        pages_under_way=7,
    )


def waiting(seconds: float, accounts: int = 1) -> Progress:
    limit = WaitCause(WaitReason.ACCOUNT_LIMIT, "50 requests in 10 s")
    wait = WaitStatus(limit, NOW + seconds, accounts, "account-x")
    return Progress(accounts=accounts, waits=(wait,))


def text_of(*states: Progress, is_verbose: bool = False) -> str:
    stream = io.StringIO()
    lines = ProgressLines(Log(stream), is_verbose=is_verbose)
    for state in states:
        lines(state)
    return stream.getvalue()


def events_of(*states: Progress) -> list[dict[str, Any]]:
    stream = io.StringIO()
    lines = ProgressLines(Log(stream, is_json=True))
    for state in states:
        lines(state)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_many_accounts_have_plain_lines() -> None:
    text = text_of(of_many(), of_many())
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("1,234 of 10,000 accounts done, 3 failed, ") == 2
    assert "account-x 45 pages in 1 m 01 s; account-y 1 page in 3 s" in text


def test_rows_that_are_carried_over_are_counted() -> None:
    state = Progress(accounts=1, rows=5, carried_rows=1_234)
    assert "1,234 rows carried over" in text_of(state, state)
    assert events_of(state, state)[-1]["carried_rows"] == 1_234
    assert "carried over" not in text_of(of_many(), of_many())


def test_lines_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 1000)
    assert text_of(*[of_many()] * 5) == ""


@pytest.mark.parametrize("is_verbose", [False, True])
def test_retries_of_many_accounts_are_written_only_with_verbose(is_verbose: bool) -> None:
    retry = Retry(TransportError("cut"), 2, 0.5, "account-x")
    text = text_of(replace(of_many(), events=(retry,)), is_verbose=is_verbose)
    assert ("attempt 2 of account account-x failed: cut" in text) == is_verbose


def test_one_account_has_one_line_and_its_retries() -> None:
    state = Progress(account="account-x", rows=5)
    failing = replace(state, events=(Retry(TransportError("cut"), 1, 0.5),))
    written = text_of(failing, state).splitlines()
    assert written[:2] == ["attempt 1 failed: cut", "trying again in 0.5 s"]
    assert len(written) == 4
    assert written[2].startswith("5 rows, 0 pages, ")
    assert written[2].endswith("; account account-x")


def test_a_run_that_waits_says_so_once_and_in_each_line() -> None:
    state = waiting(60)
    says = "waiting 1 m 00 s: the account's rate limit, 50 requests in 10 s"
    written = text_of(state, state).splitlines()
    assert written.count(says) == 1, "the wait is the same one"
    assert written[0] == says
    assert all(says in line for line in written)


def test_a_wait_of_some_accounts_does_not_stop_the_run() -> None:
    state = replace(waiting(60, accounts=2), pages_under_way=1)
    written = text_of(state).splitlines()
    assert len(written) == 2
    assert "; waiting 1 m 00 s, 2 accounts: the account's rate limit" in written[0]


def test_a_short_wait_has_no_line_of_its_own() -> None:
    assert [event["event"] for event in events_of(waiting(0.5))] == ["start", "progress"]


def test_events_are_one_object_a_line() -> None:
    retried = Retry(TransportError("cut\nin two"), 2, 0.5, "account-x")
    start, retry, progress = events_of(replace(of_many(), events=(retried,)))
    assert (start["event"], start["accounts"]) == ("start", 10_000)
    assert retry["event"] == "retry"
    assert (retry["kind"], retry["message"]) == ("TransportError", "cut\nin two")
    assert (retry["attempt"], retry["wait_seconds"], retry["account"]) == (2, 0.5, "account-x")
    assert progress["event"] == "progress"
    assert (progress["rows"], progress["accounts_failed"]) == (24_680, 3)
    assert [one["account"] for one in progress["slowest"]] == ["account-x", "account-y"]


def test_a_wait_is_an_event() -> None:
    _, wait, progress = events_of(waiting(60))
    assert (wait["event"], wait["reason"]) == ("wait", "account_rate_limit")
    assert wait["seconds"] == 60
    assert progress["waits"][0]["reason"] == "account_rate_limit"
