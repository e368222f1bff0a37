"""Which accounts a caller wants: named, those of a file, or all of an integration and a tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streamlic.dataset.records import AccountDetails
from streamlic.errors import UsageError
from streamlic.job.accounts_file import read_accounts_file
from streamlic.job.discovery import Discovered, discover
from streamlic.job.options import JobOptions
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest, requests_of

_ANY_ACCOUNT = "00000000-0000-0000-0000-000000000000"


def options_for(parameters: Mapping[str, Any], options: JobOptions | None) -> JobOptions:
    """Return the options of an export with these request parameters; UsageError if they differ."""
    raw = parameters.get("response_format") == "raw"
    options = options or JobOptions(raw=raw)
    if options.raw != raw:
        raise UsageError("raw goes with response_format='raw', and only with it")
    return options


@dataclass(frozen=True)
class Selection:
    """The accounts to read, and what to request of each.

    ``named`` has a request for each account that is named, by the caller or in a file, which may
    change it. ``shared`` is the request of all of them, apart from that and from the account.
    ``details`` are what a file says of accounts.
    """

    named: list[LicensesRequest]
    shared: LicensesRequest
    is_all: bool
    integration: str | None
    tenant: str | None
    details: Mapping[str, AccountDetails] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        account: str | Iterable[str] | None,
        *,
        all_accounts: bool,
        integration: str | None,
        tenant: str | None,
        parameters: Mapping[str, Any],
        accounts_file: str | None = None,
    ) -> Self:
        """Return the selection; UsageError if it, a parameter or the file is invalid."""
        if accounts_file is not None and (all_accounts or account is not None):
            other = "all_accounts" if all_accounts else "account"
            raise UsageError(
                f"expected {other} or accounts_file, got both", parameter="accounts_file"
            )
        if all_accounts and account is not None:
            raise UsageError("expected account or all_accounts, got both", parameter="all_accounts")
        if not all_accounts and (integration is not None or tenant is not None):
            name = "tenant" if integration is None else "integration"
            raise UsageError(f"{name} needs all_accounts=True", parameter=name)
        shared = LicensesRequest(account=_ANY_ACCOUNT, **parameters)
        if all_accounts:
            return cls([], shared, is_all=True, integration=integration, tenant=tenant)
        if accounts_file is not None:
            file = read_accounts_file(accounts_file, shared)
            return cls(file.requests, shared, False, None, None, file.details)
        if account is None:
            raise UsageError("which accounts? Give account, or all_accounts=True")
        named = requests_of(account, parameters)
        return cls(named, named[0], is_all=False, integration=None, tenant=None)

    @property
    def all_of(self) -> dict[str, Any] | None:
        """The description of all accounts, for the identity of a run; None if they are named."""
        return {"integration": self.integration, "tenant": self.tenant} if self.is_all else None

    async def resolve(self, connection: Connection) -> tuple[list[LicensesRequest], Discovered]:
        """Return the requests, and what was discovered of the accounts: nothing if they are named.

        ``connection`` must not be entered yet. Raises what ``discover`` raises.
        """
        if not self.is_all:
            return self.named, Discovered([], [])
        discovered = await discover(connection, integration=self.integration, tenant=self.tenant)
        return [self.shared.of(one.id) for one in discovered.readable], discovered
