"""Two threads and the queues before them: order, bounds, and which call raises which error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence

import pyarrow as pa
import pytest

from streamlic.dataset.writer import PageWriter
from streamlic.decoder import Envelope
from streamlic.errors import DecodeError, PageMismatch, StoreError, TransportError
from streamlic.job.committer import Committer
from streamlic.job.pipeline import pipeline as module
from streamlic.job.pipeline.pipeline import Pipeline

NUMBER_BYTES = 4
BATCH_BYTES = 8
CHUNKS = 16
BATCHES = 3
"""So many of each may wait."""
BAD = 999_999


class FakeDecoder:
    """Reads numbers of four bytes: a batch of each. BAD is an error; ``on_feed`` may wait."""

    engine = "fake"

    def __init__(self, on_feed: Callable[[], object] = lambda: None) -> None:
        self.envelope = Envelope()
        self.pieces = 0
        self.bytes = 0
        self.held_bytes = 0
        self._on_feed = on_feed

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        self.pieces += 1
        self.bytes += len(chunk)
        self._on_feed()
        starts = range(0, len(chunk), NUMBER_BYTES)
        numbers = [int.from_bytes(chunk[at : at + NUMBER_BYTES]) for at in starts]
        if BAD in numbers:
            raise DecodeError("bad", position=0, path="")
        self.envelope.rows += len(numbers)
        return [pa.record_batch({"n": [number]}) for number in numbers]

    def close(self) -> list[pa.RecordBatch]:
        self.envelope.next_cursor = "next"
        return [pa.record_batch({"n": [-1]})]


class FakeCommitter(Committer):
    """Remembers what came; ``on_write`` may wait or fail."""

    def __init__(self, on_write: Callable[[int], object] = lambda _: None) -> None:
        self.seen: list[str | int | None] = []
        self.threads: set[str] = set()
        self._on_write = on_write

    def open_page(self, account: str | None) -> FakeWriter:
        self.seen += ["begin", account]
        return FakeWriter(self)

    def take_small(
        self, batch: pa.RecordBatch | None, pages: Sequence[tuple[str | None, Envelope]]
    ) -> None:
        self.threads.add(threading.current_thread().name)
        for account, envelope in pages:
            self.seen += ["whole", account, envelope.rows]
        for number in batch["n"].to_pylist() if batch else []:
            self._on_write(number)
            self.seen.append(number)

    def on_end(self) -> None:
        """Let a page end."""

    def write(self, batch: pa.RecordBatch) -> None:
        self.threads.add(threading.current_thread().name)
        [number] = batch["n"].to_pylist()
        self._on_write(number)
        self.seen.append(number)

    def end_page(self, account: str | None, envelope: Envelope) -> None:
        assert account
        assert envelope.next_cursor == "next"
        self.seen.append("end")


class FakeWriter(PageWriter):
    """The writer of a page of FakeCommitter."""

    def __init__(self, pages: FakeCommitter) -> None:
        self._pages = pages

    def write(self, batch: pa.RecordBatch) -> None:
        self._pages.write(batch)

    def end(self) -> None:
        self._pages.on_end()

    def abandon(self) -> None:
        self._pages.seen.append("abandon")


async def source(numbers: Iterable[int]) -> AsyncGenerator[bytes, None]:
    for number in numbers:
        yield number.to_bytes(NUMBER_BYTES)


def right(_: Envelope) -> None:
    """Find nothing wrong with a page."""


@pytest.fixture
async def pipelines() -> AsyncIterator[Callable[[FakeCommitter], Pipeline]]:
    """Open pipelines; at the end all are closed and no thread of theirs is left."""
    opened: list[Pipeline] = []

    def open_one(pages: FakeCommitter) -> Pipeline:
        opened.append(
            Pipeline(pages, chunk_bytes=CHUNKS * NUMBER_BYTES, batch_bytes=BATCHES * BATCH_BYTES)
        )
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("streamlic-")]


@pytest.fixture(autouse=True)
def every_chunk_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand chunks on as soon as the decode thread is at leisure, however small."""
    monkeypatch.setattr(module, "_SOON_BYTES", 1)


Opener = Callable[[FakeCommitter], Pipeline]


async def settled(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # threads set no asyncio.Event
            await asyncio.sleep(0.001)


async def test_batches_keep_their_order_through_pages(pipelines: Opener) -> None:
    pages = FakeCommitter()
    pipeline = pipelines(pages)
    for account in ("a", "b"):
        envelope = await pipeline.take_page(account, FakeDecoder, source(range(500)), right)
        assert envelope.rows == 500
    await pipeline.encode(lambda: pages.seen.append("after"))
    page = [*range(500), -1, "end"]
    assert pages.seen == ["begin", "a", *page, "begin", "b", *page, "after"]
    assert len(pages.threads) == 1


async def test_a_slow_encoder_is_waited_for_by_the_source(pipelines: Opener) -> None:
    """What was read, and not encoded, is bounded however long the body."""
    gate, read = threading.Event(), 0
    pages = FakeCommitter(lambda _: gate.wait(5))

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal read
        while read < 100_000:
            read += 1
            yield read.to_bytes(NUMBER_BYTES)

    task = asyncio.create_task(pipelines(pages).take_page("a", FakeDecoder, endless(), right))
    await settled(lambda: read > BATCHES)
    for _ in range(50):  # It could read more, and does not.
        await asyncio.sleep(0.002)
    held = read
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held <= 2 * CHUNKS + BATCHES + 3, "two queues of chunks, the batches, one each in hand"


async def test_decoding_may_be_ahead_by_as_many_batches_as_may_wait(pipelines: Opener) -> None:
    """And by the one in hand; also when many have passed already."""
    gate, decoder = threading.Event(), FakeDecoder()
    pipeline = pipelines(FakeCommitter(lambda number: number >= 50 and gate.wait(5)))
    pipeline.chunk_bytes = NUMBER_BYTES  # So that no two are joined.
    task = asyncio.create_task(pipeline.take_page("a", lambda: decoder, source(range(200)), right))
    await settled(lambda: decoder.pieces > 50 + BATCHES)
    await asyncio.sleep(0.05)
    assert decoder.pieces == 50 + BATCHES + 1
    gate.set()
    await task


async def test_small_chunks_are_decoded_together(
    pipelines: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are, even though the decode thread is at leisure whenever one comes."""
    monkeypatch.setattr(module, "_SOON_BYTES", 16 * NUMBER_BYTES)
    monkeypatch.setattr(module, "_SOON_SECONDS", 1000)

    async def slow() -> AsyncGenerator[bytes, None]:
        async for chunk in source(range(64)):
            await asyncio.sleep(0.001)
            yield chunk

    decoder = FakeDecoder()
    await pipelines(FakeCommitter()).take_page("a", lambda: decoder, slow(), right)
    assert decoder.pieces == 4


async def test_a_drip_is_decoded_as_it_comes(
    pipelines: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad body need not become large before it is refused."""
    monkeypatch.setattr(module, "_SOON_BYTES", 1000)
    monkeypatch.setattr(module, "_SOON_SECONDS", 0.01)

    async def drip() -> AsyncGenerator[bytes, None]:
        while True:
            await asyncio.sleep(0.02)
            yield BAD.to_bytes(NUMBER_BYTES)

    async with asyncio.timeout(10):
        with pytest.raises(DecodeError):
            await pipelines(FakeCommitter()).take_page("a", FakeDecoder, drip(), right)


@pytest.mark.parametrize("refuses", [False, True], ids=["bad body", "refused when decoded"])
async def test_a_page_that_fails_is_not_ended_and_the_next_one_starts_clean(
    pipelines: Opener, refuses: bool
) -> None:
    """The encoder is late when the page fails, and still busy with it when the next begins."""
    gate = threading.Event()
    pages = FakeCommitter(lambda number: number == 0 and gate.wait(5))
    pipeline = pipelines(pages)

    def check(_: Envelope) -> None:
        raise PageMismatch("refused")

    pipeline.chunk_bytes = NUMBER_BYTES  # So that no two are joined.
    first = source([0, 1] if refuses else [0, 1, BAD])
    with pytest.raises(PageMismatch if refuses else DecodeError):
        await pipeline.take_page("a", FakeDecoder, first, check)
    assert pages.seen[:3] == ["begin", "a"], "the encoder is at the first batch yet"
    again = asyncio.create_task(pipeline.take_page("a", FakeDecoder, source([4, 5]), right))
    await asyncio.sleep(0.02)
    gate.set()
    await again
    await pipeline.encode(lambda: None)
    assert pages.seen == ["begin", "a", 0, "abandon", "begin", "a", 4, 5, -1, "end"]
    assert pipeline.failure is None


async def test_bytes_that_came_before_an_error_come_first(pipelines: Opener) -> None:
    async def cut(number: int) -> AsyncGenerator[bytes, None]:
        for one in (1, 2, number):
            yield one.to_bytes(NUMBER_BYTES)
        raise TransportError("cut")

    pages = FakeCommitter()
    pipeline = pipelines(pages)
    with pytest.raises(DecodeError):
        await pipeline.take_page("a", FakeDecoder, cut(BAD), right)
    with pytest.raises(TransportError, match="cut"):
        await pipeline.take_page("a", FakeDecoder, cut(3), right)
    assert "end" not in pages.seen


def failing_at(at: int, gate: threading.Event | None = None) -> Callable[[int], None]:
    def write(number: int) -> None:
        if gate:
            gate.wait(5)
        if number >= at:
            raise StoreError(f"no room for {number}")

    return write


async def test_a_failure_to_encode_stops_a_decoder_that_is_ahead(pipelines: Opener) -> None:
    """The page's call raises, nothing more is encoded, and every later call raises too."""
    pages, decoder = FakeCommitter(failing_at(3)), FakeDecoder()
    pipeline = pipelines(pages)
    with pytest.raises(StoreError, match="no room for 3"):
        await pipeline.take_page("a", lambda: decoder, source(range(100_000)), right)
    assert decoder.bytes < 1000
    assert pages.seen == ["begin", "a", 0, 1, 2]
    with pytest.raises(StoreError, match="no room for 3"):
        await pipeline.take_page("a", FakeDecoder, source([0]), right)
    with pytest.raises(StoreError, match="no room for 3"):
        await pipeline.encode(lambda: pages.seen.append("more"))
    assert pages.seen == ["begin", "a", 0, 1, 2]
    assert isinstance(pipeline.failure, StoreError)


async def test_a_failure_after_a_page_was_taken_is_raised_by_the_next_call(
    pipelines: Opener,
) -> None:
    gate = threading.Event()
    pages = FakeCommitter(failing_at(-1, gate))
    pipeline = pipelines(pages)
    await pipeline.take_page("a", FakeDecoder, source([]), right)
    gate.set()
    with pytest.raises(StoreError, match="no room for -1"):
        await pipeline.encode(lambda: pages.seen.append("promised"))
    assert pages.seen == ["begin", "a"]


@pytest.mark.parametrize("encoder_is_first", [True, False])
async def test_the_first_error_counts(pipelines: Opener, encoder_is_first: bool) -> None:
    gate = threading.Event()
    pages = FakeCommitter(failing_at(0, gate))
    pipeline = pipelines(pages)

    def in_order() -> None:
        if encoder_is_first and decoder.pieces == 2:
            gate.set()
            while pipeline.failure is None:
                pass

    pipeline.chunk_bytes = NUMBER_BYTES  # So that no two are joined.
    decoder = FakeDecoder(in_order)
    with pytest.raises(StoreError if encoder_is_first else DecodeError):
        await pipeline.take_page("a", lambda: decoder, source([0, BAD]), right)
    gate.set()


@pytest.mark.parametrize("stage", ["source", "decoder", "encoder", "queues", "end"])
async def test_cancelling_leaves_nothing_hanging_and_the_page_unended(
    pipelines: Opener, stage: str
) -> None:
    """The page before it, which is whole, still comes to its end."""
    gate = threading.Event()
    decoding: list[bool] = []

    def decode() -> None:
        decoding.append(True)
        if stage == "decoder":
            gate.wait(5)

    pages = FakeCommitter(lambda number: number > 100 and gate.wait(5))
    pipeline = pipelines(pages)
    await pipeline.take_page("a", FakeDecoder, source([1, 2]), right)
    before = ["begin", "a", 1, 2, -1, "end"]

    async def numbers() -> AsyncGenerator[bytes, None]:
        for number in range(101, {"queues": 100_000, "source": 101}.get(stage, 101 + BATCHES)):
            yield number.to_bytes(NUMBER_BYTES)
        if stage != "end":
            await asyncio.Event().wait()

    task = asyncio.create_task(
        pipeline.take_page("b", lambda: FakeDecoder(decode), numbers(), right)
    )
    await settled(lambda: stage == "source" or bool(decoding))
    await asyncio.sleep(0.05)
    if stage == "end":  # All is decoded, and the end waits for the encoder.
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    threading.Timer(0.05, gate.set).start()
    pipeline.close()
    assert pages.seen[: len(before)] == before
    assert "end" not in pages.seen[len(before) :]
    assert pipeline.failure is None


async def test_whole_pages_are_encoded_before_the_threads_end(pipelines: Opener) -> None:
    gate = threading.Event()
    pages = FakeCommitter(lambda _: gate.wait(5))
    pipeline = pipelines(pages)
    for account in ("a", "b"):
        await pipeline.take_page(account, FakeDecoder, source([]), right)
    threading.Timer(0.05, gate.set).start()
    pipeline.close()
    assert pages.seen == ["begin", "a", -1, "end", "begin", "b", -1, "end"]


async def test_pages_without_rows_wait_for_a_slow_encoder_too(pipelines: Opener) -> None:
    class Empty(FakeDecoder):
        def close(self) -> list[pa.RecordBatch]:
            super().close()
            return []

    class Stuck(FakeCommitter):
        def on_end(self) -> None:
            gate.wait(5)

    gate, taken = threading.Event(), 0
    pipeline = pipelines(Stuck())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            while taken < 1000:
                await pipeline.take_page("a", Empty, source([]), right)
                taken += 1
    gate.set()
    assert 2 < taken < 100


async def test_a_large_record_waits_until_that_of_another_page_is_encoded() -> None:
    """Of large records one at a time is held, in columns or in the encoder."""
    first_may_encode = threading.Event()
    log: list[str] = []

    class Growing(FakeDecoder):
        """Holds what is fed, until the end."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
            self.held_bytes += len(chunk)
            log.append(f"{self.name} holds {self.held_bytes // NUMBER_BYTES}")
            return []

    def on_write(_: int) -> None:
        log.append("encoding")
        first_may_encode.wait()
        log.append("encoded")

    pages = FakeCommitter(on_write)
    pipeline = Pipeline(
        pages,
        chunk_bytes=1,
        batch_bytes=10_000,
        small_body_bytes=0,
        max_large_pages=2,
        record_bytes=2 * NUMBER_BYTES,
    )
    blocked = asyncio.Event()

    async def endless_start() -> AsyncGenerator[bytes, None]:
        for number in range(3):
            yield number.to_bytes(NUMBER_BYTES)
        blocked.set()
        for number in range(3):
            yield number.to_bytes(NUMBER_BYTES)

    try:
        first = await pipeline.take_page("a", lambda: Growing("a"), source(range(6)), right)
        assert first.next_cursor == "next"
        second = asyncio.create_task(
            pipeline.take_page("b", lambda: Growing("b"), endless_start(), right)
        )
        await blocked.wait()
        await asyncio.wrap_future(pipeline.decode_stage.submit(lambda: None))
        assert max(int(line[8:]) for line in log if line.startswith("b holds")) <= 3
        first_may_encode.set()
        await second
    finally:
        first_may_encode.set()
        pipeline.close()
    late = next(at for at, line in enumerate(log) if line == "b holds 4")
    assert log.index("encoded") < late
    assert pages.seen.count("end") == 2
