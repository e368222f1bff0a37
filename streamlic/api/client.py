"""streamlic from Python: record batches as they arrive, or a whole export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from streamlic.api.sync import run_sync
from streamlic.decoder import Decoder, open_decoder
from streamlic.errors import DecodeError, ReportedFailure, StreamlicError, UsageError
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import check_count
from streamlic.job.progress import OnProgress
from streamlic.job.settings import Cancel
from streamlic.job.summary import HOW_TO_RESUME, Summary
from streamlic.resources.licenses import LICENSES
from streamlic.schema.columns import RAW_SCHEMA
from streamlic.truto.account_pages import AccountPages
from streamlic.truto.client import Connection
from streamlic.truto.page_driver import next_request, retry_later
from streamlic.truto.request import LicensesRequest, requests_of
from streamlic.truto.response import Page
from streamlic.truto.settings import ConnectionSettings

_HELD_BYTES = 8 << 20


class Client:
    """A session with the Truto API. Use it as an asynchronous context manager.

    If ``connection`` is None, the token and the URL come from the environment. ``engine`` names the
    decoder. Raises UsageError for invalid settings, before it sends anything.
    """

    def __init__(
        self, connection: ConnectionSettings | None = None, *, engine: str = "auto"
    ) -> None:
        self._engine = engine
        self._connection = Connection(connection or ConnectionSettings())

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._connection.__aexit__(*raised)

    async def licenses(
        self, account: str, *, rows_at: str = "result", strict: bool = False, **parameters: Any
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield an account's licenses as record batches of LICENSE_SCHEMA, page after page.

        ``parameters`` are those of LicensesRequest; with ``response_format="raw"`` the batches
        have RAW_SCHEMA. A batch has at most 8,192 rows, or 2 MiB of JSON.

        Up to 8 MiB of a page's batches are held until the page ends. A page that fits is yielded
        whole, and is asked for again if it fails. A larger page is yielded as it arrives, and its
        failure is raised: some rows of the page were then yielded, but none twice. Memory holds
        these batches and the chunk being decoded; while no batch is requested, the API waits.

        Raises a StreamlicError if the list cannot be continued, such as PageMismatch if its
        cursors form a loop. To leave the loop early, close the generator, which closes the
        connection of its page:

            async with streamlic.Client() as client:
                async with contextlib.aclosing(client.licenses(account)) as batches:
                    async for batch in batches:
                        ...
        """
        request = LicensesRequest(account=account, **parameters)
        schema = schema_of(request)
        pages = AccountPages(request, self._connection.policy)
        while (params := await next_request(pages)) is not None:
            async with AsyncExitStack() as stack:
                try:
                    page = await stack.enter_async_context(self._connection.page(params))
                    decoder = open_decoder(
                        schema,
                        engine=self._engine,
                        rows_at=rows_at,
                        ndjson=page.is_ndjson,
                        key_by=request.key_by,
                        strict=strict,
                    )
                    batches = self._batches(page, decoder, account)
                    await stack.enter_async_context(aclosing(batches))
                    held = await _first(batches)
                except StreamlicError as error:
                    retry_later(self._connection, pages, error)
                    continue
                while held:
                    yield held.pop(0)
                async for batch in batches:
                    yield batch
            pages.page_arrived(decoder.envelope.next_cursor)

    async def _batches(
        self, page: Page, decoder: Decoder, account: str
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        try:
            async with aclosing(page.chunks()) as chunks:
                async for chunk in chunks:
                    for batch in await asyncio.to_thread(decoder.feed, chunk):
                        yield batch
            for batch in decoder.close():
                yield batch
        except ReportedFailure as failure:
            raise self._connection.reported(failure, page, account) from None
        except DecodeError as error:
            page.hide_in(error)
            raise
        check_count(decoder.envelope)


async def _first(batches: AsyncGenerator[pa.RecordBatch, None]) -> list[pa.RecordBatch]:
    """Take batches until the page ends, or until they take more than ``_HELD_BYTES``."""
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
    account: str | Iterable[str],
    *,
    connection: ConnectionSettings | None = None,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
    **parameters: Any,
) -> Summary:
    """Export the licenses of one account or several to ``dest`` as Parquet; return the summary.

    ``parameters`` are those of LicensesRequest, ``options`` those of JobOptions. If ``connection``
    is None, the token and the URL come from the environment. The call blocks until the export ends.
    It works in threads of its own, so it may be called while an event loop runs, which it blocks.

    ``on_progress`` is called after every page, and each second, with a Progress: a frozen snapshot
    with the events since the last one. All calls come from one thread, not the caller's, and the
    job waits for them. An exception that it raises ends the export, and is raised here.

    Setting ``cancel``, such as a threading.Event, ends the export with Cancelled, whose ``summary``
    says what is committed. The job checks it after each page, and each second. KeyboardInterrupt,
    any other exception of a signal handler, and the cancellation of the calling task end the export
    as well; they are raised here when the work has ended. Complete pages are committed first, and
    the same call resumes from there.

    Any other StreamlicError that ends the export is raised. If some of several accounts failed,
    that is AccountsFailed, whose ``summary`` says which.
    """
    raw = parameters.get("response_format") == "raw"
    options = options or JobOptions(raw=raw)
    if options.raw != raw:
        raise UsageError("raw goes with response_format='raw', and only with it")
    requests = requests_of(account, parameters)
    session = Connection(connection or ConnectionSettings())
    work = export_async(str(dest), requests, session, options, on_progress, cancel=cancel)
    return run_sync(work, when_stopped=HOW_TO_RESUME)


def schema_of(request: LicensesRequest) -> pa.Schema:
    """Return the schema that a request's response bodies are decoded to."""
    return RAW_SCHEMA if request.response_format == "raw" else LICENSES.schema
