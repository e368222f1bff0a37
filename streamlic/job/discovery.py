"""Which accounts there are, and which of them can be read now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from streamlic.errors import UsageError
from streamlic.formatting import counted
from streamlic.truto.accounts import IntegratedAccount, integrated_accounts, why_none
from streamlic.truto.client import Connection
from streamlic.truto.retry import Retry

OnRetry = Callable[[Retry], None]


@dataclass(frozen=True)
class Discovered:
    """The accounts that can be read now, and those that are skipped because they cannot."""

    readable: list[IntegratedAccount]
    skipped: list[IntegratedAccount]

    @classmethod
    def of(cls, found: Iterable[IntegratedAccount]) -> Self:
        """Divide accounts into those that can be read now and the others."""
        readable: list[IntegratedAccount] = []
        skipped: list[IntegratedAccount] = []
        for one in found:
            (skipped if one.why_not else readable).append(one)
        return cls(readable, skipped)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each skipped account cannot be read, by its id."""
        return {one.id: one.why_not for one in self.skipped if one.why_not}


async def discover(
    connection: Connection,
    *,
    integration: str | None = None,
    tenant: str | None = None,
    on_retry: OnRetry | None = None,
) -> Discovered:
    """List the accounts of an integration and a tenant; None is any.

    ``connection`` must not be entered yet. ``on_retry`` is called before each retry of a page.
    Raises UsageError if no account matches, or none of those that do can be read; and what
    requesting a page raises.
    """
    found, why = await accounts_found(
        connection, integration=integration, tenant=tenant, on_retry=on_retry
    )
    if why:
        raise UsageError(why)
    discovered = Discovered.of(found)
    if not discovered.readable:
        accounts = counted(len(found), "account")
        raise UsageError(f"none of {accounts} can be read", parameter="all_accounts")
    return discovered


async def accounts_found(
    connection: Connection,
    *,
    integration: str | None = None,
    tenant: str | None = None,
    on_retry: OnRetry | None = None,
) -> tuple[list[IntegratedAccount], str | None]:
    """List the accounts as ``discover`` does, each once; if the filters leave none, also say why.

    The reason names the integrations that exist.
    """
    async with connection:
        found = await _listed(connection, integration, tenant, on_retry)
        if found or not (integration or tenant):
            return found, None
        everything = await _listed(connection, None, None, on_retry)
        return [], why_none(everything, integration, tenant)


async def _listed(
    connection: Connection, integration: str | None, tenant: str | None, on_retry: OnRetry | None
) -> list[IntegratedAccount]:
    listed = integrated_accounts(
        connection, integration=integration, tenant=tenant, on_retry=on_retry
    )
    # A live list may name one twice, as accounts come and go between its pages.
    return list({one.id: one async for one in listed}.values())
