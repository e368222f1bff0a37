"""From night to night the emulated Truto changes as a pure function says."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from streamlic.emulator import (
    Emulator,
    EmulatorConfig,
    World,
    emulated_accounts,
    license_record,
    night_time,
    running_emulator,
    world,
)
from streamlic.emulator.records import Shape
from tests.support.cli import run_cli

PATH = "/unified/user-directory/licenses"
ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
ACCOUNTS = emulated_accounts(30, records=25, unhealthy_share=0.1)

OF_NIGHT_5 = {"updated_at[gt]": "2026-01-05T02:00:00Z"}
OF_NO_NIGHT = {"updated_at[lt]": "2000-01-01"}


@asynccontextmanager
async def asking(config: EmulatorConfig) -> AsyncIterator[tuple[Emulator, Any]]:
    async with running_emulator(config) as emulator, aiohttp.ClientSession() as session:

        async def ask(path: str, **query: str) -> Any:
            async with session.get(emulator.url + path, params=query) as response:
                return response.status, await response.json()

        yield emulator, ask


async def listing(ask: Any, path: str, **query: str) -> list[Any]:
    """Return what all pages have; each states how many that is."""
    found: list[Any] = []
    cursor = ""
    while True:
        status, body = await ask(path, **query, **({"next_cursor": cursor} if cursor else {}))
        assert status == 200, body
        assert body.get("result_count", len(body["result"])) == len(body["result"])
        found += body["result"]
        cursor = body["next_cursor"]
        if not cursor:
            return found
        assert body["result"]


def rows_of(one: World) -> dict[str, dict[str, Any]]:
    """Return every license of a night by its id."""
    rows = [row for account in one.accounts for row in one.licenses(account)]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


async def test_the_emulator_answers_every_night_as_the_world_says() -> None:
    config = EmulatorConfig(accounts=ACCOUNTS, page_size=10, changes=0.1)
    async with asking(config) as (emulator, ask):
        for night in (0, 1, 6, 3):
            emulator.night = night
            tonight = world(ACCOUNTS, night=night, changes=0.1)
            assert await listing(ask, "/integrated-account", limit="7") == [
                one.listed() for one in tonight.accounts.values()
            ]
            for account, known in tonight.accounts.items():
                assert (await ask(f"/integrated-account/{account}"))[1] == known.listed()
                readable = known.status == "active" and not known.is_blocked
                if readable:
                    rows = await listing(ask, PATH, integrated_account_id=account)
                    assert rows == tonight.licenses(account)
                else:
                    status, _ = await ask(PATH, integrated_account_id=account)
                    assert status == (503 if known.is_blocked else 401)
            for account in ACCOUNTS.keys() - tonight.accounts.keys():
                assert (await ask(PATH, integrated_account_id=account))[0] == 404
                assert (await ask(f"/integrated-account/{account}"))[0] == 404


def test_night_zero_is_what_there_was_without_nights() -> None:
    first = world(ACCOUNTS, night=0)
    assert first.accounts == ACCOUNTS
    for account, known in ACCOUNTS.items():
        shape = Shape(integration=known.integration)
        assert first.licenses(account) == [license_record(7, account, i, shape) for i in range(25)]


def test_a_night_depends_on_the_seed_alone() -> None:
    given = emulated_accounts(10, records=40)
    assert rows_of(world(given, night=9)) == rows_of(world(given, night=9))
    assert rows_of(world(given, night=9)) != rows_of(world(given, night=9, seed=8))
    assert rows_of(world(given, night=9, changes=0)) == rows_of(world(given, night=0))
    assert rows_of(world(given, night=1, changes=1)) != rows_of(world(given, night=0))


def test_licenses_move_come_and_go_as_often_as_asked_for() -> None:
    given = {id_: one.records for id_, one in emulated_accounts(10, records=500).items()}
    nights = [World(first=given, night=night, changes=0.03) for night in range(5)]
    for before, after in pairwise([rows_of(one) for one in nights]):
        stayed = before.keys() & after.keys()
        moved = [id_ for id_ in stayed if before[id_] != after[id_]]
        share = {
            "moved": len(moved) / len(before),
            "gone": len(before.keys() - after.keys()) / len(before),
            "new": len(after.keys() - before.keys()) / len(before),
        }
        assert 0.015 < share["moved"] < 0.028, share
        # A new or a deleted account brings or takes all its licenses.
        assert share["gone"] > 0.002
        assert share["new"] > 0.002
        counts = ("assigned_quantity", "available_quantity")
        numbers = [[rows[id_].get(key) for key in counts] for rows in (before, after)
                   for id_ in moved]  # fmt: skip
        is_seen = [one != other for one, other in
                   zip(numbers[: len(moved)], numbers[len(moved) :], strict=True)]  # fmt: skip
        assert sum(is_seen) / len(moved) > 0.85, "all but those that report no numbers"


def test_what_changed_in_a_night_says_so() -> None:
    nights = [world(ACCOUNTS, night=night, changes=0.1) for night in range(8)]
    for before, after in pairwise(nights):
        old, new = rows_of(before), rows_of(after)
        last = night_time(before.night)
        said = {id_ for id_, row in new.items() if changed_since(row, last)}
        stayed = {
            id_
            for account in before.accounts.keys() & after.accounts.keys()
            for id_ in (row["id"] for row in after.licenses(account))
        }
        assert said == {id_ for id_ in stayed if old.get(id_) != new[id_]}
        for id_ in said - old.keys():
            assert new[id_]["created_at"] == new[id_]["updated_at"]


def changed_since(row: dict[str, Any], moment: datetime) -> bool:
    text = row.get("updated_at", "")
    if not text.startswith("2026"):
        return False
    assert text.endswith("Z")
    return datetime.fromisoformat(text) > moment


def test_accounts_are_lost_come_back_are_deleted_and_are_added() -> None:
    given = emulated_accounts(200, records=1, unhealthy_share=0.1)
    nights = [world(given, night=night).accounts for night in range(31)]
    seen: Counter[str] = Counter()
    gone: set[str] = set()
    for number, (before, after) in enumerate(pairwise(nights), 1):
        assert not gone & after.keys(), "a deleted account does not come back"
        gone |= before.keys() - after.keys()
        seen["deleted"] += len(before.keys() - after.keys())
        for id_ in after.keys() - before.keys():
            seen["added"] += 1
            assert after[id_].created_at > night_time(number - 1).isoformat()
        for id_ in before.keys() & after.keys():
            was, now = before[id_], after[id_]
            if (was.status, was.is_blocked) == (now.status, now.is_blocked):
                assert was == now
                continue
            assert now.updated_at > night_time(number - 1).isoformat()
            kind = "blocked" if now.is_blocked else now.status
            seen[kind if kind != "active" else "back"] += 1
    assert seen.keys() == {"deleted", "added", "blocked", "needs_reauth", "back"}
    changed = seen["deleted"] + seen["added"] + seen["blocked"] + seen["needs_reauth"]
    assert 0.02 < changed / 30 / 200 < 0.04
    assert 150 < len(nights[-1]) < 250
    unreadable = [one for one in nights[-1].values() if one.is_blocked or one.status != "active"]
    assert 0.01 < len(unreadable) / len(nights[-1]) < 0.2
    ids = {id_ for one in nights for id_ in one}
    assert len({id_[:8] for id_ in ids}) == len(ids)


async def test_a_changed_license_has_the_shape_that_the_request_asks_for() -> None:
    config = EmulatorConfig(records=60, page_size=100, night=4, changes=0.5)
    plain = config.world.licenses(ACCOUNT)
    assert any(row.get("updated_at", "") > "2026" for row in plain)
    async with asking(config) as (_, ask):
        given = {"integrated_account_id": ACCOUNT}
        raw = (await ask(PATH, **given, truto_response_format="raw"))[1]["value"]
        by_id = (await ask(PATH, **given, truto_key_by="id"))[1]["result"]
        by_name = (await ask(PATH, **given, truto_key_by="name"))[1]["result"]
        less = (await ask(PATH, **given, truto_exclude_fields="updated_at,remote_data"))[1]
        first = (await ask(PATH, **given, **{"remote_query[first]": "7"}))[1]["result"]
    assert raw == [row["remote_data"] for row in plain]
    assert by_id == {row["id"]: row for row in plain}
    assert by_name == {row.get("name", "undefined"): row for row in plain}
    assert less["result"] == [
        {key: value for key, value in row.items() if key not in ("updated_at", "remote_data")}
        for row in plain
    ]
    assert first == plain[:7]
    moved = [row for row in plain if type(row.get("assigned_quantity")) is int]
    assert all(row["remote_data"]["consumedUnits"] == row["assigned_quantity"] for row in moved)


async def test_the_night_is_moved_over_http() -> None:
    config = EmulatorConfig(accounts=ACCOUNTS, nights=3, token="t")
    async with running_emulator(config) as emulator, aiohttp.ClientSession() as session:

        async def post(body: str = "") -> tuple[int, Any]:
            async with session.post(f"{emulator.url}/emulator/night", data=body) as response:
                return response.status, await response.json()

        async with session.get(f"{emulator.url}/emulator/night") as response:
            assert await response.json() == {
                "night": 0,
                "nights": 3,
                "time": "2026-01-01T02:00:00.000Z",
                "accounts": 30,
            }
        assert [(await post())[1]["night"] for _ in range(2)] == [1, 2]
        assert emulator.world.accounts == world(ACCOUNTS, night=2).accounts
        status, body = await post()
        assert (status, emulator.night) == (409, 2)
        assert "night 2 is the last one" in body["message"]
        assert (await post('{"night": 1}'))[1]["time"] == "2026-01-02T02:00:00.000Z"
        for bad in ('{"night": 3}', '{"night": -1}', '{"night": true}', "{}", "[]", "5", "x"):
            assert (await post(bad))[0] == 400, bad
        assert emulator.night == 1
        assert not emulator.requests, "they are not requests to Truto"


async def test_nights_of_accounts_without_end_are_refused() -> None:
    ended = await run_cli("emulate", "--nights", "3", "--records", "1000001")
    assert ended.code == 2
    assert "at most 1,000,000 licenses" in ended.err
    assert "(--records)" in ended.err


@pytest.mark.parametrize("night", [0, 5])
@pytest.mark.parametrize(
    "filters",
    [
        OF_NIGHT_5,
        {"updated_at[gte]": "2020-02-01", "updated_at[lt]": "2026-01-04T12:00:00+02:00"},
        {"created_at[lte]": "2021-07-01T00:00:00.5Z"},
        {"created_at[gt]": "2019-01-01", "updated_at[lte]": "2026-01-05"},
        OF_NO_NIGHT,
    ],
    ids="&".join,
)
async def test_filters_by_time_are_honoured_on_every_page(
    night: int, filters: dict[str, str]
) -> None:
    config = EmulatorConfig(records=2500, page_size=90, night=night, changes=0.2)
    wanted = [row for row in config.world.licenses(ACCOUNT) if meets(row, filters)]
    async with asking(config) as (_, ask):
        found = await listing(ask, PATH, integrated_account_id=ACCOUNT, **filters)
    assert found == wanted
    assert len(wanted) < 2500
    assert bool(wanted) == (night == 5 if filters == OF_NIGHT_5 else filters != OF_NO_NIGHT)


def meets(row: dict[str, Any], filters: dict[str, str]) -> bool:
    for name, wanted in filters.items():
        field, _, operator = name.removesuffix("]").partition("[")
        given = row.get(field)
        if given in (None, "never"):
            return False
        got, bound = moment_of(given), moment_of(wanted)
        if got < bound if operator.startswith("g") else got > bound:
            return False
        if got == bound and not operator.endswith("e"):
            return False
    return True


def moment_of(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=night_time(0).tzinfo)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (PATH, "sort_by", "name"),
        (PATH, "updated_at", "2026-01-01"),
        (PATH, "updated_at[since]", "2026-01-01"),
        (PATH, "updated_at[gt]", "yesterday"),
        (PATH, "status", "active"),
        (PATH, "name[]", "x"),
        ("/integrated-account", "tenant", "acme"),
        ("/integrated-account", "updated_at[gt]", "2026-01-01"),
    ],
)
async def test_a_parameter_that_would_be_ignored_is_refused(
    path: str, name: str, value: str
) -> None:
    async with asking(EmulatorConfig(records=5)) as (_, ask):
        given = {"integrated_account_id": ACCOUNT} if path == PATH else {}
        status, body = await ask(path, **given, **{name: value})
        empty, _ = await ask(path, **given, **{name: ""})
    assert status == body["statusCode"] == 400
    assert name in body["message"]
    assert empty == 200, "an SDK's way to leave it out"
