"""Licenses as a pyarrow.RecordBatchReader, for any Arrow consumer: synchronous, lazy, bounded.

Rules:
1. No request is sent before the first batch is read. Then a thread with an event loop of its own
   decodes up to ``_BATCHES_AHEAD`` batches ahead, in addition to those that the client holds.
2. The reader raises the original exception. So Arrow reads the batches as an IPC stream from a
   Python object: Arrow passes that object's exceptions through, but not those of a C stream, and
   closing the reader closes the object, which a reader made by ``from_batches`` does not do. This
   costs one copy of each batch.
3. After an error, KeyboardInterrupt too, nothing more is read: Arrow may have read half a message.
4. The thread ends with the listing, an error, ``close``, or when the last reference to the stream
   is dropped, in Python or in an Arrow consumer.
5. Several threads may read: each batch goes to one of them, the end and an error to all. Arrow's
   own reader is not thread-safe, so reads take a lock; ``close`` does not.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from streamlic.api.client import Client, schema_of
from streamlic.api.sync import CrossThreadTask
from streamlic.dataset.lake import ACCOUNT_COLUMN
from streamlic.decoder import open_decoder
from streamlic.errors import UsageError
from streamlic.truto.request import requests_of
from streamlic.truto.settings import ConnectionSettings

_BATCHES_AHEAD = 2
_CLOSED = "the reader is closed: call read_licenses for another"


def read_licenses(
    account: str | Iterable[str],
    *,
    connection: ConnectionSettings | None = None,
    engine: str = "auto",
    rows_at: str = "result",
    strict: bool = False,
    **parameters: Any,
) -> pa.RecordBatchReader:
    """Return a reader of the licenses of one account or several, as they arrive from the API.

    The columns are ``integrated_account_id`` and those of LICENSE_SCHEMA; with
    ``response_format="raw"`` those of RAW_SCHEMA. Accounts are read one after the other, in the
    order given. ``parameters`` are those of LicensesRequest, and ``connection`` is as for a Client.

    Any Arrow consumer can read it, also while an event loop runs, which it blocks:

        with streamlic.read_licenses("62f44730-dd91-461e-bd6a-aedd9e0ad79d") as reader:
            print(duckdb.sql("select name, count(*) from reader group by 1"))

    The first request is sent when the first batch is read. From then on at most 8 MiB of a page and
    two batches are in memory (a batch has at most 8,192 rows, or 2 MiB of JSON): while nothing
    reads the batches, nothing reads from the API.

    Every row is read once, as long as the API answers a cursor the same way twice. A page whose
    batches take up to 8 MiB is read when it is complete, and requested again if it fails. A larger
    page is read as it arrives: if it fails, the error is raised after some of its rows were read.
    So the rows read before an error are not the whole listing, and may end within a page; only
    ``export`` can resume.

    Raises UsageError at once for an invalid request. Reading raises the StreamlicError that ended
    the listing, and raises it again each time; pyarrow and polars pass it through, DuckDB raises an
    error of its own that quotes it. ``close``, the end of a ``with`` block, and dropping the last
    reference each end the thread and the connection.
    """
    requests = requests_of(account, parameters)
    schema = schema_of(requests[0])
    open_decoder(schema, engine=engine, rows_at=rows_at, strict=strict)
    client = Client(connection, engine=engine)
    schema = pa.schema([pa.field(ACCOUNT_COLUMN, pa.string()), *schema])

    async def batches() -> AsyncGenerator[pa.RecordBatch, None]:
        async with client:
            for request in requests:
                name = pa.scalar(request.account, pa.string())
                listed = client.licenses(
                    request.account, rows_at=rows_at, strict=strict, **parameters
                )
                async with aclosing(listed):
                    async for batch in listed:
                        columns = [pa.repeat(name, batch.num_rows), *batch.columns]
                        yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return _Reader(_Stream(schema, _Source(batches)))


class _Reader(pa.RecordBatchStreamReader):  # type: ignore[misc]  # pyarrow has no types
    """A reader that closes its stream when it is closed."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(stream)
        self._stream = stream
        self._turn = threading.Lock()

    def read_next_batch(self) -> pa.RecordBatch:
        """Return the next batch; StopIteration at the end. Iterating comes here, too."""
        with self._turn:
            return super().read_next_batch()

    def read_next_batch_with_custom_metadata(self) -> Any:
        """Return the next batch, and metadata that it does not have."""
        with self._turn:
            return super().read_next_batch_with_custom_metadata()

    def read_all(self) -> pa.Table:
        """Return all batches that are left as one table."""
        with self._turn:
            return super().read_all()

    def close(self) -> None:
        """Stop reading, end the thread and the connection, and wait for that."""
        self._stream.close()


class _Stream:
    """An Arrow IPC stream, as a file that Arrow reads: the schema, and a message for each batch."""

    def __init__(self, schema: pa.Schema, source: _Source) -> None:
        self._message = schema.serialize()
        self._at = 0
        self._source = source
        self._failure: BaseException | None = None
        self.closed = False
        weakref.finalize(self, source.stop)

    def read_buffer(self, size: int) -> pa.Buffer:
        """Return the next bytes, up to ``size`` and to the end of a message; none at the end."""
        if self._failure:
            raise self._failure
        if self.closed:
            raise UsageError(_CLOSED)
        try:
            if self._at == self._message.size:
                batch = self._source.take()
                self._message = pa.py_buffer(b"") if batch is None else batch.serialize()
                self._at = 0
            piece = self._message.slice(self._at, min(size, self._message.size - self._at))
            self._at += piece.size
        except BaseException as error:
            self._failure = error
            self._source.stop()
            raise
        return piece

    def read(self, size: int) -> bytes:
        """Return what ``read_buffer`` does, as bytes."""
        data: bytes = self.read_buffer(size).to_pybytes()
        return data

    def close(self) -> None:
        """End the source, and wait for its end."""
        self.closed = True
        self._source.stop()
        self._source.join()


class _Source:
    """Takes batches from an asynchronous generator that runs in a thread of its own."""

    def __init__(self, batches: Callable[[], AsyncGenerator[pa.RecordBatch, None]]) -> None:
        self._batches = batches
        self._arrived: SimpleQueue[pa.RecordBatch | BaseException | None] = SimpleQueue()
        self._room = asyncio.Semaphore(_BATCHES_AHEAD)
        self._is_over = False
        self._task = CrossThreadTask()
        self._thread: threading.Thread | None = None

    def take(self) -> pa.RecordBatch | None:
        """Wait for the next batch; None at the end. Raises the error that ended it."""
        if self._is_over:
            return None
        if self._thread is None:
            # A daemon, so that a process can exit in the middle of a listing.
            self._thread = threading.Thread(target=self._run, name="streamlic-read", daemon=True)
            self._thread.start()
        arrived = self._arrived.get()
        if isinstance(arrived, BaseException):
            raise arrived
        if arrived is None:
            self._is_over = True
        else:
            self._task.call(self._room.release)
        return arrived

    def stop(self) -> None:
        """Tell the thread to end; a thread that waits for a batch gets UsageError."""
        if not self._task.is_stopped:
            self._arrived.put(UsageError(_CLOSED))
            self._task.stop()

    def join(self) -> None:
        """Wait for the thread's end, unless this is it."""
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._fill())
        except BaseException as error:  # noqa: BLE001  # take() raises it
            self._arrived.put(error)
        else:
            self._arrived.put(None)

    async def _fill(self) -> None:
        self._task.begin()
        async with aclosing(self._batches()) as batches:
            await self._room.acquire()
            async for batch in batches:
                self._arrived.put(batch)
                await self._room.acquire()
