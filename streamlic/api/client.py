"""streamlic from Python: record batches as they arrive, or a whole export."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from streamlic.api.listing import Listing, reading_options
from streamlic.api.selection import Selection, options_for
from streamlic.api.sync import run_sync
from streamlic.job.account_details import details_of
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.job.progress import OnProgress
from streamlic.job.settings import Cancel
from streamlic.job.summary import HOW_TO_RESUME, Summary
from streamlic.truto.accounts import IntegratedAccount, integrated_accounts
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings


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
        """Yield an account's licenses as record batches of LICENSE_SCHEMA, in order.

        ``parameters`` are those of LicensesRequest; with ``response_format="raw"`` the batches
        have RAW_SCHEMA. A batch has at most 8,192 rows, or 2 MiB of JSON. Small pages are joined.

        Up to 8 MiB of batches are held until they are requested, and up to 8 MiB of a page until it
        ends. A page that fits is yielded whole, and is asked for again if it fails. A larger page
        is yielded as it arrives, and its failure is raised: some rows of the page were then
        yielded, but none twice. While nothing requests the batches, the API waits.

        Raises a StreamlicError if the list cannot be continued, such as PageMismatch if its
        cursors form a loop. To leave the loop early, close the generator, which closes the
        connection of its page:

            async with streamlic.Client() as client:
                async with contextlib.aclosing(client.licenses(account)) as batches:
                    async for batch in batches:
                        ...
        """
        request = LicensesRequest(account=account, **parameters)
        options = reading_options(request, engine=self._engine, rows_at=rows_at, strict=strict)
        listing = Listing(self._connection, [request], options)
        async with aclosing(listing.batches()) as batches:
            async for batch in batches:
                yield batch

    async def accounts(
        self, *, integration: str | None = None, tenant: str | None = None
    ) -> AsyncGenerator[IntegratedAccount, None]:
        """Yield the integrated accounts of the token's environment, each once.

        ``integration`` is the name of an integration, ``tenant`` the id of a tenant; None is any.
        Accounts that cannot be read now are among them: ``why_not`` says why.
        """
        seen: set[str] = set()
        listed = integrated_accounts(self._connection, integration=integration, tenant=tenant)
        async for account in listed:
            if account.id not in seen:  # The list may change between its pages.
                seen.add(account.id)
                yield account


def export(
    dest: str | Path,
    account: str | Iterable[str] | None = None,
    *,
    all_accounts: bool = False,
    integration: str | None = None,
    tenant: str | None = None,
    connection: ConnectionSettings | None = None,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
    **parameters: Any,
) -> Summary:
    """Export the licenses of one account or several to ``dest`` as Parquet; return the summary.

    With ``all_accounts=True`` instead of ``account``, every account is read that Truto lists as
    active and not blocked, of an ``integration`` and a ``tenant`` if these are given. The summary
    lists the others in ``skipped``. A run that is resumed keeps the accounts it started with.

    ``parameters`` are those of LicensesRequest, ``options`` those of JobOptions. If ``connection``
    is None, the token and the URL come from the environment. The call blocks until the export ends.
    It works in threads of its own, so it may be called while an event loop runs, which it blocks.

    ``on_progress`` is called after every page, and each second, with a Progress: a frozen snapshot
    with the events since the last one. All calls come from one thread, not the caller's, and the
    job waits for them. An exception that it raises ends the export, and is raised here.

    Setting ``cancel``, such as a threading.Event, ends the export with Cancelled, whose ``summary``
    says what is committed. The job checks it after each page, and each second, but not while the
    list of all accounts is read. KeyboardInterrupt, any other exception of a signal handler, and
    the cancellation of the calling task end the export as well; they are raised here when the work
    has ended. Complete pages are committed first, and the same call resumes from there.

    Any other StreamlicError that ends the export is raised. If some of several accounts failed,
    that is AccountsFailed, whose ``summary`` says which. UsageError if no account matches, or none
    of those that do can be read.
    """
    options = options_for(parameters, options)
    selection = Selection.of(
        account,
        all_accounts=all_accounts,
        integration=integration,
        tenant=tenant,
        parameters=parameters,
    )
    session = Connection((connection or ConnectionSettings()).for_shard(options.own_shard))

    async def work() -> Summary:
        # On one connection, whose rate limits count the requests for the list too.
        requests, discovered = await selection.resolve(session)
        return await export_async(
            str(dest),
            requests,
            session,
            options,
            on_progress,
            all_of=selection.all_of,
            skipped=discovered.reasons,
            details={one.id: details_of(one) for one in discovered.readable + discovered.skipped},
            cancel=cancel,
        )

    return run_sync(work(), when_stopped=HOW_TO_RESUME)
