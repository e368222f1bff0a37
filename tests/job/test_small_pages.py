"""Small pages of many accounts share the threads, fail alone, and wait for no large page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from streamlic.errors import DecodeError, PageMismatch, StoreError
from streamlic.job.pipeline import pipeline as pipeline_module
from streamlic.job.pipeline import small_pages as module
from streamlic.job.pipeline.pipeline import Pipeline
from tests.job.test_pipeline import (
    BAD,
    NUMBER_BYTES,
    FakeCommitter,
    FakeDecoder,
    right,
    settled,
    source,
)


@contextmanager
def opened(pages: FakeCommitter, max_large_pages: int = 1) -> Iterator[Pipeline]:
    """Open a pipeline to which ten numbers are small."""
    pipeline = Pipeline(
        pages,
        chunk_bytes=1000,
        batch_bytes=1000,
        small_body_bytes=10 * NUMBER_BYTES,
        max_large_pages=max_large_pages,
    )
    try:
        yield pipeline
    finally:
        pipeline.close()


class Gated:
    """Opens decoders that wait for a gate; counts them."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.count = 0

    def __call__(self) -> FakeDecoder:
        self.count += 1
        self.gate.wait(5)
        return FakeDecoder()


async def test_what_comes_while_others_are_decoded_passes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_PAGES", 4)
    pages, opens, steps = FakeCommitter(), Gated(), list[int]()
    take_small = pages.take_small

    def counting(batch: Any, of: Any) -> None:
        steps.append(len(of))
        take_small(batch, of)

    monkeypatch.setattr(pages, "take_small", counting)
    with opened(pages) as pipeline:
        tasks = [
            asyncio.create_task(pipeline.take_page(f"{n}", opens, source([n, n]), right))
            for n in range(10)
        ]
        await settled(lambda: opens.count == 1)
        opens.gate.set()
        envelopes = await asyncio.gather(*tasks)
        await pipeline.encode(lambda: None)
    assert [envelope.rows for envelope in envelopes] == [2] * 10
    assert sum(steps) == 10
    assert max(steps) == 4
    accounts = [one for one in pages.seen if isinstance(one, str) and one != "whole"]
    assert accounts == [f"{n}" for n in range(10)]


async def test_rows_of_many_bytes_pass_before_all_bodies_that_wait_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each page has three rows of eight bytes: three pages pass the bound of 60."""
    monkeypatch.setattr(module, "_MAX_BYTES", 60)
    pages, opens, steps = FakeCommitter(), Gated(), list[tuple[int, int]]()
    take_small = pages.take_small

    def noting(batch: Any, of: Any) -> None:
        steps.append((batch.num_rows, len(of)))
        take_small(batch, of)

    monkeypatch.setattr(pages, "take_small", noting)
    with opened(pages) as pipeline:
        tasks = [
            asyncio.create_task(pipeline.take_page(f"{n}", opens, source([n, n]), right))
            for n in range(9)
        ]
        await settled(lambda: opens.count == 1)
        opens.gate.set()
        await asyncio.gather(*tasks)
        await pipeline.encode(lambda: None)
    assert steps == [(3, 1), (9, 3), (9, 3), (6, 2)]


async def test_a_bad_body_fails_alone() -> None:
    pages, opens = FakeCommitter(), Gated()

    def wrong(_: object) -> None:
        raise PageMismatch("refused")

    with opened(pages) as pipeline:
        given = [([1], right), ([BAD], right), ([2], wrong), ([3], right)]
        tasks = [
            asyncio.create_task(pipeline.take_page(f"{n}", opens, source(numbers), check))
            for n, (numbers, check) in enumerate(given)
        ]
        await settled(lambda: opens.count == 1)
        opens.gate.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await pipeline.encode(lambda: None)
    assert isinstance(ended[1], DecodeError)
    assert isinstance(ended[2], PageMismatch)
    assert "1" not in pages.seen
    assert "2" not in pages.seen
    rows = [one for one in pages.seen if one in (1, 2, 3, BAD) and isinstance(one, int)]
    assert [one for one in rows if one != 1][-1:] == [3]
    assert BAD not in rows
    assert 2 not in rows


async def test_small_pages_wait_for_no_large_one_and_large_ones_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go, started = asyncio.Event(), list[str]()

    async def endless() -> AsyncGenerator[bytes, None]:
        async for chunk in source(range(100)):
            yield chunk
        await let_go.wait()

    async def take(name: str) -> None:
        def on_large() -> None:
            started.append(name)

        await pipeline.take_page(name, FakeDecoder, endless(), right, on_large)

    monkeypatch.setattr(pipeline_module, "_SOON_BYTES", 1)
    pages = FakeCommitter()
    with opened(pages, max_large_pages=2) as pipeline:
        large = [asyncio.create_task(take(name)) for name in "abc"]
        await settled(lambda: pages.seen.count("begin") == 2)
        for number in range(5):
            await pipeline.take_page("small", FakeDecoder, source([number]), right)
        assert started == ["a", "b", "c"]
        assert "c" not in pages.seen, "the third of two waits"
        let_go.set()
        await asyncio.gather(*large)
        await pipeline.encode(lambda: None)
    assert pages.seen.count("end") == 3


async def test_a_cancelled_page_that_was_not_decoded_is_taken_nowhere() -> None:
    pages, opens = FakeCommitter(), Gated()
    with opened(pages) as pipeline:
        first = asyncio.create_task(pipeline.take_page("a", opens, source([1]), right))
        await settled(lambda: opens.count == 1)
        second = asyncio.create_task(pipeline.take_page("b", opens, source([2]), right))
        await asyncio.sleep(0.02)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        opens.gate.set()
        await first
        await pipeline.take_page("c", opens, source([3]), right)
        await pipeline.encode(lambda: None)
    assert "b" not in pages.seen
    assert opens.count == 2


async def test_a_failure_to_encode_is_raised_for_every_later_page() -> None:
    def no_room(_: int) -> None:
        raise StoreError("no room")

    pages = FakeCommitter(no_room)
    with opened(pages) as pipeline:
        await pipeline.take_page("a", FakeDecoder, source([1]), right)
        await settled(lambda: pipeline.failure is not None)
        with pytest.raises(StoreError, match="no room"):
            await pipeline.take_page("b", FakeDecoder, source([2]), right)
        with pytest.raises(StoreError, match="no room"):
            await pipeline.encode(lambda: None)


async def test_a_page_without_rows_is_whole_too() -> None:
    class Empty(FakeDecoder):
        def close(self) -> list[pa.RecordBatch]:
            super().close()
            return []

    pages = FakeCommitter()
    with opened(pages) as pipeline:
        envelope = await pipeline.take_page("a", Empty, source([]), right)
        await pipeline.encode(lambda: None)
    assert envelope.rows == 0
    assert pages.seen == ["whole", "a", 0]
