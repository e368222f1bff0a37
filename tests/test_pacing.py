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
    ProgressWatch,
    RateLimit,
    RetryPolicy,
    SlidingWindow,
    Turn,
    parse_rate_limit,
    retry_after_seconds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_rate_limits_are_read() -> None:
    assert parse_rate_limit("50/10s") == ACCOUNT_RATE_LIMIT == RateLimit(50, 10)
    assert parse_rate_limit("5/0.5s") == RateLimit(5, 0.5)
    assert parse_rate_limit("none") is None


@pytest.mark.parametrize(
    "text", ["", "50", "50/10", "0/10s", "5/0s", "-1/10s", "x/ys", "9" * 30 + "/1s", "\u0665/1s"]
)
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
        window.count(now)
        sent.append(now)
    for start in sent:
        assert sum(start <= one < start + 10 for one in sent) <= requests


def asked(pacing: Pacing, account: str, at: float, seconds: float = 0.0) -> Turn:
    """Ask, and have the answer after so many seconds."""
    turn = pacing.take_turn(account, at)
    pacing.sent(turn, at)
    pacing.answered(turn, at + seconds)
    return turn


def test_a_burst_up_to_the_limit_needs_no_waiting() -> None:
    pacing = Pacing()
    for _ in range(50):
        assert pacing.delay("a", 100.0) == 0
        asked(pacing, "a", 100.0)
    assert pacing.delay("a", 100.0) == pytest.approx(10, abs=0.1)
    assert pacing.delay("b", 100.0) == 0
    assert pacing.account_delay("a", 100.0) > pacing.token_delay(100.0) == 0


def test_the_token_has_a_limit_over_all_accounts() -> None:
    pacing = Pacing()
    for number in range(TOKEN_RATE_LIMIT.requests):
        asked(pacing, f"account {number}", 100.0)
    assert pacing.delay("another", 105.0) == pytest.approx(5, abs=0.1)


def test_a_request_counts_from_its_answer_and_if_that_is_slow_from_soon_after_it_went() -> None:
    """The server counted it in between, sooner or later; requests do not travel equally fast."""
    pacing = Pacing()
    under_way = [pacing.take_turn("a", 100.0) for _ in range(50)]
    assert pacing.delay("a", 100.0) == pytest.approx(10.5, abs=0.1)
    pacing.answered(under_way[0], 100.2)
    assert pacing.delay("a", 101.0) == pytest.approx(9.2, abs=0.1)
    pacing.answered(under_way[1], 130.0)
    assert pacing.delay("a", 101.0) == pytest.approx(9.2, abs=0.1)


def test_a_request_that_waited_for_its_connection_counts_later() -> None:
    pacing = Pacing()
    turns = [pacing.take_turn("a", 100.0) for _ in range(50)]
    for turn in turns:
        pacing.sent(turn, 103.0)
    assert pacing.delay("a", 104.0) == pytest.approx(9.5, abs=0.1)
    assert pacing._token.delay(104.0) == 0
    assert min(pacing._token._counted) == 103.5, "the token's tier is told as well"
    pacing.sent(turns[0], 109.0)  # The session sent it once more, on a new connection.
    asked(pacing, "a", 113.6)
    assert pacing.delay("a", 113.6) == 0, "only two of them are younger than the window"


def test_what_was_sent_once_more_is_counted_once_more() -> None:
    window = SlidingWindow(RateLimit(2, 10))
    window.count(100.0)
    window.recount(100.0, 101.0)
    window.recount(100.0, 104.0)
    assert window.delay(105.0) == pytest.approx(6, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 0.4), st.floats(0, 2)), max_size=60),
    st.integers(1, 6),
)
def test_the_servers_window_holds_however_requests_travel(
    steps: list[tuple[float, float, float]], requests: int
) -> None:
    """Each has its own way there and its own time to be answered; many are under way at once."""
    pacing = Pacing(RateLimit(requests, 10))
    now = 0.0
    arrived: list[float] = []
    answers: list[tuple[float, int, Turn]] = []
    for number, (pause, way, answering) in enumerate(steps):
        now += pause
        while True:
            for answer in sorted(one for one in answers if one[0] <= now):
                pacing.answered(answer[2], answer[0])
                answers.remove(answer)
            wait = pacing.delay("a", now)
            if not wait:
                break
            now = min(now + wait, *(one[0] for one in answers)) if answers else now + wait
        turn = pacing.take_turn("a", now)
        pacing.sent(turn, now)
        arrived.append(now + way)
        answers.append((now + way + answering, number, turn))
    for start in arrived:
        assert sum(start <= one < start + 10 for one in arrived) <= requests


def test_an_account_that_is_done_is_forgotten() -> None:
    pacing = Pacing()
    asked(pacing, "a", 100.0)
    pacing.forget("a")
    assert pacing._accounts == {}
    assert len(pacing._token._counted) == 1


def test_a_429_tells_whose_tier_is_used_up() -> None:
    pacing = Pacing()
    used_up = {"ratelimit-limit": "50;w=10", "ratelimit-remaining": "0"}
    assert pacing.is_accounts_tier(used_up)
    assert pacing.is_accounts_tier({**used_up, "ratelimit-limit": "50"})
    assert not pacing.is_accounts_tier({**used_up, "ratelimit-limit": "500;w=10"})
    assert not pacing.is_accounts_tier({**used_up, "ratelimit-remaining": "3"})
    assert not pacing.is_accounts_tier({"ratelimit-remaining": "0"})
    assert not pacing.is_accounts_tier({})


def test_a_429_lets_the_account_wait_or_all_accounts() -> None:
    pacing = Pacing(None)
    pacing.penalize("a", 10, 100.0, is_accounts=True)
    assert (pacing.delay("a", 101.0), pacing.delay("b", 101.0)) == (9, 0)
    pacing.penalize("c", 5, 101.0, is_accounts=False)
    assert [pacing.delay(one, 101.0) for one in "abc"] == [9, 5, 5]


def test_thousands_of_accounts_take_no_more_memory_than_ten_thousand() -> None:
    pacing = Pacing()
    for number in range(20_000):
        pacing.take_turn(str(number), float(number))
    assert len(pacing._accounts) == 10_000


def test_too_little_progress_is_an_error() -> None:
    watch = ProgressWatch(progress_bytes=100, progress_seconds=10)
    for _ in range(100):
        watch.arrived(10, 0.9)
    watch.arrived(1, 9)
    with pytest.raises(TransportError, match="only 2 bytes came in 10 seconds of waiting"):
        watch.arrived(1, 1)


def test_without_pacing_only_the_server_is_respected() -> None:
    pacing = Pacing(None)
    for _ in range(1000):
        pacing.take_turn("a", 1.0)
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
        ({"retry-after": "9" * 400}, True, 300),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, True, 300),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 +" + "9" * 30}, True, None),
        ({"retry-after": "-5"}, True, None),
        ({"retry-after": "5", "ratelimit-reset": "8"}, True, 8),
        ({"retry-after": "5", "ratelimit-reset": "8"}, False, 5),
        ({"ratelimit-reset": "8"}, True, 8),
    ],
)
def test_retry_after_is_read(
    headers: dict[str, str], is_rate_limit: bool, seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW, is_rate_limit=is_rate_limit) == seconds


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ .{0,6}"))
def test_no_header_breaks_the_reading_of_waits(text: str) -> None:
    headers = {"retry-after": text, "ratelimit-reset": text}
    wait = retry_after_seconds(headers, NOW, is_rate_limit=True)
    assert wait is None or 0 <= wait <= 300
    Pacing().observe("a", {**headers, "ratelimit-remaining": "0"}, 1.0)


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
        assert bound / 2 <= wait <= bound
    named = policy.wait_seconds(api(429, retryable=True, after=12), 1)
    assert named is not None
    assert 12 <= named <= 12.5
    assert RetryPolicy(max_attempts=9999).wait_seconds(TransportError("x"), 5000) is not None
    none = RetryPolicy(backoff_seconds=0)
    assert none.wait_seconds(TransportError("x"), 3) == 0
