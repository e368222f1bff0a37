"""Progress says what requests wait for: our own count, the server's word, or an error."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import streamlic
from streamlic.dataset.records import ResumePoint
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from streamlic.errors import ApiError, RateLimited, StreamlicError, TransportError
from streamlic.job.export import export_async
from streamlic.job.scheduler import Bounds, Scheduler, scheduled
from streamlic.terminal.wait_text import wait_text
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.rate_limit import RateLimit, RateLimiter, parse_rate_limit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import retry_cause
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN

LIMIT = RateLimit(2, 10)


def test_our_own_count_is_reported_with_its_rate() -> None:
    rate_limiter = RateLimiter(LIMIT)
    for _ in range(2):
        rate_limiter.acquire("a", 100.0)
    assert rate_limiter.account_delay("a", 100.0) > 0
    assert rate_limiter.account_cause("a") == WaitCause(
        WaitReason.ACCOUNT_LIMIT, "2 requests in 10 s"
    )


def test_the_tokens_count_is_the_tokens() -> None:
    rate_limiter = RateLimiter()
    for number in range(500):
        rate_limiter.acquire(str(number), 100.0)
    assert rate_limiter.token_cause() == WaitCause(WaitReason.TOKEN_LIMIT, "500 requests in 10 s")


def test_the_longer_of_two_waits_is_reported() -> None:
    rate_limiter = RateLimiter(LIMIT)
    for _ in range(2):
        rate_limiter.acquire("a", 100.0)
    rate_limiter.penalize("a", 3.0, 100.0, is_accounts=False)
    assert rate_limiter.account_cause("a").reason is WaitReason.ACCOUNT_LIMIT
    assert rate_limiter.token_cause().reason is WaitReason.SERVER_LIMIT
    rate_limiter.penalize("a", 30.0, 100.0, is_accounts=True)
    assert rate_limiter.account_cause("a").reason is WaitReason.SERVER_LIMIT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransportError("cut"), WaitReason.BACKOFF),
        (ApiError("HTTP 503", status=503, retryable=True), WaitReason.BACKOFF),
        (RateLimited("HTTP 429", status=429, retry_after_seconds=5.0), WaitReason.RETRY_AFTER),
    ],
)
def test_a_wait_after_an_error_is_reported_with_it(
    error: StreamlicError, reason: WaitReason
) -> None:
    assert retry_cause(error) == WaitCause(reason, str(error))


@pytest.mark.parametrize("reason", WaitReason)
def test_each_reason_has_words(reason: WaitReason) -> None:
    wait = WaitStatus(WaitCause(reason, "the detail"), until=107.5, accounts=1, account="a")
    assert wait_text(wait, 100.0, accounts=1).startswith("waiting 8 s: ")
    assert wait_text(wait, 100.0, accounts=5).startswith("waiting 8 s, 1 account: ")
    many = WaitStatus(wait.cause, until=107.5, accounts=3)
    assert wait_text(many, 100.0, accounts=5).startswith("waiting 8 s, 3 accounts: ")


async def waits_of_an_export(
    dest: Path, config: EmulatorConfig, *accounts: str, rate: str = "none", fault: str | None = None
) -> list[WaitStatus]:
    """Export, and return the waits that were reported while no page was under way."""
    seen: list[WaitStatus] = []

    def watch(progress: streamlic.Progress) -> None:
        if progress.pages_under_way == 0:
            seen.extend(progress.waits)

    faults = (parse_fault(fault),) if fault else ()
    async with running_emulator(config, faults=faults) as emulator:
        connection = Connection(
            ConnectionSettings(
                token=TokenSource.from_value(TOKEN),
                base_url=emulator.url,
                rate_limit=parse_rate_limit(rate),
            )
        )
        requests = [LicensesRequest(account=account) for account in accounts]
        await export_async(str(dest), requests, connection, on_progress=watch)
    return seen


async def test_an_export_that_waits_for_its_rate_limit_tells_it(tmp_path: Path) -> None:
    config = EmulatorConfig(records=4, page_size=1)
    waits = await waits_of_an_export(tmp_path, config, ACCOUNT, rate="2/0.5s")
    assert {wait.cause.reason for wait in waits} == {WaitReason.ACCOUNT_LIMIT}
    assert {(wait.accounts, wait.account) for wait in waits} == {(1, ACCOUNT)}
    assert waits[0].cause.detail == "2 requests in 0.5 s"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("429=1@1", WaitReason.RETRY_AFTER), ("status=503@1", WaitReason.BACKOFF)],
)
async def test_an_export_tells_what_a_failed_request_waits_for(
    tmp_path: Path, fault: str, reason: WaitReason
) -> None:
    config = EmulatorConfig(records=2)
    waits = await waits_of_an_export(tmp_path, config, ACCOUNT, fault=fault)
    assert reason in {wait.cause.reason for wait in waits}
    assert all(ACCOUNT in wait.cause.detail for wait in waits if wait.cause.reason is reason)


def test_of_many_waits_each_reason_is_reported_with_its_first() -> None:
    connection = Connection(ConnectionSettings(token=TokenSource.from_value(TOKEN)))

    async def nobody(*_: object) -> None:
        raise AssertionError("nothing is asked for here")

    scheduler = Scheduler(connection, nobody, Bounds(4, 4), lambda _: None)
    accounts = [f"{number:08}-0000-0000-0000-000000000000" for number in range(3_000)]
    requests = ((LicensesRequest(account=account), ResumePoint()) for account in accounts)
    limit = WaitCause(WaitReason.ACCOUNT_LIMIT, "50 requests in 10 s")
    due = time.monotonic() + 1_000
    for number, one in enumerate(scheduled(requests, connection.policy)):
        error = WaitCause(WaitReason.BACKOFF, f"error {number}")
        scheduler._defer(one, due + number, limit if number % 3 else error)
    first, second = scheduler.waits()
    assert first == WaitStatus(WaitCause(WaitReason.BACKOFF, "error 0"), due, 1_000, accounts[0])
    assert second == WaitStatus(limit, due + 1, 2_000, accounts[1])


async def test_accounts_that_wait_for_one_reason_are_counted_together(tmp_path: Path) -> None:
    config = EmulatorConfig(records=3, page_size=1)
    waits = await waits_of_an_export(tmp_path, config, ACCOUNT, OTHER_ACCOUNT, rate="2/1.5s")
    assert 2 in {wait.accounts for wait in waits}
