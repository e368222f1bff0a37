"""Leases in simulated time: the limit holds at the API, whatever processes and messages do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlic.truto.budget.base import UNDER_WAY_SECONDS, TokenPermit
from streamlic.truto.budget.lease_pool import LeasePool
from streamlic.truto.budget.ledger import VALID_SECONDS, PermitLedger
from streamlic.truto.budget.messages import MOST_BYTES, MOST_REPORTED, Answer, Ask
from streamlic.truto.rate_limit import LocalBudget, RateLimit
from streamlic.truto.wait_reasons import WaitReason


class World:
    """Processes, a permit server and an API, on one clock that jumps from event to event."""

    def __init__(self, limit: RateLimit, draw: Callable[[], float]) -> None:
        self.limit = limit
        self.draw = draw
        """Gives the next number from 0 to 1, which decides how things happen."""
        self.now = 1000.0
        self.budget = LocalBudget(limit)
        self.ledger = PermitLedger(self.budget, limit)
        self.arrived: list[float] = []
        self.held: list[tuple[float, float]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self._numbers), happen))

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, happen = heappop(self._events)
            happen()
        self.now = end

    def most_in_a_window(self) -> int:
        window, most = deque[float](), 0
        for moment in sorted(self.arrived):
            window.append(moment)
            while window[0] <= moment - self.limit.window_seconds:
                window.popleft()
            most = max(most, len(window))
        return most


@dataclass
class Process:
    """One process that leases, sends all that it can, and may die. Messages take their time."""

    world: World
    left: int
    pool: LeasePool = field(default_factory=LeasePool)
    is_alive: bool = True
    is_asking: bool = False
    unused_of_last: int = 0

    def step(self) -> None:
        """Send what may be sent, and ask or report what is due."""
        world = self.world
        if not self.is_alive:
            return
        if self.left:
            self.pool.delay(world.now, self.left)
        while self.left and world.draw() < 0.8 and (permit := self.pool.take(world.now)):
            self.left -= 1
            self.send(permit)
        due_at = self.pool.due_at(world.now)
        if not self.is_asking and due_at is not None and due_at <= world.now:
            self.ask()
        if self.left or due_at is not None or self.is_asking:
            world.after(0.01 + world.draw() * 0.3, self.step)

    def send(self, permit: TokenPermit) -> None:
        """Send a request. It travels for less than half a second, and is answered sometime."""
        world = self.world
        way, answering = world.draw() * 0.49, world.draw() * 2

        def arrive() -> None:
            world.arrived.append(world.now)
            world.after(answering, answered)

        def answered() -> None:
            if self.is_alive and world.now < permit.counted_at:
                self.pool.recount(permit, world.now, world.now)

        self.pool.recount(permit, world.now + 0.5, world.now)
        world.after(way, arrive)

    def ask(self) -> None:
        """Exchange messages with the server; each takes its time, and the process may die."""
        world, asked, here = self.world, self.pool.ask(self.world.now), world_ways(self.world)
        self.is_asking = True

        def at_server() -> None:
            answer = world.ledger.answer(Ask.from_bytes(asked.to_bytes()), world.now)
            world.after(here[1], lambda: back(Answer.from_bytes(answer.to_bytes())))

        def back(answer: Answer) -> None:
            self.is_asking = False
            if self.is_alive:
                self.pool.answered(answer, world.now)

        world.after(here[0], at_server)

    def die(self) -> None:
        """Lose all permits and all reports, at any moment."""
        self.is_alive = False


def world_ways(world: World) -> tuple[float, float]:
    """Return how long a message and its answer take: mostly little, sometimes too long."""
    slow = 3.0 if world.draw() < 0.05 else 0.05
    return world.draw() * slow, world.draw() * slow


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 60), st.integers(1, 6))
def test_no_window_of_the_api_holds_too_many_whatever_happens(
    seed: int, requests: int, processes: int
) -> None:
    """Processes die, messages are late, answers are slow, and permits expire unused."""
    world = World(RateLimit(requests, 10), Random(seed).random)
    for _ in range(processes):
        process = Process(world, left=requests)
        world.after(world.draw() * 5, process.step)
        if world.draw() < 0.3:
            world.after(world.draw() * 30, process.die)
    world.run_until(world.now + 60)
    assert world.most_in_a_window() <= requests


def alone(left: int) -> tuple[World, Process]:
    """Return a world in which messages take no time, and its only process."""
    world = World(RateLimit(40, 10), lambda: 0.0)
    process = Process(world, left)
    world.after(0, process.step)
    return world, process


def test_the_whole_limit_is_used_window_after_window() -> None:
    world, process = alone(200)
    start = world.now
    world.run_until(start + 60)
    assert process.left == 0
    assert len(world.arrived) == 200
    took = max(world.arrived) - start
    assert took < 40 * 1.05 + 2, "the least is 40 s, and the burst at its end takes a fifth of 10 s"


def test_a_process_that_dies_takes_nothing_with_it_but_its_second() -> None:
    """Its permits count as if each had been used at the last moment."""
    budget = LocalBudget(RateLimit(2, 10))
    ledger = PermitLedger(budget, RateLimit(2, 10))
    for moment in (100.0, 101.0):
        assert ledger.answer(Ask(wanted=1), moment).permits == 1
    latest = 100 + VALID_SECONDS + UNDER_WAY_SECONDS
    assert budget.delay(102.0) == pytest.approx(latest + 10 - 102, abs=0.1)
    assert ledger.answer(Ask(wanted=1), latest + 10.1).permits == 1
    assert ledger.answer(Ask(wanted=1), latest + 11.1).permits == 1


def test_permits_that_come_back_unused_are_free_at_once() -> None:
    ledger = PermitLedger(LocalBudget(RateLimit(20, 10)), RateLimit(20, 10))
    asked = [ledger.answer(Ask(wanted=1), 100 + number * 0.1) for number in range(20)]
    assert [answer.permits for answer in asked] == [1] * 20
    unused = [answer.first for answer in asked[:3]]
    assert ledger.answer(Ask(wanted=1), 102.0).permits == 0
    assert ledger.answer(Ask(unused=unused), 102.1).permits == 0
    again = [ledger.answer(Ask(wanted=1), 102.2 + number * 0.1).permits for number in range(4)]
    assert again == [1, 1, 1, 0]
    assert ledger.answer(Ask(unused=unused, wanted=1), 103.0).permits == 0, "each comes back once"


def test_a_process_that_waits_asks_again_as_long_as_permits_may_come_back() -> None:
    ledger = PermitLedger(LocalBudget(RateLimit(1, 10)), RateLimit(1, 10))
    assert ledger.answer(Ask(wanted=1), 100.0).permits == 1
    assert ledger.answer(Ask(wanted=1), 100.1).wait_seconds == 1
    assert ledger.answer(Ask(wanted=1), 103.1).wait_seconds == pytest.approx(8.6, abs=0.1)


def test_permits_are_granted_five_times_as_fast_as_on_average_and_no_faster() -> None:
    """All processes start at once. A burst of a whole limit would wait in queues, uncounted."""
    ledger = PermitLedger(LocalBudget(RateLimit(500, 10)), RateLimit(500, 10))
    granted: list[int] = []
    assert ledger.answer(Ask(), 99.0).wait_seconds == 0, "it wants none"
    for step in range(300):
        answer = ledger.answer(Ask(wanted=MOST_REPORTED), 100 + step * 0.01)
        granted.append(answer.permits)
        assert answer.permits or answer.wait_seconds > 0
    assert granted[0] == 25, "a twentieth"
    assert granted[1] < 5
    assert sum(granted[:101]) == 25 + 250
    assert sum(granted) == 500


def test_a_permit_counts_late_until_its_report_comes() -> None:
    budget = LocalBudget(RateLimit(1, 10))
    ledger = PermitLedger(budget, RateLimit(1, 10))
    first = ledger.answer(Ask(wanted=1), 100.0).first
    assert budget.delay(100.0) == pytest.approx(11.5, abs=0.1)
    ledger.answer(Ask(sent={first: 0.2}), 100.5)
    assert budget.delay(100.5) == pytest.approx(9.8, abs=0.1)
    ledger.answer(Ask(sent={first: 5000.0}), 100.5)
    assert budget.delay(100.5) == pytest.approx(9.5, abs=0.1), "not before it was granted"
    ledger.answer(Ask(sent={first: -9.0}), 104.0)
    assert budget.delay(104.0) == pytest.approx(10.5, abs=0.1), "it waited for its connection"


def test_a_report_to_another_server_counts_as_a_request() -> None:
    """A server was started again: what its processes sent before counts for the same token."""
    budget = LocalBudget(RateLimit(2, 10))
    ledger = PermitLedger(budget, RateLimit(2, 10))
    ledger.answer(Ask(sent={7: 0.5, 8: 0.5}), 100.0)
    assert budget.delay(100.0) == pytest.approx(9.5, abs=0.1)


def test_a_429_of_one_process_holds_for_all_of_them() -> None:
    ledger = PermitLedger(LocalBudget(RateLimit(500, 10)), RateLimit(500, 10))
    one, other = LeasePool(), LeasePool()
    for pool in (one, other):
        assert pool.delay(100.0) > 0
        pool.answered(ledger.answer(pool.ask(100.0), 100.0), 100.0)
    one.wait_until(130.0)
    assert one.due_at(100.1) == 100.1, "it is reported at once"
    one.answered(ledger.answer(one.ask(100.1), 100.1), 100.1)
    assert ledger.answer(Ask(wanted=1), 100.2).permits == 0
    assert other.take(100.2), "a permit that it has already is good for its second"
    assert other.delay(100.2) < 1
    other.answered(ledger.answer(other.ask(100.2), 100.2), 100.2)
    for pool in (one, other):
        assert pool.delay(100.3) == pytest.approx(29.7, abs=0.1)
        assert pool.cause().reason is WaitReason.SERVER_LIMIT
    assert ledger.answer(Ask(wanted=1), 130.3).permits == 1


def test_a_process_asks_for_what_it_has_a_use_for() -> None:
    """What it leased and did not use, no other process could use for a second."""
    ledger = PermitLedger(LocalBudget(RateLimit(500, 10)), RateLimit(500, 10))
    pool = LeasePool()
    assert pool.delay(100.0, 3) > 0
    assert pool.delay(100.0, 2) > 0, "another client of the process"
    assert pool.ask(100.0).wanted == 3
    pool.answered(ledger.answer(pool.ask(100.0), 100.0), 100.0)
    assert [bool(pool.take(100.1)) for _ in range(4)] == [True, True, True, False]
    assert pool.delay(100.1, 10**9) > 0
    assert pool.ask(100.1).wanted == MOST_REPORTED
    pool.answered(ledger.answer(pool.ask(100.1), 100.1), 100.1)
    assert sum(pool.take(100.2) is not None for _ in range(100)) == 25, "a twentieth at most"
    pool.answered(ledger.answer(pool.ask(100.3), 100.3), 100.3)
    assert pool.delay(100.4) == 0
    assert pool.delay(102.0) > 0
    back = pool.ask(102.0)
    assert (len(back.unused), back.wanted) == (1, 1), "it comes back after its second"


def test_a_process_that_sends_nothing_asks_nothing() -> None:
    pool = LeasePool()
    assert pool.due_at(100.0) is None
    assert pool.ask(100.0) == Ask()


@pytest.mark.parametrize(
    "message",
    [
        b"", b"x", b"\xff", b"null", b"{}", b"[]", b"[1,[],[]]", b"[1,[],[],0,0]", b'["1",[],[],0]',
        b"[true,[],[],0]", b"[-1,[],[],0]", b"[1.0,[],[],0]", b"[1,[[1]],[],0]",
        b"[1,[[1,2,3]],[],0]", b"[1,[[1,NaN]],[],0]", b"[1,[[1,1e999]],[],0]", b"[1,{},[],0]",
        b"[1,[],[null],0]", b"[1,[],[],1e300]", b"[" * 50_000, b"[1,[],[]," + b"9" * 5_000 + b"]",
        b"[9999999999999999999999,[],[],0]",
    ],
)  # fmt: skip
def test_other_bytes_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the one that its readers expect)
        Ask.from_bytes(message)
    with pytest.raises(ValueError):  # noqa: PT011
        Answer.from_bytes(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_value_error(message: bytes) -> None:
    for kind in (Ask, Answer):
        try:
            kind.from_bytes(message)
        except ValueError:
            continue


def test_the_largest_message_fits() -> None:
    numbers = range((1 << 61) - MOST_REPORTED, 1 << 61)
    ask = Ask(MOST_REPORTED, dict.fromkeys(numbers, 12345.678), list(numbers), 99999.123456789)
    assert len(ask.to_bytes()) < MOST_BYTES
    assert Ask.from_bytes(ask.to_bytes()) == ask


def test_a_pool_takes_no_answer_to_another_question() -> None:
    pool = LeasePool()
    pool.ask(100.0)
    with pytest.raises(ValueError, match="more permits than were asked for"):
        pool.answered(Answer(1, 1 << 40, 0, 0, 500, 10), 100.0)


def test_a_permit_whose_answer_came_late_is_not_used() -> None:
    """Its second starts before the question: only the server knows when it granted it."""
    pool = LeasePool()
    pool.delay(100.0)
    pool.ask(100.0)
    pool.answered(Answer(7, 1, 0, 0, 500, 10), 100.9)
    assert pool.delay(100.95) == 0
    assert pool.take(101.01) is None
    assert pool.ask(101.01).unused == [7]
