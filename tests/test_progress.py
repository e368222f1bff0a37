"""What a person sees while a job runs, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from streamlic import progress as module
from streamlic.client import Retry
from streamlic.errors import TransportError
from streamlic.progress import ProgressLines
from streamlic.summary import Progress, UnderWay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINE_SECONDS", 0)
    monkeypatch.setattr(module, "_LOG_SECONDS", 0)


def of_many() -> Progress:
    slow = [UnderWay("account-x", 45, 61.4), UnderWay("account-y", 2, 3.0)]
    return Progress(
        accounts=10_000,
        accounts_done=1234,
        accounts_failed=3,
        rows=24_680,
        pages=1300,
        slowest=lambda: slow,
    )


def test_many_accounts_have_plain_lines_in_a_log() -> None:
    stream = io.StringIO()
    lines = ProgressLines(stream=stream)
    lines(of_many())
    lines(of_many())
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("1,234 of 10,000 accounts done, 3 failed, ") == 2
    assert "account-x 45 pages in 61 s; account-y 2 pages in 3 s" in text


def test_on_a_terminal_they_are_written_over() -> None:
    stream = Terminal()
    lines = ProgressLines(stream=stream)
    for _ in range(3):
        lines(of_many())
    assert stream.getvalue().count("\x1b[2F\x1b[J") == 2


def test_retries_of_many_accounts_are_told_only_when_asked_for() -> None:
    retry = Retry(TransportError("cut"), 2, 0.5, "account-x")
    for is_verbose in (False, True):
        stream = io.StringIO()
        state = of_many()
        state.retry = retry
        ProgressLines(stream=stream, is_verbose=is_verbose)(state)
        assert ("attempt 2 of account account-x failed: cut" in stream.getvalue()) == is_verbose
        assert state.retry is None


def test_one_account_has_one_line_and_its_retries() -> None:
    stream = Terminal()
    lines = ProgressLines(stream=stream)
    state = Progress(account="account-x", rows=5, retry=Retry(TransportError("cut"), 1, 0.5))
    lines(state)
    lines(state)
    told = stream.getvalue().splitlines()
    assert told[:2] == ["attempt 1 failed: cut", "trying again in 0.5 s"]
    assert len(told) == 4
    assert told[2].startswith("5 rows, 0 pages, ")
    assert told[2].endswith(", account account-x")
