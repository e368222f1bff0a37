"""A stage: its order, its bound in bytes, and what a failure in it means for the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamlic.errors import DecodeError, StoreError
from streamlic.job.pipeline.stage import Stage


@contextmanager
def two_stages(max_bytes: int = 100) -> Iterator[tuple[Stage, Stage]]:
    last = Stage("streamlic-last", max_bytes=max_bytes)
    first = Stage("streamlic-first", feeds=last)
    try:
        yield first, last
    finally:
        first.close()
        last.close()


def wait_for(gate: threading.Event) -> None:
    gate.wait(10)


def fails(error: Exception) -> None:
    raise error


async def test_steps_run_in_order_with_their_arguments() -> None:
    seen: list[tuple[int, str]] = []

    def step(number: int, text: str) -> None:
        seen.append((number, text))

    with two_stages() as (first, last):
        for number in range(100):
            first.submit(last.put, 1, step, number, "put")
        await first.run(seen.append, (-1, "run"))
        await last.run(seen.append, (-2, "run"))
    assert [number for number, _ in seen if number >= 0] == list(range(100))
    assert seen[-1] == (-2, "run")


@pytest.mark.parametrize(("sizes", "fit"), [([40] * 9, 3), ([500] * 9, 1), ([0] * 9, 9)])
def test_put_blocks_while_the_queue_is_full(sizes: list[int], fit: int) -> None:
    """The bound counts the step that runs. A step larger than the bound still passes, alone."""
    gate, queued, is_full = threading.Event(), list[int](), threading.Event()

    def feed() -> None:
        for size in sizes:
            if len(queued) == fit:
                is_full.set()
            last.put(size, wait_for, gate)
            queued.append(size)
        is_full.set()

    with two_stages() as (first, last):
        feeding = first.submit(feed)
        assert is_full.wait(10)
        assert len(queued) == fit
        gate.set()
        feeding.result(10)
    assert queued == sizes


def test_the_last_stage_stays_failed() -> None:
    ran: list[int] = []
    with two_stages() as (_, last):
        last.submit(fails, StoreError("disk full")).exception()
        with pytest.raises(StoreError, match="disk full"):
            last.submit(ran.append, 1).result()
        with pytest.raises(StoreError, match="disk full"):
            last.put(1, ran.append, 2)
        assert isinstance(last.failure, StoreError)
    assert ran == []


def test_another_stage_works_on_after_a_failure() -> None:
    ran: list[int] = []
    with two_stages() as (first, _):
        assert isinstance(first.submit(fails, ValueError("bad")).exception(), ValueError)
        first.submit(ran.append, 1).result()
        assert first.failure is None
    assert ran == [1]


def test_a_failure_of_the_next_stage_comes_before_later_errors() -> None:
    late = DecodeError("bad", position=0)
    with two_stages() as (first, last):
        assert first.submit(fails, late).exception() is late
        last.submit(fails, StoreError("disk full")).exception()
        raised = first.submit(fails, late).exception()
    assert isinstance(raised, StoreError)
    assert raised.__cause__ is late


def test_a_closed_stage_has_run_every_step_and_takes_no_more() -> None:
    gate, ran = threading.Event(), list[int]()
    stage = Stage("streamlic-one", max_bytes=1000)
    stage.submit(wait_for, gate)
    for number in range(20):
        stage.submit(ran.append, number)
    threading.Timer(0.01, gate.set).start()
    stage.close()
    assert ran == list(range(20))
    with pytest.raises(RuntimeError):
        stage.submit(ran.append, 99)
    with pytest.raises(RuntimeError):
        stage.put(1, ran.append, 99)
