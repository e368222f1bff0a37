"""When to ask, and what a failure is worth."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlic.errors import (
    ApiError,
    DecodeError,
    LimitExceeded,
    PageMismatch,
    StoreError,
    StreamlicError,
    TransportError,
    TruncatedBody,
    UsageError,
)
from streamlic.pacing import (
    ACCOUNT_RATE_LIMIT,
    TOKEN_RATE_LIMIT,
    Pacing,
    RateLimit,
    RetryPolicy,
    SlidingWindow,
    parse_rate_limit,
    retry_after_seconds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_rate_limits_are_read() -> None:
    assert parse_rate_limit("50/10s") == ACCOUNT_RATE_LIMIT == RateLimit(50, 10)
    assert parse_rate_limit("5/0.5s") == RateLimit(5, 0.5)
    assert parse_rate_limit("none") is None


@pytest.mark.parametrize("text", ["", "50", "50/10", "0/10s", "5/0s", "-1/10s", "x/ys"])
def test_other_rate_limits_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--rate-limit"):
        parse_rate_limit(text)


@given(st.lists(st.floats(0, 3), max_size=80), st.integers(1, 6))
def test_no_window_holds_more_requests_than_allowed(pauses: list[float], requests: int) -> None:
    """Whatever the caller's rhythm, if it waits as told."""
    window = SlidingWindow(RateLimit(requests, 10))
    now = 0.0
    sent: list[float] = []
    for pause in pauses:
        now += pause
        now += window.delay(now)
        window.record(now)
        sent.append(now)
    for start in sent:
        assert sum(start <= one < start + 10 for one in sent) <= requests


def test_a_burst_up_to_the_limit_needs_no_waiting() -> None:
    pacing = Pacing()
    for _ in range(50):
        assert pacing.delay("a", 100.0) == 0
        pacing.record("a", 100.0)
    assert pacing.delay("a", 100.0) == pytest.approx(10, abs=0.2)
    assert pacing.delay("b", 100.0) == 0


def test_the_token_has_a_limit_over_all_accounts() -> None:
    pacing = Pacing()
    for number in range(TOKEN_RATE_LIMIT.requests):
        pacing.record(f"account {number}", 100.0)
    assert pacing.delay("another", 105.0) == pytest.approx(5, abs=0.2)


def test_without_pacing_only_the_server_is_respected() -> None:
    pacing = Pacing(None)
    for _ in range(1000):
        pacing.record("a", 1.0)
    assert pacing.delay("a", 1.0) == 0
    pacing.observe("a", {"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 1.0)
    assert pacing.delay("a", 1.0) == 7
    pacing.observe("b", {"ratelimit-remaining": "3", "ratelimit-reset": "7"}, 1.0)
    assert pacing.delay("b", 1.0) == 0


@pytest.mark.parametrize(
    ("headers", "is_rate_limit", "seconds"),
    [
        ({}, True, None),
        ({"retry-after": "10"}, True, 10),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, False, 30),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, False, 0),
        ({"retry-after": "soon"}, True, None),
        ({"retry-after": "99999"}, True, 300),
        ({"retry-after": "5", "ratelimit-reset": "8"}, True, 8),
        ({"retry-after": "5", "ratelimit-reset": "8"}, False, 5),
        ({"ratelimit-reset": "8"}, True, 8),
    ],
)
def test_retry_after_is_read(
    headers: dict[str, str], is_rate_limit: bool, seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW, is_rate_limit=is_rate_limit) == seconds


def api(status: int, *, retryable: bool, after: float | None = None) -> ApiError:
    return ApiError("x", status=status, retryable=retryable, retry_after_seconds=after)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (TransportError("x"), 6),
        (TransportError("x", retryable=False), 1),
        (TruncatedBody("x", position=1), 6),
        (api(502, retryable=True), 6),
        (api(404, retryable=False), 1),
        (DecodeError("x", position=1), 2),
        (PageMismatch("x"), 2),
        (LimitExceeded("x", position=1), 1),
        (StoreError("x"), 1),
        (UsageError("x"), 1),
    ],
)
def test_each_failure_has_its_number_of_attempts(error: StreamlicError, attempts: int) -> None:
    policy = RetryPolicy()
    waits = [policy.wait_seconds(error, attempt) for attempt in range(1, 8)]
    assert [wait is not None for wait in waits] == [n < attempts for n in range(1, 8)]


def test_waiting_grows_and_respects_the_server() -> None:
    policy = RetryPolicy(max_attempts=100)
    for attempt in range(1, 20):
        bound = min(0.5 * 2 ** (attempt - 1), 30)
        wait = policy.wait_seconds(TransportError("x"), attempt)
        assert wait is not None
        assert bound / 2 <= wait <= bound * 1.5
    named = policy.wait_seconds(api(429, retryable=True, after=12), 1)
    assert named is not None
    assert 12 <= named <= 12.5
    none = RetryPolicy(backoff_seconds=0)
    assert none.wait_seconds(TransportError("x"), 3) == 0
