"""The accounts that a command's settings name, and the request of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from streamlic.cli.settings import ExportSettings, RequestOptions
from streamlic.cli.watch import log_of_command
from streamlic.dataset.records import AccountDetails
from streamlic.errors import UsageError
from streamlic.formatting import counted, option_of
from streamlic.job.accounts_file import AccountsFile, read_accounts_file, read_file
from streamlic.resources.base import Kind, Parameter
from streamlic.resources.licenses import LICENSES
from streamlic.truto.query import parse_remote_query, split_assignment
from streamlic.truto.request import LicensesRequest

if TYPE_CHECKING:
    from streamlic.job.discovery import Discovered
    from streamlic.truto.client import Connection
    from streamlic.truto.retry import Retry

_SHOWN_IDS = 3
_STANDARD_INPUT = "standard input"
_ANY_ACCOUNT = "00000000-0000-0000-0000-000000000000"


def requests_named(
    settings: ExportSettings,
) -> tuple[list[LicensesRequest], dict[str, AccountDetails]]:
    """Return the requests of the accounts that --account and --accounts-file name.

    And the details that the file has of them.
    """
    shared, file, is_all = _shared(settings), settings.accounts_file, settings.all_accounts
    if is_all and (settings.accounts or file):
        raise UsageError("--all-accounts excludes --account and --accounts-file")
    if not is_all and (settings.integration or settings.tenant):
        raise UsageError("--integration and --tenant need --all-accounts")
    if not (is_all or settings.accounts or file):
        raise UsageError("which accounts? Give --account, --accounts-file or --all-accounts")
    requests = [shared.of(account) for account in settings.accounts]
    details: dict[str, AccountDetails] = {}
    if file:
        listed = _read(file, shared)
        of_file, details = listed.requests, listed.details
        known = {request.account for request in requests}
        both = [request.account for request in of_file if request.account in known]
        if both:
            named = _STANDARD_INPUT if file == "-" else file
            raise UsageError(f"{named}: {both[0]} is given by --account too (--accounts-file)")
        requests += of_file
    return requests, details


async def requests_of_all(
    settings: ExportSettings, connection: Connection
) -> tuple[list[LicensesRequest], Discovered]:
    """Return the requests of all readable accounts, and what was discovered."""
    from streamlic.job.discovery import discover

    discovered = await discover(
        connection,
        integration=settings.integration,
        tenant=settings.tenant,
        on_retry=None if settings.quiet else log_listing_retry,
    )
    log_skipped(discovered)
    return requests_of(settings, [one.id for one in discovered.readable]), discovered


def requests_of(settings: ExportSettings, accounts: Iterable[str]) -> list[LicensesRequest]:
    """Return the requests of accounts that share all options."""
    shared = _shared(settings)
    return [shared.of(account) for account in accounts]


def log_listing_retry(retry: Retry) -> None:
    """Log that a page of the accounts' list failed and is requested again."""
    log_of_command().event(
        "retry",
        f"attempt {retry.attempt} to list the accounts failed: {retry.error.described(option_of)}\n"
        f"trying again in {retry.wait_seconds:.1f} s",
        attempt=retry.attempt,
        kind=type(retry.error).__name__,
        message=retry.error.described(option_of),
        wait_seconds=round(retry.wait_seconds, 3),
    )


def log_skipped(discovered: Discovered) -> None:
    """Log which accounts cannot be read: counted by reason; as JSON it names them all."""
    skipped = discovered.reasons
    for why in sorted(set(skipped.values())):
        ids = [account for account, reason in skipped.items() if reason == why]
        text = f"skipped {counted(len(ids), 'account')} ({why}): {_some(ids)}"
        log_of_command().event("skipped", text, accounts=len(ids), why=why, ids=ids)


def _shared(settings: RequestOptions) -> LicensesRequest:
    """Return the request that all accounts share, with a placeholder for the account."""
    given = {one.name: _value(one, settings.request[one.name]) for one in LICENSES.parameters}
    return LicensesRequest(account=_ANY_ACCOUNT, **given)


def _value(parameter: Parameter, given: Any) -> Any:
    if parameter.kind is Kind.NESTED:
        return parse_remote_query(given)
    if parameter.kind is Kind.PAIRS:
        return tuple(split_assignment(text, parameter.name) for text in given)
    return given


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:_SHOWN_IDS]) + (", ..." if len(ids) > _SHOWN_IDS else "")


def _read(name: str, shared: LicensesRequest) -> AccountsFile:
    if name != "-":
        return read_accounts_file(name, shared)
    if sys.stdin is None:
        raise UsageError("standard input is closed (--accounts-file)")
    try:
        return read_file(sys.stdin.buffer, shared, _STANDARD_INPUT)
    except OSError as error:
        raise UsageError(
            f"{_STANDARD_INPUT} cannot be read: {error.strerror} (--accounts-file)"
        ) from error
