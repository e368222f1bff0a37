"""Which accounts there are: listed, filtered, and exported."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from streamlic.emulator import EmulatorConfig, emulated_accounts, running_emulator
from streamlic.errors import ApiError, PageMismatch, StreamlicError, TransportError
from streamlic.truto.accounts import IntegratedAccount, integrated_accounts, why_none
from tests.support.cli import TOKEN, asked, export_args, run_cli, start_cli
from tests.support.raw_server import TOKEN as RAW_TOKEN
from tests.support.raw_server import connection, server, whole

ACCOUNTS = emulated_accounts(230, records=3, unhealthy_share=0.2)
TENANT = list(ACCOUNTS.values())[2].tenant_id


def all_args(dest: Path, url: str, *more: str) -> list[str]:
    args = export_args(dest, url)
    at = args.index("--account")
    return [*args[:at], *args[at + 2 :], "--all-accounts", *more]


async def test_accounts_are_listed_to_the_last_page_and_filtered() -> None:
    config = EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)
    async with running_emulator(config) as emulator:
        ended = await run_cli("accounts", "--json", "--base-url", emulator.url)
        pages = len(emulator.requests)
        text = await run_cli(
            "accounts", "--base-url", emulator.url, "--integration", "slack", "--tenant", TENANT
        )
        refused = await run_cli("accounts", "--base-url", emulator.url, TRUTO_API_TOKEN="wrong")
    assert pages == 3
    listed = json.loads(ended.out)["accounts"]
    assert [one["id"] for one in listed] == list(ACCOUNTS)
    known = list(ACCOUNTS.values())
    assert [one["is_blocked"] for one in listed] == [one.is_blocked for one in known]
    readable = [one.status == "active" and not one.is_blocked for one in known]
    assert [one["readable"] for one in listed] == readable
    assert 10 < readable.count(False) < 90
    chosen = [one.id for one in known if (one.integration, one.tenant_id) == ("slack", TENANT)]
    assert [line.split()[0] for line in text.out.splitlines()] == chosen
    assert chosen
    assert f"{len(chosen)} account" in text.err
    assert refused.code == 4


async def test_readable_accounts_are_exported_and_the_others_are_reported(
    tmp_path: Path,
) -> None:
    async with running_emulator(EmulatorConfig(accounts=ACCOUNTS)) as emulator:
        args = all_args(tmp_path, emulator.url, "--integration", "github")
        ended = await run_cli(*args)
        named = {one.value("integrated_account_id") for one in emulator.requests} - {None}
    assert ended.code == 0, ended.err
    readable = {
        one.id
        for one in ACCOUNTS.values()
        if one.integration == "github" and one.status == "active" and not one.is_blocked
    }
    assert named == readable
    table = ds.dataset(tmp_path / "licenses").to_table()
    assert table.num_rows == 3 * len(readable)
    assert set(table["integrated_account_id"].to_pylist()) == readable
    assert re.search(r"skipped \d+ accounts? \(blocked\): ", ended.err)
    assert re.search(r"skipped \d+ accounts? \(needs_reauth\): ", ended.err)
    assert ended.summary["skipped"] == sorted(
        (
            {"account": one.id, "reason": "blocked" if one.is_blocked else one.status}
            for one in ACCOUNTS.values()
            if one.integration == "github" and one.id not in readable
        ),
        key=lambda one: str(one["account"]),
    )


async def test_accounts_as_csv_are_what_an_export_reads(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        connection = ["--base-url", emulator.url]
        listed = await run_cli("accounts", "--csv", "--tenant", TENANT, *connection)
        args = all_args(tmp_path, emulator.url)
        args[args.index("--all-accounts") :] = ["--accounts-file", "-"]
        ended = await run_cli(*args, stdin=listed.out.encode())
        both = await run_cli("accounts", "--csv", "--json", *connection)
    of_tenant = [one for one in ACCOUNTS.values() if one.tenant_id == TENANT]
    readable = [one for one in of_tenant if one.status == "active" and not one.is_blocked]
    assert 0 < len(readable) < len(of_tenant)
    assert list(csv.reader(listed.out.splitlines())) == [
        ["account", "integration", "tenant_id"],
        *([one.id, one.integration, TENANT] for one in readable),
    ]
    assert "skipped" in listed.err
    assert (ended.code, ended.err) == (0, "")
    assert {one["account"] for one in ended.summary["accounts"]} == {one.id for one in readable}
    assert (both.code, both.err) == (2, "streamlic: --csv excludes --json\n")


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        (
            ["--integration", "slak"],
            "no account has the integration 'slak': there are ",
        ),
        (["--tenant", "t"], "no account has the tenant 't': of 230 accounts there "),
        (
            ["--integration", "slack", "--tenant", "t"],
            "no account of the integration 'slack' has the tenant 't': of ",
        ),
    ],
)
async def test_filters_that_leave_no_account_are_answered_with_what_there_is(
    tmp_path: Path, filters: list[str], says: str
) -> None:
    async with running_emulator(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        listed = await run_cli("accounts", "--json", "--base-url", emulator.url, *filters)
        refused = await run_cli(*all_args(tmp_path / "out", emulator.url, *filters))
    assert (listed.code, json.loads(listed.out)) == (0, {"accounts": []})
    assert f"streamlic: warning: {says}" in listed.err
    assert refused.code == 2
    assert f"streamlic: {says}" in refused.err
    counts = Counter(one.integration for one in ACCOUNTS.values())
    if "slak" in filters:
        for name, count in counts.items():
            assert f"{name} ({count})" in refused.err
    assert not (tmp_path / "out").exists()


def test_of_many_integrations_the_largest_are_listed() -> None:
    one = IntegratedAccount(
        id="a", tenant_id=None, integration="most", status="active", is_blocked=False
    )
    others = [replace(one, integration=f"i{number}") for number in range(30)]
    says = why_none([one, *others, one], "none", None)
    assert "there are most (2), i0 (1), " in says
    assert says.endswith("i18 (1), and 11 more")
    assert why_none([], "none", None).endswith("there is no account at all")
    assert why_none([one], None, "t").endswith("of 1 account there are 0 tenants")


async def test_a_run_of_all_accounts_keeps_those_that_it_began_with(tmp_path: Path) -> None:
    """The process is killed; then one account goes and one comes."""
    accounts = dict(emulated_accounts(6, records=5))
    last, new = max(accounts), "ffffffff-0000-4000-8000-000000000000"
    more = ["--concurrency", "1", "--commit-seconds", "0"]
    async with running_emulator(EmulatorConfig(accounts=accounts, latency_ms=100)) as emulator:
        args = all_args(tmp_path, emulator.url, *more)
        process = await start_cli(*args)
        await asked(emulator, 4)
        process.kill()
        await process.communicate()
        removed = accounts.pop(last)
        accounts[new] = replace(removed, id=new)
        failed = await run_cli(*args)
        accounts[last] = removed
        before = len(emulator.requests)
        ended = await run_cli(*args)
        left = [one.value("integrated_account_id") for one in emulator.requests][before:]
    assert failed.code == 6
    assert [one["account"] for one in failed.summary["accounts"] if one["error"]] == [last]
    assert ended.code == 0, ended.err
    assert left == [None, last]
    assert ended.summary["rows"] == 30
    assert new not in {one["account"] for one in ended.summary["accounts"]}


async def test_accounts_that_cannot_be_read_tonight_keep_last_nights_rows(tmp_path: Path) -> None:
    """Whatever the mode completes without: they are skipped, and nothing of theirs may go."""
    accounts = dict(emulated_accounts(12, records=5))
    blocked, disconnected, *_, deleted = accounts
    async with running_emulator(EmulatorConfig(accounts=accounts)) as emulator:
        args = all_args(tmp_path, emulator.url, "--mode", "overwrite")
        assert (await run_cli(*args)).code == 0
        accounts[blocked] = replace(accounts[blocked], is_blocked=True)
        accounts[disconnected] = replace(accounts[disconnected], status="needs_reauth")
        del accounts[deleted]
        emulator.config = replace(emulator.config, accounts=accounts)
        second = await run_cli(*args)
        third = await run_cli(*args, "--log-format", "json")
        text = await run_cli(*[one for one in args if one != "--json"])
        shown = await run_cli("inspect", str(tmp_path), "--json")
        shown_text = await run_cli("inspect", str(tmp_path))
        verified = await run_cli("verify", str(tmp_path))
        dropping = await run_cli(*args, "--absent-accounts", "drop")
    carried = sorted(
        [
            {"account": blocked, "reason": "blocked", "rows": 5},
            {"account": disconnected, "reason": "needs_reauth", "rows": 5},
        ],
        key=lambda one: str(one["account"]),
    )
    for ended in (second, third):
        assert ended.code == 0, ended.err
        assert ended.summary["carried_over"] == carried
        assert {one["account"] for one in ended.summary["skipped"]} == {blocked, disconnected}
        assert ended.summary["failed"] == []
        assert ended.summary["rows"] == 55
    assert second.summary["dropped"] == [{"account": deleted, "rows": 5}]
    assert third.summary["dropped"] == []
    skipped = [json.loads(line) for line in third.err.splitlines() if '"skipped", ' in line]
    assert {one["why"]: one["ids"] for one in skipped if one["event"] == "skipped"} == {
        "blocked": [blocked],
        "needs_reauth": [disconnected],
    }
    assert "10 rows of 2 accounts that were not read are carried over" in text.out
    assert f"carried over, blocked: {blocked} (5 rows)" in " ".join(text.out.split())
    assert f"skipped, needs_reauth: {disconnected}" in text.out
    reported = shown.summary["runs"][-1]["carried_over"]
    assert [{name: one[name] for name in carried[0]} for one in reported] == carried
    assert shown.summary["rows"] == 55
    assert "2 carried over since" in " ".join(shown_text.out.split())
    assert verified.code == 0
    assert dropping.summary["carried_over"] == []
    assert ds.dataset(tmp_path / "licenses").count_rows() == 45


async def test_a_resumed_run_remembers_which_accounts_it_skipped(tmp_path: Path) -> None:
    """The run keeps the accounts that it started with, even if others are readable by then."""
    accounts = dict(emulated_accounts(4, records=5))
    blocked, *_ = accounts
    healthy = accounts[blocked]
    accounts[blocked] = replace(healthy, is_blocked=True)
    async with running_emulator(EmulatorConfig(accounts=accounts, latency_ms=100)) as emulator:
        args = all_args(tmp_path, emulator.url, "--concurrency", "1", "--commit-seconds", "0")
        process = await start_cli(*args)
        await asked(emulator, 3)
        process.kill()
        await process.communicate()
        accounts[blocked] = healthy
        ended = await run_cli(*args)
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"] is True
    assert ended.summary["skipped"] == [{"account": blocked, "reason": "blocked"}]
    assert ended.summary["rows"] == 15


async def test_no_account_at_all_is_wrong_use(tmp_path: Path) -> None:
    one = replace(next(iter(ACCOUNTS.values())), is_blocked=True)
    for accounts, says in [({}, "none of 0 accounts"), ({one.id: one}, "none of 1 account ")]:
        async with running_emulator(EmulatorConfig(accounts=accounts)) as emulator:
            ended = await run_cli(*all_args(tmp_path / "out", emulator.url))
        assert ended.code == 2
        assert says in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--tenant", "--integration"])
async def test_a_filter_of_invalid_unicode_is_a_usage_error(tmp_path: Path, option: str) -> None:
    nowhere = "http://127.0.0.1:9"
    ended = await run_cli("accounts", "--base-url", nowhere, option, "a\udcff")
    exported = await run_cli(*all_args(tmp_path / "out", nowhere, option, "a\udcff"))
    for one in (ended, exported):
        assert one.code == 2
        assert f"expected valid Unicode, got 'a\\udcff' ({option})" in one.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b'{"result":{}}', PageMismatch, "expected result to be a list, got dict"),
        (b'{"result":[5]}', PageMismatch, "expected an account with an id, got 5$"),
        (b'{"result":[{"id":"\\u001b"}]}', PageMismatch, "expected an account with an id"),
        (b'{"result":[],"next_cursor":"1"}', PageMismatch, "same cursor twice"),
        (b'{"result":[],"next_cursor":"\\ud800"}', PageMismatch, "same cursor twice"),
        (b'{"result":[],"next_cursor":5}', PageMismatch, "same cursor twice"),
        (b'{"result":[],"next_cursor":true}', PageMismatch, "to be a string or null, got bool"),
        (b'{"result":[],"next_cursor":0.5}', PageMismatch, "to be a string or null, got float"),
        (b'{"result":[],"next_cursor":["a"]}', PageMismatch, "to be a string or null, got list"),
        (b'{"result":[],"next_cursor":{}}', PageMismatch, "to be a string or null, got dict"),
        (b"[]", TransportError, "expected an object, got list"),
        (b'{"result":[', TransportError, "expected JSON"),
    ],
)
async def test_a_list_that_is_none_is_an_error(
    body: bytes, error: type[StreamlicError], says: str
) -> None:
    """Every attempt gets it, then the list ends: retries without a bound would succeed."""
    several = [whole(body)] * 6
    async with server(*several, whole(b'{"result":[]}')) as (url, _), connection(url) as asking:
        with pytest.raises(error, match=says):
            _ = [one async for one in integrated_accounts(asking)]


async def test_a_list_that_fails_for_long_is_not_waited_for_in_silence() -> None:
    bad = whole(b'{"message":"in a minute"}', status=b"502 Bad Gateway")
    async with server(bad, whole(b'{"result":[]}')) as (url, _):
        ended = await run_cli("accounts", "--base-url", url)
    assert ended.code == 0
    assert "attempt 1 to list the accounts failed: HTTP 502 Bad Gateway: in a min" in ended.err
    assert "trying again in" in ended.err


async def test_an_error_that_status_200_hides_is_that_error() -> None:
    body = b'{"statusCode":403,"error":"Forbidden","message":"no such scope"}'
    async with server(whole(body), whole(b'{"result":[]}')) as (url, asked):
        async with connection(url) as asking:
            with pytest.raises(ApiError, match="403 Forbidden: no such scope"):
                _ = [one async for one in integrated_accounts(asking)]
    assert len(asked) == 1


async def test_a_cursor_with_an_unpaired_surrogate_is_asked_for_as_the_decoders_would() -> None:
    first = b'{"result":[],"next_cursor":"a\\ud800\\ud83d\\ude00"}'
    async with server(whole(first), whole(b'{"result":[]}')) as (url, asked):
        async with connection(url) as asking:
            assert [one async for one in integrated_accounts(asking)] == []
    assert b"next_cursor=a%EF%BF%BD%F0%9F%98%80 " in asked[1]


async def test_what_is_quoted_of_a_list_does_not_show_the_token() -> None:
    """Its JSON is quoted, where the token is escaped."""
    body = json.dumps({"result": [{"token": RAW_TOKEN}]}).encode()
    async with server(whole(body)) as (url, _), connection(url) as asking:
        with pytest.raises(PageMismatch, match="expected an account with an id") as caught:
            _ = [one async for one in integrated_accounts(asking)]
    assert str(caught.value).endswith('got {"token": "***"}')


async def test_a_live_list_may_name_an_account_twice_and_hold_any_text() -> None:
    one = next(iter(ACCOUNTS.values())).listed()
    odd = {**one, "tenant_id": "\ud800\x1b[31m", "id": "0" + str(one["id"])[1:]}
    without = {**one, "id": "a\ud800\x1b[31m\nb"}
    body = json.dumps({"result": [one, one, odd, without], "next_cursor": None}).encode()
    async with server(whole(body, b"Content-Type: application/json")) as (url, _):
        ended = await run_cli("accounts", "--base-url", url)
        as_json = await run_cli("accounts", "--json", "--base-url", url)
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 3
    assert "\x1b" not in ended.out
    assert json.loads(as_json.out)["accounts"][2]["id"] == "a [31m b"
