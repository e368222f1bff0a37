"""streamlic from Python: batches as they come, or a whole export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa

from streamlic.client import DEFAULT_BASE_URL, Connection, Page, Timeouts
from streamlic.credentials import TokenSource
from streamlic.decoder import Decoder, open_decoder
from streamlic.errors import UsageError
from streamlic.job import export_async
from streamlic.job_options import JobOptions
from streamlic.pacing import RetryPolicy, parse_rate_limit
from streamlic.page_checks import Cursors, check_count
from streamlic.request import LicensesRequest
from streamlic.schema import LICENSE_SCHEMA, RAW_SCHEMA
from streamlic.summary import OnProgress, Summary

_HELD_BYTES = 8 << 20
T = TypeVar("T")


class Client:
    """A session with the Truto API. Use it as an asynchronous context manager.

    ``token`` defaults to the environment's TRUTO_API_TOKEN; a TokenSource is read again when a
    token has expired. ``ca_file`` names certificates (PEM) to trust beside the system's.
    ``rate_limit`` is the account's tier (``50/10s``), or ``none``.
    """

    def __init__(
        self,
        token: TokenSource | str | None = None,
        *,
        base_url: str = DEFAULT_BASE_URL,
        allow_http: bool = False,
        ca_file: str | Path | None = None,
        rate_limit: str = "50/10s",
        engine: str = "auto",
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        source = TokenSource.from_value(token) if isinstance(token, str) else token
        self._engine = engine
        self._connection = Connection(
            source or TokenSource.from_environment(),
            base_url=base_url,
            allow_http=allow_http,
            ca_file=ca_file,
            rate_limit=parse_rate_limit(rate_limit),
            timeouts=timeouts,
            retry=retry,
        )

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._connection.__aexit__(*raised)

    async def licenses(
        self, account: str, *, rows_at: str = "result", is_strict: bool = False, **parameters: Any
    ) -> AsyncIterator[pa.RecordBatch]:
        """Yield an account's licenses as record batches of LICENSE_SCHEMA, page after page.

        ``parameters`` are those of LicensesRequest; with ``response_format="raw"`` the batches
        are of RAW_SCHEMA. A page is retried as long as none of its batches was yielded: they wait
        for its end up to 8 MiB. Raises a StreamlicError where the listing cannot go on, such as
        PageMismatch where its cursors lead in a circle.
        """
        params: LicensesRequest | None = LicensesRequest(account=account, **parameters)
        cursors = Cursors()
        schema = RAW_SCHEMA if parameters.get("response_format") == "raw" else LICENSE_SCHEMA
        while params:
            async with AsyncExitStack() as stack:
                async for attempt in self._connection.attempts():
                    with attempt:
                        await stack.aclose()  # What an earlier attempt left open.
                        page = await stack.enter_async_context(self._connection.page(params))
                        decoder = open_decoder(
                            schema,
                            engine=self._engine,
                            rows_at=rows_at,
                            is_lines=page.is_lines,
                            is_strict=is_strict,
                        )
                        batches = _batches(page, decoder)
                        await stack.enter_async_context(aclosing(batches))
                        held = await _first(batches)
                for batch in held:
                    yield batch
                async for batch in batches:
                    yield batch
            following = decoder.envelope.next_cursor
            cursors.check(params.next_cursor, following)
            params = params.after(following)


async def _batches(page: Page, decoder: Decoder) -> AsyncGenerator[pa.RecordBatch, None]:
    async with aclosing(page.chunks()) as chunks:
        async for chunk in chunks:
            for batch in await asyncio.to_thread(decoder.feed, chunk):
                yield batch
    for batch in decoder.close():
        yield batch
    check_count(decoder.envelope)


async def _first(batches: AsyncGenerator[pa.RecordBatch, None]) -> list[pa.RecordBatch]:
    """Take batches to the page's end, or until so many wait that they have to go."""
    held: list[pa.RecordBatch] = []
    held_bytes = 0
    async for batch in batches:
        held.append(batch)
        held_bytes += batch.nbytes
        if held_bytes > _HELD_BYTES:
            break
    return held


def export(
    dest: str | Path,
    account: str | list[str],
    *,
    token: TokenSource | str | None = None,
    base_url: str = DEFAULT_BASE_URL,
    allow_http: bool = False,
    ca_file: str | Path | None = None,
    rate_limit: str = "50/10s",
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
    **parameters: Any,
) -> Summary:
    """Land the licenses of one account or several in ``dest`` as Parquet, and return the summary.

    ``parameters`` are those of LicensesRequest, ``options`` those of JobOptions. Waits for the end;
    may be called where an event loop is running. Raises the StreamlicError that ended it: where
    some of several accounts failed AccountsFailed, whose ``summary`` tells which.
    """
    accounts = [account] if isinstance(account, str) else account
    options = options or JobOptions(is_raw=parameters.get("response_format") == "raw")
    if options.is_raw != (parameters.get("response_format") == "raw"):
        raise UsageError("is_raw goes with response_format='raw', and only with it")
    source = TokenSource.from_value(token) if isinstance(token, str) else token
    connection = Connection(
        source or TokenSource.from_environment(),
        base_url=base_url,
        allow_http=allow_http,
        ca_file=ca_file,
        rate_limit=parse_rate_limit(rate_limit),
    )
    requests = [LicensesRequest(account=one, **parameters) for one in accounts]
    return _run(export_async(str(dest), requests, connection, options, on_progress))


def _run(job: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(job)
    with ThreadPoolExecutor(1) as thread:  # A loop runs here already, as in a notebook.
        return thread.submit(asyncio.run, job).result()
