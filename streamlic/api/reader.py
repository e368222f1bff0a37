"""Licenses as a pyarrow.RecordBatchReader, for any Arrow consumer: synchronous, lazy, bounded.

Rules:
1. No request is sent before the first batch is read. Then a thread with an event loop of its own
   takes up to two batches ahead, in addition to those that the listing holds.
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

import threading
import weakref
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import pyarrow as pa

from streamlic.api.accounts_table import ACCOUNT_FIELDS, accounts_table
from streamlic.api.batch_source import BatchSource
from streamlic.api.listing import Listing, reading_options
from streamlic.api.selection import Selection
from streamlic.errors import UsageError
from streamlic.job.options import JobOptions
from streamlic.truto.accounts import IntegratedAccount
from streamlic.truto.client import Connection
from streamlic.truto.settings import ConnectionSettings

_CLOSED = "the reader is closed: call read_licenses for another"


def read_licenses(
    account: str | Iterable[str] | None = None,
    *,
    all_accounts: bool = False,
    integration: str | None = None,
    tenant: str | None = None,
    connection: ConnectionSettings | None = None,
    concurrency: int | None = None,
    skip_failed: bool = False,
    engine: str = "auto",
    rows_at: str = "result",
    strict: bool = False,
    **parameters: Any,
) -> LicensesReader:
    """Return a reader of the licenses of one account or several, as they arrive from the API.

    With ``all_accounts=True`` instead of ``account``, every account is read that Truto lists as
    active and not blocked, of an ``integration`` and a ``tenant`` if these are given.
    ``parameters`` are those of LicensesRequest, and ``connection`` is as for a Client.

    The columns are ``integrated_account_id``, ``integration`` and ``tenant_id``, and those of
    LICENSE_SCHEMA; with ``response_format="raw"`` those of RAW_SCHEMA. Integration and tenant are
    null for accounts that are named. ``accounts`` of the reader is a table of the accounts, with
    what became of each, as soon as the last batch was read.

    Any Arrow consumer can read it, also while an event loop runs, which it blocks:

        with streamlic.read_licenses("62f44730-dd91-461e-bd6a-aedd9e0ad79d") as reader:
            print(duckdb.sql("select name, count(*) from reader group by 1"))

    Pages of several accounts are requested at once: up to ``concurrency``, by default as many as an
    export would. An account's rows come in order; rows of other accounts may come between its
    pages. A batch has at most 8,192 rows, or 2 MiB of JSON. Small pages are joined: a batch that is
    not full waits a tenth of a second for more rows.

    The first request is sent when the first batch is read. From then on memory holds at most: 8 MiB
    of batches that wait to be read, and two batches more; 8 MiB of batches of each large page, of
    which three at most are decoded at once; and of each other page in flight its body, up to 128
    KiB. While nothing reads the batches, nothing reads from the API.

    Every row is read once, as long as the API answers a cursor the same way twice. A page whose
    batches take up to 8 MiB is read when it is complete, and requested again if it fails. A larger
    page is read as it arrives: if it fails, its account fails after some of its rows were read. So
    the rows read before an error are not the whole listing, and may end within a page; only
    ``export`` can resume.

    Raises UsageError at once for an invalid request. Reading raises the StreamlicError that ended
    the listing, and raises it again each time; pyarrow and polars pass it through, DuckDB raises an
    error of its own that quotes it. An error that concerns one account, such as AccountBlocked, is
    raised after the last row of all other accounts; with ``skip_failed`` it is not raised, and the
    table of accounts has it. An error that concerns all accounts, such as AuthenticationError, is
    raised soon. ``close``, the end of a ``with`` block, and dropping the last reference each end
    the thread and the connection.
    """
    selection = Selection.of(
        account,
        all_accounts=all_accounts,
        integration=integration,
        tenant=tenant,
        parameters=parameters,
    )
    options = reading_options(
        selection.shared,
        concurrency=concurrency,
        skip_failed=skip_failed,
        engine=engine,
        rows_at=rows_at,
        strict=strict,
    )
    session = Connection(connection or ConnectionSettings())
    return LicensesReader(_Stream(_Licenses(selection, session, options)))


class _Licenses:
    """The licenses of a selection, with the columns that say whose they are."""

    def __init__(self, selection: Selection, connection: Connection, options: JobOptions) -> None:
        self.schema = pa.schema([*ACCOUNT_FIELDS, *options.schema])
        self.accounts: pa.Table | None = None
        """What became of each account, when ``batches`` has ended."""
        self._selection = selection
        self._connection = connection
        self._options = options
        self._known: dict[str, IntegratedAccount] = {}

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Find the accounts, and yield the batches of all."""
        connection, options = self._connection, self._options
        requests, discovered = await self._selection.resolve(connection)
        self._known = {one.id: one for one in discovered.readable}
        listing = Listing(connection, requests, options, self._with_account)
        connection.read_buffer_bytes = options.read_buffer_bytes(len(requests))
        try:
            async with connection, aclosing(listing.batches()) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self.accounts = accounts_table(listing.reads, self._known, discovered.skipped)

    def _with_account(self, account: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        known = self._known.get(account)
        details = [account, known and known.integration, known and known.tenant_id]
        columns = [pa.repeat(pa.scalar(one, pa.string()), batch.num_rows) for one in details]
        return pa.RecordBatch.from_arrays([*columns, *batch.columns], schema=self.schema)


class LicensesReader(pa.RecordBatchStreamReader):  # type: ignore[misc]  # pyarrow has no types
    """A ``pyarrow.RecordBatchReader`` of licenses. ``read_licenses`` returns one."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(stream)
        self._stream = stream
        self._turn = threading.Lock()

    @property
    def accounts(self) -> pa.Table:
        """The accounts that were read, that failed, and that were skipped, one row each.

        Available when the last batch was read, after an error, and after ``close``; UsageError
        before. Accounts that were not read to their end are then left out. The columns are those of
        a dataset's table of accounts: what Truto's list says, ``outcome`` (``read``, ``failed``
        or ``skipped``) and ``reason``, the numbers of rows, pages and rescued values, the error and
        the times.
        """
        return self._stream.accounts()

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

    def __init__(self, licenses: _Licenses) -> None:
        self._message = licenses.schema.serialize()
        self._at = 0
        self._licenses = licenses
        self._source = source = BatchSource(licenses.batches, _CLOSED)
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

    def accounts(self) -> pa.Table:
        """Return the accounts of the licenses; UsageError before the end."""
        has_ended = self._source.is_over or self.closed or self._failure
        if not has_ended or self._licenses.accounts is None:
            raise UsageError("the accounts are known when the last batch was read")
        return self._licenses.accounts

    def close(self) -> None:
        """End the source, and wait for its end."""
        self.closed = True
        self._source.stop()
        self._source.join()
