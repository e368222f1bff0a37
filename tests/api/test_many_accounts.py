"""Licenses of many accounts, read at once: in order, once, bounded, and what failures do."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pytest

import streamlic
from streamlic.emulator import Emulator, EmulatorConfig, emulated_accounts
from tests.support.raw_server import BODY, Asked, server, whole
from tests.support.reading import SOON, ids, read
from tests.support.server_thread import (
    WAIT_SECONDS,
    Endless,
    in_a_thread,
    served,
    threads_of_ours,
)

ACCOUNTS = emulated_accounts(40, records=25, sizes="power-law")
NAMED = list(ACCOUNTS)


@contextmanager
def answered(*answers: object) -> Iterator[tuple[str, Asked]]:
    with in_a_thread(lambda: server(*answers)) as opened:  # type: ignore[arg-type]
        yield opened


def rows_of(batches: list[pa.RecordBatch]) -> dict[str, list[str]]:
    """Return the ids that were read, by account."""
    found = defaultdict(list)
    for batch in batches:
        names = batch.column("integrated_account_id").to_pylist()
        for name, id_ in zip(names, batch.column("id").to_pylist(), strict=True):
            found[name].append(id_)
    return found


def until_error(
    reader: streamlic.LicensesReader,
) -> tuple[dict[str, list[str]], streamlic.StreamlicError]:
    """Read until an error is raised; return the rows before it, and the error."""
    batches: list[pa.RecordBatch] = []
    try:
        batches.extend(iter(reader))
    except streamlic.StreamlicError as error:
        return rows_of(batches), error
    raise AssertionError("no error was raised")


class Meeting:
    """Answers that wait until so many requests are in flight, and count how many are."""

    def __init__(self, parties: int) -> None:
        self._barrier = asyncio.Barrier(parties)
        self._in_flight = 0
        self.most = 0

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        self._in_flight += 1
        self.most = max(self.most, self._in_flight)
        async with asyncio.timeout(WAIT_SECONDS):
            await self._barrier.wait()
        self._in_flight -= 1
        writer.write(whole(BODY))


@pytest.mark.parametrize("concurrency", [1, 5])
def test_as_many_pages_are_in_flight_as_the_caller_allows(concurrency: int) -> None:
    meeting = Meeting(concurrency)
    with answered(meeting) as (url, asked):
        table = read(url, NAMED[:20], concurrency=concurrency).read_all()
    assert table.num_rows == 40
    assert meeting.most == concurrency
    assert len(asked) == 20


def test_without_a_number_as_many_are_in_flight_as_in_an_export() -> None:
    meeting = Meeting(20)
    with answered(meeting) as (url, _):
        assert read(url, NAMED[:20]).read_all().num_rows == 40
    assert meeting.most == 20


@pytest.mark.parametrize("faults", [(), ("reset=3000@20%", "status=503@10%", "cut-json=2000@10%")])
def test_each_account_is_read_once_and_its_pages_in_order(faults: tuple[str, ...]) -> None:
    with served(EmulatorConfig(accounts=ACCOUNTS), *faults) as emulator:
        with read(emulator.url, NAMED, limit=20) as reader:
            batches = list(reader)
            accounts = reader.accounts
    found = rows_of(batches)
    assert set(found) == set(NAMED)
    for account, one in ACCOUNTS.items():
        assert found[account] == ids(account, one.records)
    assert all(batch.num_rows <= 8192 for batch in batches)
    assert len(batches) < len(emulator.requests)
    assert set(accounts["outcome"].to_pylist()) == {"read"}
    assert threads_of_ours() == []


def test_while_nothing_is_read_the_api_waits() -> None:
    """Ten bodies without an end: what the sockets hold, and the batches up to the bound."""
    answer = Endless()
    with answered(answer) as (url, asked):
        with read(url, NAMED[:10]) as reader:
            reader.read_next_batch()
            stopped_at = standing_still(answer)
            assert len(asked) == 10
            assert stopped_at < 120e6
            for _ in range(60):
                reader.read_next_batch()
            assert standing_still(answer) > stopped_at
        gc.collect()
    assert threads_of_ours() == []


def standing_still(answer: Endless) -> int:
    """Return how many bytes were written when for a while no more are."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        if seen != answer.written_bytes:
            seen, since = answer.written_bytes, time.monotonic()
        time.sleep(0.02)
    return seen


@contextmanager
def with_failing(*failing: str) -> Iterator[Emulator]:
    """Serve the accounts, some of which have to be connected again."""
    accounts = dict(ACCOUNTS)
    for account in failing:
        accounts[account] = replace(accounts[account], status="needs_reauth")
    with served(EmulatorConfig(accounts=accounts)) as emulator:
        yield emulator


def test_an_account_that_fails_is_raised_after_the_rows_of_all_others() -> None:
    first, second, *others = NAMED
    with with_failing(first, second) as emulator:
        reader = read(emulator.url, NAMED)
        found, error = until_error(reader)
    assert found == {account: ids(account, ACCOUNTS[account].records) for account in others}
    assert isinstance(error, streamlic.AccountNeedsReauth)
    assert first in str(error) or second in str(error)
    assert error.__notes__ == ["1 more of 40 accounts failed"]
    failed = reader.accounts.filter(pa.compute.field("outcome") == "failed").to_pylist()
    assert {one["integrated_account_id"] for one in failed} == {first, second}
    assert {(one["error_kind"], one["error_retryable"]) for one in failed} == {
        ("AccountNeedsReauth", False)
    }
    assert error.described() in {one["error_message"] for one in failed}
    assert len(reader.accounts) == 40


def test_failed_accounts_can_be_skipped() -> None:
    first, *others = NAMED
    with with_failing(first) as emulator:
        with read(emulator.url, NAMED, skip_failed=True) as reader:
            table = reader.read_all()
            outcomes = reader.accounts.select(["integrated_account_id", "outcome"]).to_pylist()
    assert set(table["integrated_account_id"].to_pylist()) == set(others)
    assert {one["integrated_account_id"]: one["outcome"] for one in outcomes} == {
        first: "failed",
        **dict.fromkeys(others, "read"),
    }


def test_an_error_that_concerns_all_accounts_ends_the_listing_with_what_was_read() -> None:
    refused = b'{"statusCode":401,"error":"Unauthorized","message":"no"}'
    with answered(whole(BODY), whole(refused, status=b"401 Unauthorized")) as (url, asked):
        reader = read(url, NAMED, concurrency=1, skip_failed=True)
        found, error = until_error(reader)
        requests = len(asked)
    assert found == {NAMED[0]: ["a", "b"]}
    assert isinstance(error, streamlic.AuthenticationError)
    assert requests < 5
    [row] = reader.accounts.to_pylist()
    assert (row["integrated_account_id"], row["outcome"]) == (NAMED[0], "read")


def test_a_refused_cursor_does_not_advise_to_restart_a_run() -> None:
    """There is none, unlike in an export."""
    first = whole(b'{"result":[{"id":"a"}],"next_cursor":"2"}')
    refused = b'{"statusCode":400,"error":"Bad Request","message":"the cursor has expired"}'
    with answered(first, whole(refused, status=b"400 Bad Request")) as (url, _):
        found, error = until_error(read(url, NAMED[0]))
    assert found == {NAMED[0]: ["a"]}
    assert "the cursor has expired" in str(error)
    assert "restart" not in str(error)


def test_a_large_page_that_fails_ends_its_account_alone_and_doubles_nothing() -> None:
    records = 40_000
    accounts = {**ACCOUNTS, NAMED[0]: replace(ACCOUNTS[NAMED[0]], records=records)}
    with served(EmulatorConfig(accounts=accounts), "close=15000000@1") as emulator:
        reader = read(emulator.url, NAMED, ignore_limit=True, concurrency=1)
        found, error = until_error(reader)
        requests = len(emulator.requests)
    assert isinstance(error, streamlic.TransportError)
    partial = found.pop(NAMED[0])
    assert 0 < len(partial) < records
    assert partial == ids(NAMED[0], len(partial))
    assert found == {one: ids(one, accounts[one].records) for one in NAMED[1:]}
    assert requests == len(NAMED), "no page was requested again"
    rows = {
        one["integrated_account_id"]: one["rows"]
        for one in reader.accounts.to_pylist()
        if one["outcome"] == "failed"
    }
    assert rows == {NAMED[0]: len(partial)}


def test_large_pages_of_many_accounts_are_retried_until_they_are_whole() -> None:
    accounts = {one: replace(ACCOUNTS[one], records=2000) for one in NAMED[:8]}
    with served(EmulatorConfig(accounts=accounts), "reset=600000@1-6") as emulator:
        table = read(emulator.url, list(accounts), ignore_limit=True, retry=SOON).read_all()
        assert len(emulator.requests) == 8 + 6
    assert table.num_rows == 16_000
    assert rows_of(table.to_batches()) == {one: ids(one, 2000) for one in accounts}


def test_the_accounts_say_what_became_of_each() -> None:
    one = NAMED[0]
    config = EmulatorConfig(accounts={one: replace(ACCOUNTS[one], records=50)}, is_partial=True)
    with served(config) as emulator, read(emulator.url, one, limit=20) as reader:
        reader.read_next_batch()
        with pytest.raises(streamlic.UsageError, match="when the last batch was read"):
            _ = reader.accounts
        reader.read_all()
        [row] = reader.accounts.to_pylist()
    assert row.pop("started_at") <= row.pop("ended_at")
    assert row.pop("rescued") >= 0
    assert row == {
        "integrated_account_id": one,
        **dict.fromkeys(("integration", "tenant_id", "status", "is_blocked")),
        "outcome": "read",
        "reason": None,
        "rows": 50,
        "pages": 3,
        "partial_response": True,
        **dict.fromkeys(("error_kind", "error_message", "error_retryable")),
    }


def test_after_closing_the_accounts_are_those_that_were_read_to_their_end() -> None:
    meeting = Meeting(1)
    with answered(meeting) as (url, _):
        reader = read(url, NAMED[:3])
        reader.close()
        with pytest.raises(streamlic.UsageError):
            _ = reader.accounts
    small = emulated_accounts(40, records=25)
    with served(EmulatorConfig(accounts=small), "stall=600:3000@2") as emulator:
        reader = read(emulator.url, NAMED[:2], concurrency=1)
        reader.read_next_batch()
        reader.close()
        assert reader.accounts["integrated_account_id"].to_pylist() == NAMED[:1]
