"""Licenses as an asynchronous generator: bounded, closable, cancellable, and none twice."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import Any

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from tests.support.cli import ACCOUNT, TOKEN
from tests.support.raw_server import BODY, server, whole
from tests.support.server_thread import WAIT_SECONDS, Endless

BAD_GATEWAY = whole(b"{}", status=b"502 Bad Gateway")
NO_JSON = whole(b'{"result":[}')
AT_ONCE = streamlic.RetryPolicy(backoff_seconds=0)


def client(url: str) -> streamlic.Client:
    return streamlic.Client(
        streamlic.ConnectionSettings(token=TOKEN, base_url=url, rate_limit="none", retry=AT_ONCE)
    )


async def left(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, WAIT_SECONDS), "the connection is still open"


async def test_who_asks_for_no_batch_keeps_the_api_waiting() -> None:
    """Each batch lets only so much more come, as is decoded for it."""
    answer = Endless()
    async with server(answer) as (url, _), client(url) as asking:
        async with aclosing(asking.licenses(ACCOUNT)) as batches:
            await anext(batches)
            await asyncio.sleep(0.5)
            before = answer.written_bytes
            assert before < 40e6
            for _ in range(60):
                await anext(batches)
            await asyncio.sleep(0.5)
            assert before < answer.written_bytes < before + 60e6


async def test_closing_the_generator_closes_the_connection() -> None:
    answer = Endless()
    async with server(answer) as (url, _), client(url) as asking:
        async with aclosing(asking.licenses(ACCOUNT)) as batches:
            async for batch in batches:
                assert batch.num_rows
                break
        await left(answer.is_left)


async def test_cancelling_its_task_closes_the_connection() -> None:
    answer, started = Endless(), asyncio.Event()

    async def read(asking: streamlic.Client) -> None:
        async for _ in asking.licenses(ACCOUNT):
            started.set()

    async with server(answer) as (url, _), client(url) as asking:
        task = asyncio.create_task(read(asking))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left(answer.is_left)


@pytest.mark.parametrize(
    ("fault", "more", "is_whole"),
    [
        ("reset=3000@2", {"limit": 250}, True),
        ("close=15000000", {"ignore_limit": True}, False),
    ],
    ids=["a small page is asked for again", "a large one is not, for it was yielded in part"],
)
async def test_no_row_is_yielded_twice(fault: str, more: dict[str, Any], is_whole: bool) -> None:
    records = 1000 if is_whole else 40_000
    ids: list[str] = []
    raised = None
    async with (
        running_emulator(EmulatorConfig(records=records), faults=(parse_fault(fault),)) as emulator,
        client(emulator.url) as asking,
    ):
        try:
            async for batch in asking.licenses(ACCOUNT, **more):
                ids += batch.column("id").to_pylist()
        except streamlic.TransportError as error:
            raised = error
    assert len(set(ids)) == len(ids) > 0
    assert (len(ids) == records) is is_whole
    assert (raised is None) is is_whole
    assert len(emulator.requests) == (5 if is_whole else 1)


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        ([BAD_GATEWAY, NO_JSON], True),
        ([NO_JSON, BAD_GATEWAY], True),
        ([BAD_GATEWAY] * 4 + [NO_JSON], True),
        ([NO_JSON, BAD_GATEWAY, NO_JSON], False),
        ([NO_JSON, NO_JSON], False),
    ],
)
async def test_a_body_that_is_not_json_is_fetched_again_once_whatever_else_failed(
    answers: list[bytes], *, passes: bool
) -> None:
    async with server(*answers, whole(BODY)) as (url, asked), client(url) as asking:
        if passes:
            batches = [batch async for batch in asking.licenses(ACCOUNT)]
            assert sum(batch.num_rows for batch in batches) == 2
        else:
            with pytest.raises(streamlic.DecodeError):
                await anext(asking.licenses(ACCOUNT))
        assert len(asked) == len(answers) + passes


async def test_a_client_that_was_left_or_not_entered_says_so() -> None:
    async with running_emulator(EmulatorConfig(records=10)) as emulator:
        asking = client(emulator.url)
        async with asking:
            assert len([batch async for batch in asking.licenses(ACCOUNT)]) == 1
        for one in (asking, client(emulator.url)):
            with pytest.raises(streamlic.UsageError, match="async with"):
                await anext(one.licenses(ACCOUNT))
        async with asking:
            assert len([batch async for batch in asking.licenses(ACCOUNT)]) == 1
