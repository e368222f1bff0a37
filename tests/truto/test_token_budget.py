"""One limit of a token: shared out in advance, or one budget for all clients of a process."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlic
from streamlic import LocalBudget, RateLimit, UsageError, shared_budget
from streamlic.emulator import EmulatorConfig
from streamlic.share import Share
from streamlic.truto.budget.base import TokenBudget
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT, RateLimiter
from streamlic.truto.wait_reasons import WaitReason
from tests.support.reading import settings_of
from tests.support.server_thread import WAIT_SECONDS, served


def taken(budget: TokenBudget, now: float) -> int:
    """Take permits until there is none; return how many there were."""
    count = 0
    while budget.take(now):
        count += 1
    assert budget.delay(now) > 0
    return count


@settings(deadline=None)
@given(st.integers(1, 600), st.integers(1, 600))
def test_the_shares_of_a_limit_add_up_to_it(requests: int, of: int) -> None:
    limit = RateLimit(requests, 10)
    if of > requests:
        with pytest.raises(UsageError, match=r"some would have no request at all.*token_share"):
            limit.share(1, of)
        return
    shares = [limit.share(number, of) for number in range(1, of + 1)]
    assert sum(share.requests for share in shares) == requests
    assert {share.window_seconds for share in shares} == {10}
    assert min(share.requests for share in shares) >= 1


@pytest.mark.parametrize(("requests", "seconds"), [(0, 10), (-1, 10), (1, 0), (1, -1)])
def test_a_limit_of_nothing_is_refused(requests: int, seconds: float) -> None:
    with pytest.raises(UsageError, match="expected 1 request or more"):
        RateLimit(requests, seconds)


def test_settings_say_the_tokens_limit_and_the_share_of_it() -> None:
    connection = streamlic.ConnectionSettings(token_rate_limit="90/3s", token_share="1/4")
    limiter = connection.rate_limiter()
    for number in range(22):
        assert limiter.acquire(str(number), 100.0)
    assert limiter.acquire("another", 100.0) is None
    assert limiter.token_delay(100.0) == pytest.approx(3.5, abs=0.1)
    assert str(limiter.token_cause().detail) == "22 requests in 3 s"
    assert streamlic.ConnectionSettings(token_share=Share(2, 4)).rate_limiter().token_delay(0) == 0
    again = pickle.loads(pickle.dumps(connection))  # noqa: S301  (our own, of just now)
    assert again == connection


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"token_share": "5/4"}, r"expected I/N.*'5/4' \(token_share\)"),
        ({"token_share": "1/501"}, r"cannot be shared among 501.*\(token_share\)"),
        ({"token_share": "1/2", "rate_limit": None}, r"share 1/2 of, got none \(token_share\)"),
        ({"token_share": "1/2", "token_rate_limit": "none"}, r"got none \(token_share\)"),
        ({"token_share": "1/2", "budget": LocalBudget()}, r"got a budget with a limit of its own"),
        ({"token_rate_limit": "fast"}, r"expected requests/seconds.*\(token_rate_limit\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        streamlic.ConnectionSettings(**given)  # type: ignore[arg-type]


def test_turning_the_limits_off_turns_off_the_tokens_too_but_not_a_budget() -> None:
    limiter = streamlic.ConnectionSettings(rate_limit="none").rate_limiter()
    for _ in range(2_000):
        assert limiter.acquire("a", 1.0)
    budget = LocalBudget("3/10s")
    limiter = streamlic.ConnectionSettings(rate_limit="none", budget=budget).rate_limiter()
    assert [bool(limiter.acquire("a", 1.0)) for _ in range(4)] == [True, True, True, False]


def test_the_tokens_limit_says_which_429_is_the_accounts() -> None:
    used_up = {"ratelimit-limit": "100;w=10", "ratelimit-remaining": "0"}
    assert RateLimiter().is_accounts_tier(used_up)
    assert not RateLimiter(token_limit=RateLimit(100, 10)).is_accounts_tier(used_up)
    shared = RateLimiter(token_limit=RateLimit(200, 10), share=Share(1, 4))
    assert shared.is_accounts_tier(used_up), "the whole limit decides, and not a share of it"


def test_clients_that_share_a_budget_share_its_count_and_each_429() -> None:
    budget = LocalBudget(RateLimit(3, 10))
    one, other = RateLimiter(budget=budget), RateLimiter(budget=budget)
    assert one.acquire("a", 100.0)
    permit = other.acquire("b", 100.0)
    assert permit
    assert one.acquire("a", 100.0)
    assert other.acquire("b", 100.0) is None
    assert one.token_cause().reason is WaitReason.TOKEN_LIMIT
    other.answered(permit, 100.1)
    assert one.token_delay(101.0) == pytest.approx(9.1, abs=0.1)
    one.penalize("a", 60.0, 101.0, is_accounts=False)
    assert other.token_delay(101.0) == 60
    assert other.token_cause().reason is WaitReason.SERVER_LIMIT
    assert other.acquire("b", 130.0) is None
    one.penalize("a", 600.0, 101.0, is_accounts=True)
    assert other.token_delay(161.0) == 0, "the account's own 429 is no other account's"


def test_threads_take_no_permit_twice() -> None:
    budget, barrier = LocalBudget(RateLimit(400, 10)), threading.Barrier(8)

    def take(_: int) -> int:
        barrier.wait(WAIT_SECONDS)
        return sum(budget.take(100.0) is not None for _ in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 400


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.floats(0, 6)), min_size=1, max_size=40))
def test_what_was_counted_stays_counted_when_the_limit_changes(
    steps: list[tuple[int, float]],
) -> None:
    """Of the requests in a window, no limit lets in more than the largest that was in force."""
    budget, now = LocalBudget(RateLimit(6, 10)), 100.0
    sent: list[float] = []
    for requests, pause in steps:
        budget.limit = RateLimit(requests, 10)
        in_force = sum(one > now - 9.4 for one in sent)  # Counted half a second later.
        sent += [now] * taken(budget, now)
        assert sum(one > now - 9.4 for one in sent) <= max(requests, in_force)
        now += pause
    assert all(sum(start <= one < start + 10 for one in sent) <= 6 for start in sent)


def test_a_permit_that_is_given_back_is_not_counted() -> None:
    budget = LocalBudget(RateLimit(2, 10))
    first = budget.take(100.0)
    assert first
    assert taken(budget, 100.0) == 1
    budget.give_back(first)
    assert taken(budget, 100.0) == 1


def test_a_budget_of_one_process_says_why_it_does_not_pickle() -> None:
    connection = streamlic.ConnectionSettings(budget=LocalBudget())
    with pytest.raises(TypeError, match=r"one process.*a LeasedBudget.*does"):
        pickle.dumps(connection)
    assert repr(LocalBudget()) == "LocalBudget(500 requests in 10 s)"
    assert repr(LocalBudget(None)) == "LocalBudget(None)"


def test_a_process_has_one_budget_for_each_token() -> None:
    first = streamlic.ConnectionSettings(token="a-token-1", base_url="https://there.example")
    assert "a-token" not in first.token_id()
    same = streamlic.ConnectionSettings(token="a-token-1", base_url="https://there.example/")
    budget = shared_budget(first.token_id(), RateLimit(9, 10))
    assert taken(budget, 100.0) == 9
    assert shared_budget(same.token_id(), RateLimit(12, 10)) is budget
    assert taken(budget, 100.0) == 3, "the tasks before this one are counted, the limit is new"
    for other in (
        streamlic.ConnectionSettings(token="a-token-2", base_url="https://there.example"),
        streamlic.ConnectionSettings(token="a-token-1", base_url="https://elsewhere.example"),
    ):
        assert shared_budget(other.token_id()) is not budget
        assert shared_budget(other.token_id()).limit == TOKEN_RATE_LIMIT


def test_a_forked_process_counts_its_own_requests() -> None:
    """It got a copy of the parent's count, which the parent does not update."""
    budget = shared_budget("a token of this test", RateLimit(5, 10))
    assert taken(budget, 100.0) == 5
    child = os.fork()
    if not child:
        try:
            os._exit(taken(shared_budget("a token of this test", RateLimit(5, 10)), 100.0))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_exports_in_threads_keep_the_limit_of_their_token_together(tmp_path: Path) -> None:
    accounts = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(50)]
    config = EmulatorConfig(
        records=3, rate_limits=True, token_requests=20, window_seconds=1, latency_ms=2
    )
    budget = LocalBudget("20/1s")
    with served(config) as emulator:
        connection = settings_of(emulator.url, rate_limit="50/1s", budget=budget)

        def export(number: int) -> streamlic.Summary:
            return streamlic.export(
                tmp_path / str(number),
                accounts[number::2],
                connection=connection,
                options=streamlic.JobOptions(account_details=False),
            )

        with ThreadPoolExecutor(2) as pool:
            summaries = list(pool.map(export, range(2)))
    assert [summary.rows for summary in summaries] == [75, 75]
    assert len(emulator.requests) == 50
    assert emulator.refused == 0
