"""Learns the integration and the tenant of accounts, before their first pages.

Rules:
1. A listing and an accounts file are believed. Only what neither said is requested, once an account
   a process: ``GET /integrated-account/{id}``.
2. An account is never lost for its details: where they cannot be had they are unknown. A token of
   one account may be refused here and not for its licenses; if it is wrong, their page says so.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from streamlic.dataset.records import UNKNOWN, AccountDetails
from streamlic.errors import ApiError, StreamlicError
from streamlic.truto.accounts import IntegratedAccount, integrated_account
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit
from streamlic.truto.retry import is_transient

if TYPE_CHECKING:
    from streamlic.job.job import Job

_WAITS_SECONDS = (0.0, 0.5, 2.0)
"""Before each attempt to request an account's details."""


class DetailsReader:
    """Tells a job what is known of its accounts."""

    def __init__(self, job: Job, connection: Connection) -> None:
        self._job = job
        self._connection = connection
        self._requested: set[str] = set()

    def are_missing(self, account: str) -> bool:
        """Return whether an account's details have to be requested before its first page."""
        is_wanted = self._job.options.account_details and account not in self._requested
        return is_wanted and not _is_full(self._job.run.details_of(account))

    async def learn(self, account: str, permit: Permit) -> None:
        """Request an account's details. The page that follows needs a permit of its own."""
        known = self._job.run.details_of(account)
        self._requested.add(account)
        found = await requested_details(self._connection, account, permit)
        self._job.learn(
            account,
            AccountDetails(
                integration=known.integration or found.integration,
                tenant_id=known.tenant_id or found.tenant_id,
                status=found.status,
                is_blocked=found.is_blocked,
            ),
        )


async def requested_details(
    connection: Connection, account: str, permit: Permit | None = None
) -> AccountDetails:
    """Return what Truto says of an account; nothing is known where it cannot be had.

    ``permit`` is for the first request.
    """
    for seconds in _WAITS_SECONDS:
        await asyncio.sleep(seconds)
        try:
            return details_of(await integrated_account(connection, account, permit))
        except StreamlicError as error:
            permit = None
            if not is_transient(error):
                break
    return UNKNOWN


async def is_gone(connection: Connection, account: str) -> bool:
    """Return whether the API says that an account does not exist: HTTP 404."""
    try:
        await integrated_account(connection, account)
    except StreamlicError as error:
        return isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND
    return False


def details_of(account: IntegratedAccount) -> AccountDetails:
    """Return what a run keeps of an account as Truto describes it."""
    return AccountDetails(
        integration=account.integration,
        tenant_id=account.tenant_id,
        status=account.status,
        is_blocked=account.is_blocked,
    )


def _is_full(known: AccountDetails) -> bool:
    """Return whether Truto itself said it, or an accounts file said all that licenses need."""
    is_given = known.integration is not None and known.tenant_id is not None
    return is_given or known.status is not None
