"""The queue of batches: it joins small ones, keeps their order, and says when it has room."""

from __future__ import annotations

import asyncio

import pyarrow as pa
import pytest

from streamlic.api.batch_queue import BatchQueue


def batch(first: int, rows: int, text: str = "") -> pa.RecordBatch:
    numbers = pa.array(range(first, first + rows), pa.int64())
    return pa.RecordBatch.from_pydict({"number": numbers, "text": pa.array([text] * rows)})


async def all_of(queue: BatchQueue) -> list[pa.RecordBatch]:
    queue.end()
    taken = []
    while (one := await queue.take()) is not None:
        taken.append(one)
    return taken


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ([20] * 300, [6000]),
        ([20] * 1000, [8180, 8180, 3640]),
        ([100, 8192, 8192, 50, 50], [100, 8192, 8192, 100]),
        ([0, 5, 0], [5]),
        ([0], []),
        ([9000, 1], [9000, 1]),
    ],
)
async def test_small_batches_are_joined_in_order(sizes: list[int], joined: list[int]) -> None:
    queue = BatchQueue()
    for number, rows in enumerate(sizes):
        queue.put(batch(sum(sizes[:number]), rows))
    taken = await all_of(queue)
    assert [one.num_rows for one in taken] == joined
    numbers = [number for one in taken for number in one.column("number").to_pylist()]
    assert numbers == list(range(sum(sizes)))


async def test_batches_of_many_bytes_are_not_joined() -> None:
    queue = BatchQueue()
    for number in range(5):
        queue.put(batch(number, 1, "x" * 900_000))
    assert [one.num_rows for one in await all_of(queue)] == [2, 2, 1]


async def test_a_full_batch_leaves_at_once_and_a_small_one_soon() -> None:
    queue = BatchQueue()
    taking = asyncio.create_task(queue.take())
    for number in range(4):
        queue.put(batch(2048 * number, 2048))
    first = await taking
    queue.put(batch(8192, 1))
    second = await queue.take()
    assert first
    assert second
    assert (first.num_rows, second.num_rows) == (8192, 1), "although the queue has not ended"


async def test_there_is_room_until_8_mib_are_queued_and_again_when_batches_are_taken() -> None:
    queue = BatchQueue()
    for _ in range(8):
        await queue.room()
        queue.put(batch(0, 1, "x" * (1 << 20)))
    waiting = asyncio.create_task(queue.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await queue.take()
    await waiting


async def test_the_end_wakes_the_consumer() -> None:
    queue = BatchQueue()
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.end()
    assert await taking is None
    assert await queue.take() is None
