"""Which accounts there are, divided into those that can be read and those that cannot."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamlic.emulator import EmulatedAccount, EmulatorConfig, emulated_accounts, running_emulator
from streamlic.errors import UsageError
from streamlic.job.discovery import Discovered, accounts_found, discover
from streamlic.truto.retry import Retry
from tests.support.raw_server import connection, server, whole

ACCOUNTS = emulated_accounts(120, records=1, unhealthy_share=0.2)
FIRST = next(iter(ACCOUNTS.values()))
_ID = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"


def is_readable(account: EmulatedAccount) -> bool:
    return account.status == "active" and not account.is_blocked


async def test_all_accounts_are_divided_in_the_order_of_the_list() -> None:
    async with running_emulator(EmulatorConfig(accounts=ACCOUNTS)) as emulator:
        discovered = await discover(connection(emulator.url))
        of_tenant = await discover(
            connection(emulator.url), integration=FIRST.integration, tenant=FIRST.tenant_id
        )
    readable = [one.id for one in ACCOUNTS.values() if is_readable(one)]
    assert [one.id for one in discovered.readable] == readable
    assert {one.id for one in discovered.skipped} == set(ACCOUNTS) - set(readable)
    assert discovered.reasons == {
        one.id: "blocked" if one.is_blocked else one.status
        for one in ACCOUNTS.values()
        if not is_readable(one)
    }
    chosen = [*of_tenant.readable, *of_tenant.skipped]
    assert {(one.integration, one.tenant_id) for one in chosen} == {
        (FIRST.integration, FIRST.tenant_id)
    }


async def test_a_choice_that_leaves_nothing_to_read_is_a_usage_error() -> None:
    [first, *_] = ACCOUNTS.values()
    blocked = {first.id: replace(first, is_blocked=True)}
    async with running_emulator(EmulatorConfig(accounts=blocked)) as emulator:
        with pytest.raises(UsageError, match="none of 1 account can be read") as caught:
            await discover(connection(emulator.url))
        with pytest.raises(UsageError, match="no account has the integration 'slak': there are"):
            await discover(connection(emulator.url), integration="slak")
        found, why = await accounts_found(connection(emulator.url), tenant="t")
    assert caught.value.parameter == "all_accounts"
    assert found == []
    assert why
    assert "no account has the tenant 't'" in why


async def test_an_account_that_two_pages_name_is_listed_once_and_retries_are_reported() -> None:
    """A live list may name one twice, as accounts come and go between its pages."""
    one = {"id": _ID, "status": "active"}
    pages = [{"result": [one], "next_cursor": "2"}, {"result": [one], "next_cursor": None}]
    answers = [whole(json.dumps(page).encode()) for page in pages]
    retries: list[Retry] = []
    async with server(whole(b"{}", status=b"502 Bad Gateway"), *answers) as (url, _):
        discovered = await discover(connection(url), on_retry=retries.append)
    assert discovered == Discovered(discovered.readable, [])
    assert [account.id for account in discovered.readable] == [_ID]
    assert len(retries) == 1


async def test_an_account_has_one_id_however_it_is_spelt() -> None:
    """Else the lake would have it twice, or drop it: requests and rows have the lower case."""
    listed = [{"id": _ID.upper(), "is_blocked": True}, {"id": _ID, "is_blocked": True}]
    listed.append({"id": _ID[:-1] + "E", "status": "active"})
    answer = whole(json.dumps({"result": listed, "next_cursor": None}).encode())
    async with server(answer) as (url, _):
        discovered = await discover(connection(url))
    assert [one.id for one in discovered.readable] == [_ID[:-1] + "e"]
    assert discovered.reasons == {_ID: "blocked"}
