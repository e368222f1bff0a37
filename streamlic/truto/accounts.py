"""Truto's integrated accounts: all of them, page by page, or one.

Sources: ``GET /integrated-account``, with the filters ``tenant_id`` and ``integration.name``, and a
``next_cursor``; ``GET /integrated-account/{id}``. Only an account that is ``active`` and not
blocked can be read. An account's other fields may hold secrets, ``context`` for one: none is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote

from streamlic.errors import PageMismatch, StreamlicError
from streamlic.formatting import counted
from streamlic.truto.account_pages import AccountPages
from streamlic.truto.api_errors import one_line
from streamlic.truto.client import Connection
from streamlic.truto.page_driver import next_request, retry_later
from streamlic.truto.rate_limit import Permit
from streamlic.truto.retry import Retry
from streamlic.validation import check_text

PATH = "/integrated-account"
ACCOUNTS_OF_A_PAGE = 100
_SHOWN_INTEGRATIONS = 20


@dataclass(frozen=True, kw_only=True)
class IntegratedAccount:
    """An account as Truto lists it."""

    id: str
    tenant_id: str | None
    integration: str | None
    """The integration's name, or else the id of the environment's integration."""
    status: str | None
    is_blocked: bool

    @property
    def why_not(self) -> str | None:
        """Why the account's licenses cannot be read now, None if they can."""
        if self.is_blocked:
            return "blocked"
        return None if self.status == "active" else self.status or "without a status"


@dataclass(frozen=True, kw_only=True)
class _AccountsRequest:
    """A request for one page of the list."""

    integration: str | None
    tenant: str | None
    next_cursor: str | None = None

    def after(self, next_cursor: str | None) -> Self | None:
        return replace(self, next_cursor=next_cursor) if next_cursor else None

    def query_string(self) -> str:
        query = {
            "integration.name": self.integration,
            "tenant_id": self.tenant,
            "limit": str(ACCOUNTS_OF_A_PAGE),
            "next_cursor": self.next_cursor,
        }
        return "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in query.items()
            if value
        )


async def integrated_accounts(
    connection: Connection,
    *,
    integration: str | None = None,
    tenant: str | None = None,
    on_retry: Callable[[Retry], None] | None = None,
) -> AsyncIterator[IntegratedAccount]:
    """Yield the environment's accounts. Raises the same errors as requesting a page.

    ``on_retry`` is called before each retry of a page. UsageError for a filter that is not valid
    Unicode.
    """
    check_text(integration or "", "integration")
    check_text(tenant or "", "tenant")
    first = _AccountsRequest(integration=integration, tenant=tenant)
    pages = AccountPages(first, connection.policy)
    while (request := await next_request(pages)) is not None:
        try:
            body = await connection.get_json(PATH, request.query_string())
        except StreamlicError as error:
            retry_later(connection, pages, error, on_retry)
            continue
        result = body.get("result")
        if not isinstance(result, list):
            raise PageMismatch(f"{PATH}: expected result to be a list, got {type(result).__name__}")
        for one in result:
            account = _account(one)
            if account is None:
                got = connection.excerpt(one)
                raise PageMismatch(f"{PATH}: expected an account with an id, got {got}")
            yield account
        pages.page_arrived(_cursor(body))


async def integrated_account(
    connection: Connection, account: str, permit: Permit | None = None
) -> IntegratedAccount:
    """Return one account. Raises the same errors as requesting a page, once."""
    path = f"{PATH}/{quote(account, safe='')}"
    body = await connection.get_json(path, account=account, permit=permit)
    inner = body.get("result")
    found = _account(inner if isinstance(inner, dict) else body)
    if found is None or found.id != account.lower():
        got = connection.excerpt(body)
        raise PageMismatch(f"{PATH}/{account}: expected this account, got {got}")
    return found


def why_none(
    everything: Sequence[IntegratedAccount], integration: str | None, tenant: str | None
) -> str:
    """Say why no account matches an integration and a tenant."""
    chosen = [one for one in everything if integration in (None, one.integration)]
    if integration and not chosen:
        counts = Counter(one.integration or "-" for one in everything).most_common()
        there_are = [f"{name} ({count:,})" for name, count in counts[:_SHOWN_INTEGRATIONS]]
        if len(counts) > _SHOWN_INTEGRATIONS:
            there_are.append(f"and {len(counts) - _SHOWN_INTEGRATIONS:,} more")
        found = f"there are {', '.join(there_are)}" if there_are else "there is no account at all"
        return f"no account has the integration {integration!r}: {found}"
    tenants = {one.tenant_id for one in chosen} - {None}
    of = f" of the integration {integration!r}" if integration else ""
    return (
        f"no account{of} has the tenant {tenant!r}: of "
        f"{counted(len(chosen), 'account')} there {'is' if len(tenants) == 1 else 'are'} "
        f"{counted(len(tenants), 'tenant')}"
    )


def _cursor(body: dict[str, Any]) -> str | None:
    """Return the next page's cursor. None for null, absent or empty: the list has ended.

    As in the decoders, an integer becomes its digits, and unpaired surrogates become U+FFFD.
    """
    cursor = body.get("next_cursor")
    if type(cursor) is int:
        cursor = str(cursor)
    if cursor is not None and not isinstance(cursor, str):
        raise PageMismatch(
            f"{PATH}: expected next_cursor to be a string or null, got {type(cursor).__name__}"
        )
    return cursor.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if cursor else None


def _account(given: Any) -> IntegratedAccount | None:
    """Return a listed object as an account; None if it has no id."""
    if not isinstance(given, dict) or not (id_ := _text(given.get("id"))):
        return None
    own = given.get("integration")
    name = own.get("name") if isinstance(own, dict) else own
    return IntegratedAccount(
        id=id_.lower(),  # As requests and the lake have it: it is a UUID.
        tenant_id=_text(given.get("tenant_id")),
        integration=_text(name) or _text(given.get("environment_integration_id")),
        status=_text(given.get("status")),
        is_blocked=given.get("is_blocked") is True,
    )


def _text(value: Any) -> str | None:
    return (one_line(value) or None) if isinstance(value, str) else None
