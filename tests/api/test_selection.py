"""All accounts of an integration and a tenant, from Python: read, exported and listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

import streamlic
from streamlic.dataset.commit_log import load_runs
from streamlic.emulator import (
    EmulatedAccount,
    Emulator,
    EmulatorConfig,
    emulated_accounts,
    running_emulator,
)
from streamlic.storage.local import LocalStore
from tests.support.cli import export_args, run_cli
from tests.support.raw_server import server, whole
from tests.support.reading import read, settings_of
from tests.support.server_thread import served, threads_of_ours

ACCOUNTS = emulated_accounts(120, records=3, unhealthy_share=0.2)
NOWHERE = "http://127.0.0.1:9"


def is_readable(account: EmulatedAccount) -> bool:
    return account.status == "active" and not account.is_blocked


READABLE = {id_: one for id_, one in ACCOUNTS.items() if is_readable(one)}
FIRST = next(iter(READABLE.values()))
OF_FIRST = {"integration": FIRST.integration, "tenant": FIRST.tenant_id}
UNREADABLE = {id_: one for id_, one in ACCOUNTS.items() if not is_readable(one)}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS)) as running:
        yield running


def test_all_readable_accounts_are_read_with_their_integration_and_tenant(
    emulator: Emulator,
) -> None:
    with read(emulator.url, all_accounts=True) as reader:
        assert len(emulator.requests) == 0, "before the first batch is read"
        table = reader.read_all()
        accounts = reader.accounts
    whose = table.select(["integrated_account_id", "integration", "tenant_id"]).to_pylist()
    assert len(whose) == 3 * len(READABLE)
    assert {tuple(one.values()) for one in whose} == {
        (one.id, one.integration, one.tenant_id) for one in READABLE.values()
    }
    names = ["integrated_account_id", "integration", "tenant_id", "status", "is_blocked"]
    assert {tuple(one.values()) for one in accounts.select(names).to_pylist()} == {
        (one.id, one.integration, one.tenant_id, one.status, one.is_blocked)
        for one in ACCOUNTS.values()
    }
    skipped = [one for one in accounts.to_pylist() if one["outcome"] == "skipped"]
    assert {one["integrated_account_id"]: one["reason"] for one in skipped} == {
        one.id: "blocked" if one.is_blocked else one.status for one in UNREADABLE.values()
    }
    assert {(one["rows"], one["pages"], one["error_kind"]) for one in skipped} == {(0, 0, None)}
    assert len(accounts) == len(ACCOUNTS)


def test_an_integration_and_a_tenant_select_among_them(emulator: Emulator) -> None:
    table = read(emulator.url, all_accounts=True, **OF_FIRST).read_all()
    chosen = {
        id_
        for id_, one in READABLE.items()
        if (one.integration, one.tenant_id) == (FIRST.integration, FIRST.tenant_id)
    }
    assert set(table["integrated_account_id"].to_pylist()) == chosen


def test_a_selection_without_accounts_is_raised_where_the_first_batch_is_read(
    emulator: Emulator,
) -> None:
    reader = read(emulator.url, all_accounts=True, integration="slak")
    with pytest.raises(streamlic.UsageError, match="no account has the integration 'slak'"):
        reader.read_next_batch()
    with pytest.raises(streamlic.UsageError, match="when the last batch was read"):
        _ = reader.accounts
    reader.close()
    assert threads_of_ours() == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "which accounts"),
        ({"account": next(iter(ACCOUNTS)), "all_accounts": True}, "got both"),
        ({"integration": "slack"}, "integration needs all_accounts=True"),
        ({"tenant": "t"}, "tenant needs all_accounts=True"),
        ({"account": next(iter(ACCOUNTS)), "tenant": "t"}, "tenant needs all_accounts=True"),
        ({"all_accounts": True, "limit": 0}, "the limit must be 1 or more"),
        ({"account": []}, "at least one account"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused_at_once(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    connection = settings_of(NOWHERE)
    with pytest.raises(streamlic.UsageError, match=says):
        streamlic.read_licenses(connection=connection, **given)
    with pytest.raises(streamlic.UsageError, match=says):
        streamlic.export(tmp_path / "lake", connection=connection, **given)
    assert not (tmp_path / "lake").exists()


def test_the_concurrency_is_checked_at_once() -> None:
    with pytest.raises(streamlic.UsageError, match="expected 1 to 500, got 0"):
        read(NOWHERE, all_accounts=True, concurrency=0)


async def test_an_export_of_all_accounts_is_that_of_the_command_line(tmp_path: Path) -> None:
    """Each resumes a run of the other, and so finds it complete."""
    async with running_emulator(EmulatorConfig(accounts=ACCOUNTS)) as running:
        args = export_args(tmp_path / "cli", running.url)
        at = args.index("--account")
        args[at : at + 2] = ["--all-accounts", "--integration", "slack"]
        ended = await run_cli(*args)
    assert ended.code == 0, ended.err
    with served(EmulatorConfig(accounts=ACCOUNTS)) as emulator:
        summary = streamlic.export(
            tmp_path / "lake",
            all_accounts=True,
            integration="slack",
            connection=settings_of(emulator.url),
        )
    chosen = {id_ for id_, one in READABLE.items() if one.integration == "slack"}
    assert {one.account for one in summary.accounts} == chosen
    assert {one.account for one in summary.skipped} == {
        id_ for id_, one in UNREADABLE.items() if one.integration == "slack"
    }
    assert summary.rows == 3 * len(chosen)
    requests = [load_runs(LocalStore(tmp_path / lake))[0].request for lake in ("cli", "lake")]
    assert requests[0] == requests[1]
    rows = ds.dataset(tmp_path / "lake" / "licenses").to_table()
    assert set(rows["integration"].to_pylist()) == {"slack"}


async def test_a_client_lists_the_accounts_each_once() -> None:
    async with (
        running_emulator(EmulatorConfig(accounts=ACCOUNTS)) as running,
        streamlic.Client(settings_of(running.url)) as client,
    ):
        found = [one async for one in client.accounts()]
        chosen = [one async for one in client.accounts(**OF_FIRST)]
        none = [one async for one in client.accounts(tenant="nobody")]
    assert [one.id for one in found] == list(ACCOUNTS)
    assert all(isinstance(one, streamlic.IntegratedAccount) for one in found)
    assert [one.why_not is None for one in found] == [is_readable(one) for one in ACCOUNTS.values()]
    assert {(one.integration, one.tenant_id) for one in chosen} == {tuple(OF_FIRST.values())}
    assert none == []


async def test_an_account_that_two_pages_of_the_list_name_is_listed_once() -> None:
    one = {"id": next(iter(ACCOUNTS)), "status": "active"}
    pages = [{"result": [one], "next_cursor": "2"}, {"result": [one], "next_cursor": None}]
    answers = [whole(json.dumps(page).encode()) for page in pages]
    async with server(*answers) as (url, _), streamlic.Client(settings_of(url)) as client:
        assert len([account async for account in client.accounts()]) == 1
