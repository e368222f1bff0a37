"""Which code a failed export ends with: 1 says that a retry can help, 6 that none does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import streamlic
from streamlic.dataset.inspect import inspect_dataset
from streamlic.emulator import EmulatorConfig
from streamlic.errors import StreamlicError
from streamlic.job.summary import AccountsFailed, AccountSummary, Summary
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from tests.job.test_many_accounts import exported, faulty, ids, refused

DELETED = {"statusCode": 404, "error": "Not Found", "message": "not found"}
FOR_A_TIME = streamlic.ApiError("a", status=502, retryable=True)
FOR_GOOD = streamlic.ApiError("a", status=404)
BLOCKED = streamlic.AccountBlocked("a", status=503)
REAUTH = streamlic.AccountNeedsReauth("a", status=401)
CUT = streamlic.TruncatedBody("a", position=1)
CONTRADICTS = streamlic.PageMismatch("a")
STRICT = streamlic.RescueError("a", position=1)


def summary_of(*complete: bool) -> Summary:
    accounts = [
        AccountSummary(account=str(number), rows=0, rescued=0, pages=0, partial_response=False,
                       complete=one)
        for number, one in enumerate(complete)
    ]  # fmt: skip
    return Summary(run="r", run_key=None, complete=False, resumed=False, repeated=False, rows=0,
                   rescued=0, pages=0, parts=0, bytes_received=0, bytes_written=0, seconds=0.0,
                   engine="fast", partial_response=False, retries=0, accounts=accounts)  # fmt: skip


@pytest.mark.parametrize(
    ("errors", "with_others", "alone"),
    [
        ([FOR_A_TIME], 1, 1),
        ([FOR_GOOD, FOR_GOOD], 6, 6),
        ([BLOCKED, REAUTH], 6, 4),
        ([FOR_GOOD, BLOCKED], 6, 6),
        ([CONTRADICTS, STRICT], 6, 5),
        ([CONTRADICTS, BLOCKED], 6, 6),
        ([FOR_GOOD, BLOCKED, FOR_A_TIME], 1, 1),
        ([STRICT, CUT], 1, 1),
        ([streamlic.TransportError("a"), FOR_GOOD], 1, 1),
    ],
)
def test_the_code_of_several_accounts_says_whether_a_retry_can_help(
    errors: list[StreamlicError], with_others: int, alone: int
) -> None:
    """With others that are done, and where all failed."""
    named = {str(number): error for number, error in enumerate(errors)}
    failed = [False] * len(errors)
    assert AccountsFailed(summary_of(*failed, True), named).exit_code == with_others
    assert AccountsFailed(summary_of(*failed), named).exit_code == alone


@pytest.mark.parametrize(
    ("error", "code"),
    [(FOR_A_TIME, 1), (FOR_GOOD, 6), (BLOCKED, 4), (REAUTH, 4), (STRICT, 5), (CONTRADICTS, 5),
     (streamlic.AuthenticationError("a", status=401), 4),
     (streamlic.RateLimited("a", status=429, retryable=True), 1)],
)  # fmt: skip
def test_an_error_of_its_own_has_the_code_of_what_helps(error: StreamlicError, code: int) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
@pytest.mark.parametrize("skip_failed", [False, True])
async def test_a_deleted_customer_ends_every_mode_with_6(
    tmp_path: Path, mode: str, *, skip_failed: bool
) -> None:
    accounts = sorted(ids(3))

    def fault(_: web.Request, account: str) -> web.Response | None:
        return refused(404, **DELETED) if account == accounts[1] else None

    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        for _ in range(2 if mode == "overwrite" else 1):
            with pytest.raises(AccountsFailed) as failed:
                await exported(tmp_path, emulator.url, accounts, mode=mode, skip_failed=skip_failed)
            assert failed.value.exit_code == 6
            assert failed.value.summary.complete is skip_failed


@pytest.mark.parametrize(
    ("status", "mode", "code"),
    [(404, "error", 6), (404, "append", 6), (404, "overwrite", 6), (502, "append", 1)],
)
async def test_a_run_that_was_killed_after_its_last_record_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, mode: str, code: int
) -> None:
    """The same command again asks for nothing, and names the accounts that failed."""
    accounts = sorted(ids(3))
    asked = []

    def fault(_: web.Request, account: str) -> web.Response | None:
        asked.append(account)
        return refused(status) if account == accounts[1] else None

    given: dict[str, Any] = {"mode": mode, "skip_failed": True}
    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        with monkeypatch.context() as patch:
            patch.setattr(LakeWriter, "_show", lambda *_: None)
            with pytest.raises(AccountsFailed) as killed:
                await exported(tmp_path, emulator.url, accounts, **given)
        before = len(asked)
        with pytest.raises(AccountsFailed) as failed:
            await exported(tmp_path, emulator.url, accounts, **given)
    assert len(asked) == before
    assert failed.value.exit_code == killed.value.exit_code == code
    assert str(failed.value) == str(killed.value)
    summary = failed.value.summary
    assert (summary.complete, summary.resumed, summary.rows) == (True, True, 10)
    assert summary.failed == killed.value.summary.failed
    assert [one.account for one in summary.failed] == [accounts[1]]
    [run] = inspect_dataset(LocalStore(tmp_path)).runs
    [recorded] = run["failed"]
    assert (recorded["account"], recorded["retryable"]) == (accounts[1], code == 1)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, json.dumps(DELETED).encode(), 6),
        (502, b"", 1),
        (200, b'{"result":[{"id":"a"}', 1),
        (200, b'{"result":[}', 5),
    ],
)
async def test_a_single_account_ends_with_1_only_where_a_retry_can_help(
    tmp_path: Path, status: int, body: bytes, code: int
) -> None:
    """A truncated body may be complete the next time; invalid JSON is bad data."""

    def fault(*_: object) -> web.Response:
        return web.Response(status=status, body=body, content_type="application/json")

    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        with pytest.raises(StreamlicError) as failed:
            await exported(tmp_path, emulator.url, ids(1))
    assert failed.value.exit_code == code


@pytest.mark.parametrize(
    ("errors", "done", "says"),
    [
        ([FOR_GOOD], True, "a retry cannot help: skip them to complete the run without them"),
        ([FOR_GOOD], False, "a retry cannot help until the cause is gone"),
        ([FOR_GOOD, FOR_A_TIME], True, "run it again to retry the other 1"),
        ([FOR_A_TIME], True, "run it again to retry them"),
    ],
)
def test_a_retry_is_advised_where_it_can_help(
    errors: list[StreamlicError], says: str, *, done: bool
) -> None:
    named = {str(number): error for number, error in enumerate(errors)}
    summary = summary_of(*(False for _ in errors), *([True] if done else []))
    assert AccountsFailed(summary, named).described().endswith(f"; {says}")
