"""Reads a bundle of accounts in a task: record batches of exactly the columns that were asked for.

Rules:
1. The pages of several accounts are requested at once, as by ``read_licenses``, and an event loop
   in a thread takes batches while Spark takes others.
2. Where the consumer stops early, the thread and its connections end.
3. An account's failure ends the task as soon as the next batch shows it: the rows would not be
   whole. With ``skip_failed`` an account is left out that failed before it had rows.
4. A refused token is awaited by the first attempt alone: all four would wait for minutes.
5. Details that nobody gave are requested once an account, when its first rows have come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from streamlic.api.accounts_table import ACCOUNT_FIELDS
from streamlic.api.batch_source import BatchSource
from streamlic.api.listing import Listing, reading_options
from streamlic.dataset.lake import ACCOUNT_COLUMN, INTEGRATION_COLUMN, TENANT_COLUMN
from streamlic.dataset.records import UNKNOWN, AccountDetails, Failed
from streamlic.errors import StreamlicError, described
from streamlic.integrations.spark.columns import narrowed
from streamlic.integrations.spark.option_table import option_of
from streamlic.integrations.spark.permits import Permits, budgeted
from streamlic.job.account_details import requested_details
from streamlic.job.options import JobOptions
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import RateLimit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings

_DETAILS = (INTEGRATION_COLUMN, TENANT_COLUMN)
_LOG = logging.getLogger("streamlic")


@dataclass(frozen=True)
class Wanted:
    """An account that is read: its request with all fields, and what is known of it."""

    request: LicensesRequest
    details: AccountDetails


@dataclass(frozen=True)
class Reading:
    """What all tasks of a read have in common.

    ``request`` is what the accounts' requests share. ``columns`` are the rows' columns in their
    order. ``given`` are options of a job.
    """

    connection: ConnectionSettings
    permits: Permits | None
    request: LicensesRequest
    given: Mapping[str, Any]
    columns: tuple[str, ...]
    asks_details: bool
    skips_failed: bool

    def options(self) -> JobOptions:
        """Return how a task reads on this machine. The failure of an account is looked at here."""
        return reading_options(self.request, skip_failed=True, **self.given)

    def schema(self) -> pa.Schema:
        """Return the columns of a batch."""
        every = pa.schema([*ACCOUNT_FIELDS, *self.options().schema])
        return pa.schema([every.field(name) for name in self.columns])


def read(
    reading: Reading,
    accounts: Mapping[str, Wanted],
    limit: RateLimit | None,
    *,
    is_again: bool = False,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the licenses of accounts.

    ``limit`` is the part of the token's rate that this task has without permits of the driver.
    ``is_again`` says that Spark tries a failed task again: it does not wait for another token.
    """
    connection = budgeted(reading.connection, reading.permits, limit)
    if is_again:
        at_once = replace(connection.timeouts, token_seconds=0)
        connection = replace(connection, timeouts=at_once)
    bundle = _Bundle(reading, accounts, connection)
    source = BatchSource(bundle.batches, "the read was ended")
    try:
        while (batch := source.take()) is not None:
            yield batch
    finally:
        source.stop()
        source.join()


class _Bundle:
    """The accounts of one task, while they are read."""

    def __init__(
        self,
        reading: Reading,
        accounts: Mapping[str, Wanted],
        connection: ConnectionSettings,
    ) -> None:
        self._reading = reading
        self._requests = [narrowed(one.request, reading.columns) for one in accounts.values()]
        self._details = {account: one.details for account, one in accounts.items()}
        self._are_details_wanted = any(name in reading.columns for name in _DETAILS)
        self._skipped: set[str] = set()
        self._schema = reading.schema()
        self._connection = Connection(connection)

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the batches of all accounts."""
        options, connection = self._reading.options(), self._connection
        listing = Listing(connection, self._requests, options, _with_account)
        connection.read_buffer_bytes = options.read_buffer_bytes(len(self._requests))
        async with connection, aclosing(listing.batches()) as batches:
            async for batch in batches:
                self._check(listing)
                yield await self._shaped(batch)
            self._check(listing)

    def _check(self, listing: Listing) -> None:
        """Raise the failure of an account, unless it may be left out."""
        for account, read_ in listing.reads.items():
            if read_.failed is None or account in self._skipped:
                continue
            if read_.rows or not self._reading.skips_failed:
                raise _failure(account, read_.failed, rows=read_.rows)
            self._skipped.add(account)
            _LOG.warning("account %s is left out: %s", account, _reason(read_.failed))

    async def _shaped(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch's columns in their order, with the details of its accounts."""
        columns = {name: batch.column(name) for name in batch.schema.names}
        if self._are_details_wanted:
            encoded = batch.column(ACCOUNT_COLUMN).dictionary_encode()
            ids = encoded.dictionary.to_pylist()
            await self._learn(ids)
            for name in _DETAILS:
                values = [getattr(self._details[one], name) for one in ids]
                columns[name] = pa.array(values, pa.string()).take(encoded.indices)
        return pa.RecordBatch.from_arrays(
            [columns[name] for name in self._schema.names], schema=self._schema
        )

    async def _learn(self, accounts: Sequence[str]) -> None:
        if not self._reading.asks_details:
            return
        unknown = [one for one in accounts if self._details[one] == UNKNOWN]
        asked = [requested_details(self._connection, one) for one in unknown]
        for account, known in zip(unknown, await asyncio.gather(*asked), strict=True):
            self._details[account] = replace(known, status=known.status or "")


def _with_account(account: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a decoded batch with the column of its account."""
    column = pa.repeat(pa.scalar(account, pa.string()), batch.num_rows)
    schema = pa.schema([ACCOUNT_FIELDS[0], *batch.schema])
    return pa.RecordBatch.from_arrays([column, *batch.columns], schema=schema)


def _reason(failed: Failed) -> str:
    message = described(failed.message, failed.parameter, option_of)
    return f"{failed.kind}: {message} (retryable: {str(failed.retryable).lower()})"


def _failure(account: str, failed: Failed, *, rows: int) -> StreamlicError:
    read_ = f" after {rows:,} rows" if rows else ""
    advice = "" if rows else "leave out such accounts with {skip_failed=True}"
    return StreamlicError(
        f"account {account} cannot be read{read_}: {_reason(failed)}", advice=advice
    )
