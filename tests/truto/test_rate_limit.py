"""When to ask, and what a failure is worth."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlic.errors import (
    AccountBlocked,
    ApiError,
    AuthenticationError,
    DecodeError,
    LimitExceeded,
    NotAListing,
    PageMismatch,
    StoreError,
    StreamlicError,
    TransportError,
    TruncatedBody,
    UsageError,
)
from streamlic.truto.rate_limit import (
    ACCOUNT_RATE_LIMIT,
    TOKEN_RATE_LIMIT,
    Permit,
    RateLimit,
    RateLimiter,
    SlidingWindow,
    parse_rate_limit,
)
from streamlic.truto.retry import (
    Failures,
    RetryPolicy,
    given_up,
    is_account_scoped,
    is_transient,
    naming_restart,
)
from streamlic.truto.timeouts import ProgressWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_rate_limits_are_read() -> None:
    assert parse_rate_limit("50/10s") == ACCOUNT_RATE_LIMIT == RateLimit(50, 10)
    assert parse_rate_limit("5/0.5s") == RateLimit(5, 0.5)
    assert parse_rate_limit("none") is None


@pytest.mark.parametrize(
    "text", ["", "50", "50/10", "0/10s", "5/0s", "-1/10s", "x/ys", "9" * 30 + "/1s", "\u0665/1s"]
)
def test_other_rate_limits_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="rate_limit"):
        parse_rate_limit(text)


@given(st.lists(st.floats(0, 3), max_size=80), st.integers(1, 6))
def test_no_window_holds_more_requests_than_allowed(pauses: list[float], requests: int) -> None:
    """Whatever the caller's rhythm, if it waits for each delay."""
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


def acquired(rate_limiter: RateLimiter, account: str, at: float) -> Permit:
    permit = rate_limiter.acquire(account, at)
    assert permit is not None
    return permit


def asked(rate_limiter: RateLimiter, account: str, at: float, seconds: float = 0.0) -> Permit:
    """Ask, and have the answer after so many seconds."""
    permit = acquired(rate_limiter, account, at)
    rate_limiter.sent(permit, at)
    rate_limiter.answered(permit, at + seconds)
    return permit


def test_a_burst_up_to_the_limit_needs_no_waiting() -> None:
    rate_limiter = RateLimiter()
    for _ in range(50):
        assert rate_limiter.delay("a", 100.0) == 0
        asked(rate_limiter, "a", 100.0)
    assert rate_limiter.delay("a", 100.0) == pytest.approx(10, abs=0.1)
    assert rate_limiter.delay("b", 100.0) == 0
    assert rate_limiter.account_delay("a", 100.0) > rate_limiter.token_delay(100.0) == 0


def test_the_token_has_a_limit_over_all_accounts() -> None:
    rate_limiter = RateLimiter()
    for number in range(TOKEN_RATE_LIMIT.requests):
        asked(rate_limiter, f"account {number}", 100.0)
    assert rate_limiter.delay("another", 105.0) == pytest.approx(5, abs=0.1)


def test_a_request_counts_from_its_answer_and_if_that_is_slow_from_soon_after_it_went() -> None:
    """The server counted it in between, sooner or later; requests do not travel equally fast."""
    rate_limiter = RateLimiter()
    under_way = [acquired(rate_limiter, "a", 100.0) for _ in range(50)]
    assert rate_limiter.delay("a", 100.0) == pytest.approx(10.5, abs=0.1)
    rate_limiter.answered(under_way[0], 100.2)
    assert rate_limiter.delay("a", 101.0) == pytest.approx(9.2, abs=0.1)
    rate_limiter.answered(under_way[1], 130.0)
    assert rate_limiter.delay("a", 101.0) == pytest.approx(9.2, abs=0.1)


def test_a_request_that_is_answered_late_may_have_waited_uncounted_unless_all_are_late() -> None:
    rate_limiter = RateLimiter(RateLimit(1, 10))
    asked(rate_limiter, "a", 100.0, seconds=2.0)
    assert rate_limiter.delay("a", 102.0) == pytest.approx(10, abs=0.1)
    asked(rate_limiter, "b", 100.0, seconds=5.0)
    assert rate_limiter.delay("b", 105.0) == pytest.approx(5.5, abs=0.1), "too long for a queue"
    for number in range(200):
        asked(rate_limiter, str(number), 200.0, seconds=2.0)
    asked(rate_limiter, "c", 200.0, seconds=2.0)
    assert rate_limiter.delay("c", 202.0) == pytest.approx(8.5, abs=0.1)


def test_a_request_that_waited_for_its_connection_counts_later() -> None:
    rate_limiter = RateLimiter()
    permits = [acquired(rate_limiter, "a", 100.0) for _ in range(50)]
    for permit in permits:
        rate_limiter.sent(permit, 103.0)
    assert rate_limiter.delay("a", 104.0) == pytest.approx(9.5, abs=0.1)
    assert rate_limiter.token_delay(104.0) == 0
    assert permits[0].of_token.counted_at == 103.5, "the token's tier counts it as well"
    rate_limiter.sent(permits[0], 109.0)  # The session sent it once more, on a new connection.
    asked(rate_limiter, "a", 113.6)
    assert rate_limiter.delay("a", 113.6) == 0, "only two of them are younger than the window"


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
    rate_limiter = RateLimiter(RateLimit(requests, 10))
    now = 0.0
    arrived: list[float] = []
    answers: list[tuple[float, int, Permit]] = []
    for number, (pause, way, answering) in enumerate(steps):
        now += pause
        while True:
            for answer in sorted(one for one in answers if one[0] <= now):
                rate_limiter.answered(answer[2], answer[0])
                answers.remove(answer)
            wait = rate_limiter.delay("a", now)
            if not wait:
                break
            now = min(now + wait, *(one[0] for one in answers)) if answers else now + wait
        permit = acquired(rate_limiter, "a", now)
        rate_limiter.sent(permit, now)
        arrived.append(now + way)
        answers.append((now + way + answering, number, permit))
    for start in arrived:
        assert sum(start <= one < start + 10 for one in arrived) <= requests


def test_an_account_that_is_done_is_forgotten() -> None:
    rate_limiter = RateLimiter(token_limit=RateLimit(1, 10))
    asked(rate_limiter, "a", 100.0)
    rate_limiter.forget("a")
    assert rate_limiter._accounts == {}
    assert rate_limiter.token_delay(100.0) > 0, "the token's tier counted it"


def test_a_429_tells_whose_tier_is_used_up() -> None:
    rate_limiter = RateLimiter()
    used_up = {"ratelimit-limit": "50;w=10", "ratelimit-remaining": "0"}
    assert rate_limiter.is_accounts_tier(used_up)
    assert rate_limiter.is_accounts_tier({**used_up, "ratelimit-limit": "50"})
    assert not rate_limiter.is_accounts_tier({**used_up, "ratelimit-limit": "500;w=10"})
    assert not rate_limiter.is_accounts_tier({**used_up, "ratelimit-remaining": "3"})
    assert not rate_limiter.is_accounts_tier({"ratelimit-remaining": "0"})
    assert not rate_limiter.is_accounts_tier({})


def test_a_429_lets_the_account_wait_or_all_accounts() -> None:
    rate_limiter = RateLimiter(None)
    rate_limiter.penalize("a", 10, 100.0, is_accounts=True)
    assert (rate_limiter.delay("a", 101.0), rate_limiter.delay("b", 101.0)) == (9, 0)
    rate_limiter.penalize("c", 5, 101.0, is_accounts=False)
    assert [rate_limiter.delay(one, 101.0) for one in "abc"] == [9, 5, 5]


def test_thousands_of_accounts_take_no_more_memory_than_ten_thousand() -> None:
    rate_limiter = RateLimiter()
    for number in range(20_000):
        rate_limiter.acquire(str(number), float(number))
    assert len(rate_limiter._accounts) == 10_000


def test_too_little_progress_is_an_error() -> None:
    watch = ProgressWatch(progress_bytes=100, progress_seconds=10)
    for _ in range(100):
        watch.arrived(10, 0.9)
    watch.arrived(1, 9)
    with pytest.raises(TransportError, match=r"only 2 bytes came in 10 seconds.*silence_seconds"):
        watch.arrived(1, 1)


def test_blanks_are_a_sign_of_life() -> None:
    watch = ProgressWatch(progress_bytes=100, progress_seconds=10)
    for _ in range(100):
        watch.arrived(1, 9, is_blank=True)
        watch.arrived(1, 9)


def test_without_pacing_only_the_server_is_respected() -> None:
    rate_limiter = RateLimiter(None)
    for _ in range(1000):
        rate_limiter.acquire("a", 1.0)
    assert rate_limiter.delay("a", 1.0) == 0
    rate_limiter.observe("a", {"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 1.0, NOW)
    assert rate_limiter.delay("a", 1.0) == 7
    rate_limiter.observe("b", {"ratelimit-remaining": "3", "ratelimit-reset": "7"}, 1.0, NOW)
    assert rate_limiter.delay("b", 1.0) == 0
    epoch = {"ratelimit-remaining": "0", "ratelimit-reset": str(int(NOW.timestamp()) + 9)}
    rate_limiter.observe("c", epoch, 1.0, NOW)
    assert rate_limiter.delay("c", 1.0) == 9
    rate_limiter.observe("d", {**epoch, "retry-after": "2"}, 1.0, NOW)
    assert rate_limiter.delay("d", 1.0) == 2, "what the answer itself names is shorter"


def api(status: int, *, retryable: bool, after: float | None = None) -> ApiError:
    return ApiError("x", status=status, retryable=retryable, retry_after_seconds=after)


def attempts(
    policy: RetryPolicy, errors: Iterable[StreamlicError], attempt_seconds: float = 0.0
) -> list[float]:
    """Fail with one error after the other, until the page is given up; return when each came.

    The clock is the test's own: it moves by the waits, and by ``attempt_seconds``.
    """
    failures, now, moments = Failures(), 1000.0, list[float]()
    for error in errors:
        now += attempt_seconds
        moments.append(now - 1000.0)
        failures.count(error, now)
        wait = policy.wait_seconds(error, failures)
        if wait is None:
            break
        now += wait
    return moments


@pytest.mark.parametrize(
    "error",
    [
        TransportError("x"),
        TruncatedBody("x", position=1),
        NotAListing("x", position=1),
        api(502, retryable=True),
    ],
)
def test_what_may_pass_is_tried_for_a_quarter_of_an_hour(error: StreamlicError) -> None:
    moments = attempts(RetryPolicy(), repeat(error))
    assert 900 <= moments[-1] <= 930
    assert 30 < len(moments) < 80, "the waits grow, up to half a minute"


def test_a_page_has_four_attempts_however_long_they_take() -> None:
    """A long one, and the queue for the rate limit, may take all the time in one attempt."""
    for seconds, attempt_seconds in [(0, 0), (0, 5000), (900, 300), (900, 5000)]:
        moments = attempts(
            RetryPolicy(retry_for_seconds=seconds), repeat(TransportError("x")), attempt_seconds
        )
        assert len(moments) == 4
    assert len(attempts(RetryPolicy(), repeat(TransportError("x")), attempt_seconds=100)) > 8


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (TransportError("x", retryable=False), 1),
        (api(404, retryable=False), 1),
        (DecodeError("x", position=1), 2),
        (PageMismatch("x"), 2),
        (LimitExceeded("x", position=1), 1),
        (StoreError("x"), 1),
        (UsageError("x"), 1),
    ],
)
def test_no_other_failure_is_waited_for(error: StreamlicError, times: int) -> None:
    for seconds in (0, 900):
        policy = RetryPolicy(retry_for_seconds=seconds)
        assert len(attempts(policy, repeat(error))) == times


def test_a_wait_that_the_server_named_is_waited_and_tried_once_after_it() -> None:
    slow, other = api(429, retryable=True, after=250), TransportError("x")
    at_once = RetryPolicy(retry_for_seconds=0)
    assert len(attempts(RetryPolicy(retry_for_seconds=100), repeat(slow))) == 4
    assert len(attempts(at_once, [*[other] * 3, slow, slow, slow])) == 5
    assert len(attempts(RetryPolicy(), repeat(slow))) == 5
    assert len(attempts(at_once, [*[other] * 3, slow, other, slow])) == 5


def test_spoilt_bodies_are_counted_apart() -> None:
    spoilt, cut, other = DecodeError("x", position=1), TruncatedBody("x", position=1), "x"
    assert len(attempts(RetryPolicy(), [cut, TransportError(other), spoilt, cut, spoilt, cut])) == 5


def test_waiting_grows_and_respects_the_server() -> None:
    policy, failures = RetryPolicy(), Failures()
    for attempt in range(1, 20):
        failures.count(TransportError("x"), 0.0)
        bound = min(0.5 * 2 ** (attempt - 1), 30)
        wait = policy.wait_seconds(TransportError("x"), failures)
        assert wait is not None
        assert bound / 2 <= wait <= bound
    failures = Failures()
    failures.count(named := api(429, retryable=True, after=12), 0.0)
    wait = policy.wait_seconds(named, failures)
    assert wait is not None
    assert 12 <= wait <= 12.5
    for _ in range(5000):
        failures.count(TransportError("x"), 0.0)
    assert policy.wait_seconds(TransportError("x"), failures) is not None
    assert RetryPolicy(backoff_seconds=0).wait_seconds(TransportError("x"), failures) == 0


def test_an_error_that_is_given_up_says_for_how_long_it_was_tried() -> None:
    failures = Failures()
    for now in (5.0, 910.0):
        failures.count(TransportError("x"), now)
    assert str(given_up(TransportError("x"), failures)) == (
        "x; given up after 2 attempts in 905 s (retry_for_seconds)"
    )
    assert str(given_up(api(404, retryable=False), failures)) == "x"
    cut = given_up(TruncatedBody("cut", position=7), failures)
    assert str(cut).startswith("cut at the top of the body (byte 7); given up after 2 attempts")


def test_only_a_request_that_was_refused_names_restart() -> None:
    assert "(restart)" in str(naming_restart(api(400, retryable=False)))
    for error in (
        api(403, retryable=True),
        api(501, retryable=False),
        AccountBlocked("x", status=503),
        AuthenticationError("x", status=401),
        TransportError("x"),
    ):
        assert str(naming_restart(error)) == "x"


def test_a_body_that_is_not_a_listing_is_transient_and_account_scoped() -> None:
    error = NotAListing("expected a listing, got text", position=0)
    assert is_transient(error)
    assert is_account_scoped(error)
