"""The emulator answers as Truto does, to its own SDKs' habits too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from streamlic.emulator import (
    ACCOUNT_SECRET,
    EmulatorConfig,
    emulated_accounts,
    license_json,
    license_record,
    parse_fault,
    running_emulator,
)
from streamlic.emulator.records import CYCLE, Shape, blocks
from streamlic.emulator.vendors import PRODUCTS
from streamlic.errors import UsageError
from tests.support.cli import run_cli

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
PATH = "/unified/user-directory/licenses"


class Asking:
    """Asks the emulator as any client might."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(
        self, *query: tuple[str, str], path: str = PATH, end: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        text = "&".join(f"{quote(key)}={quote(value)}" for key, value in query)
        url = URL(f"{self._url}{path}?{text}{end}", encoded=True)
        async with self._session.get(url, headers=headers) as response:
            return response.status, await response.json(), dict(response.headers)


@asynccontextmanager
async def asking(**config: Any) -> AsyncIterator[Asking]:
    async with (
        running_emulator(EmulatorConfig(**config)) as emulator,
        aiohttp.ClientSession() as session,
    ):
        yield Asking(session, emulator.url)


OF_ACCOUNT = ("integrated_account_id", ACCOUNT)


def test_records_are_a_pure_function_of_seed_account_and_number() -> None:
    assert license_json(7, ACCOUNT, 5) == license_json(7, ACCOUNT, 5)
    assert license_json(7, ACCOUNT, 5) != license_json(8, ACCOUNT, 5)
    assert license_record(7, ACCOUNT, 5)["id"] == f"lic-{ACCOUNT[:8]}-000000005"
    ids = {license_record(7, ACCOUNT, i)["id"] for i in range(3000)}
    assert len(ids) == 3000
    body = b"[" + b"".join(blocks(7, ACCOUNT, 250, 1300, Shape())) + b"]"
    assert json.loads(body) == [license_record(7, ACCOUNT, i) for i in range(250, 1300)]


def test_records_vary_like_the_real_world() -> None:
    texts = [license_json(7, ACCOUNT, i) for i in range(CYCLE)]
    records = [json.loads(text) for text in texts]
    assert any(b"\\u00e9" in text for text in texts)
    assert any("\U0001f600" in record.get("name", "") for record in records)
    assert any("cost_center" in record for record in records)
    assert any(len(record.get("products", [])) == 60 for record in records)
    assert any(record.get("is_paid") == "yes" for record in records)
    assert any(b"1e2" in text for text in texts)
    assert 0.85 < sum("name" in record for record in records) / CYCLE < 0.97
    assert len({tuple(record) for record in records}) > 100


@pytest.mark.parametrize("integration", ["generic", *PRODUCTS])
def test_the_seats_of_every_integration_are_believable(integration: str) -> None:
    shape = Shape(integration=integration)
    records = [license_record(7, ACCOUNT, i, shape) for i in range(CYCLE)]
    seats = [(one.get("available_quantity"), one.get("assigned_quantity")) for one in records]
    limited = [(all_, used) for all_, used in seats if isinstance(all_, int)
               and isinstance(used, int) and all_ >= 0]  # fmt: skip
    assert 0.05 < 1 - sum(used for _, used in limited) / sum(all_ for all_, _ in limited) < 0.25
    assert 0.01 < sum(used > all_ for all_, used in limited) / CYCLE < 0.06
    assert 0.03 < seats.count((None, None)) / CYCLE < 0.1
    unlimited = [one for one in records if one.get("available_quantity") == -1]
    assert 0 < len(unlimited) / CYCLE < 0.15
    assert {one.get("is_paid") for one in unlimited} <= {False, None, "yes"}


async def test_an_accounts_licenses_suit_its_integration() -> None:
    accounts = emulated_accounts(24, records=200)
    async with asking(accounts=accounts, page_size=200) as ask:
        for one in accounts.values():
            rows = (await ask(("integrated_account_id", one.id)))[1]["result"]
            sold = PRODUCTS[one.integration]
            assert {row.get("name") for row in rows} == {None, *(product.name for product in sold)}
            assert {row.get("currency") for row in rows} == {None, sold[0].currency}
            assert rows[5] == license_record(7, one.id, 5, Shape(integration=one.integration))
    assert len({one.integration for one in accounts.values()}) == len(PRODUCTS) == 12
    assert len({one.tenant_id for one in accounts.values()}) == 24
    everyone = emulated_accounts(500).values()
    assert len({(one.tenant_id, one.integration) for one in everyone}) == 500


async def test_pages_lead_to_the_end() -> None:
    async with asking(records=25, page_size=10) as ask:
        cursor, seen, lengths = "", list[Any](), list[int]()
        while True:
            more = [("next_cursor", cursor)] * bool(cursor)
            status, body, _ = await ask(OF_ACCOUNT, *more)
            assert status == 200
            assert body["result_count"] == len(body["result"])
            lengths.append(len(body["result"]))
            seen += body["result"]
            cursor = body["next_cursor"]
            if not cursor:
                break
    assert lengths == [10, 10, 5]
    assert seen == [license_record(7, ACCOUNT, i) for i in range(25)]


async def test_the_sdks_habits_on_the_wire_are_understood() -> None:
    async with asking(records=25, page_size=10) as ask:
        expected = (await ask(OF_ACCOUNT, ("truto_exclude_fields[]", "name")))[1]["result"]
        python = [("limit", "None"), ("next_cursor", "None"), ("truto_exclude_fields[]", "name")]
        typescript = [("next_cursor", ""), ("limit", ""), ("truto_exclude_fields[0]", "name")]
        commas = [("truto_exclude_fields", "name,nothing")]
        for habit in (python, typescript, commas):
            assert (await ask(OF_ACCOUNT, *habit))[1]["result"] == expected
        json_type = {"Content-Type": "application/json"}
        assert (await ask(OF_ACCOUNT, **json_type))[0] == 200
        assert (await ask(path="/ping"))[0] == 200, "a URL may end in a question mark"


async def test_results_are_keyed_as_lodash_does() -> None:
    async with asking(records=30, page_size=30) as ask:
        plain = (await ask(OF_ACCOUNT))[1]["result"]
        by_id = (await ask(OF_ACCOUNT, ("truto_key_by", "id")))[1]["result"]
        by_status = (await ask(OF_ACCOUNT, ("truto_key_by", "status")))[1]["result"]
    assert by_id == {record["id"]: record for record in plain}
    assert by_status == {record.get("status", "undefined"): record for record in plain}


@pytest.mark.parametrize(
    ("config", "query", "status", "says"),
    [
        ({}, [], 400, "integrated_account_id is required"),
        ({}, [("integrated_account_id", "x")], 400, "integrated_account_id is required"),
        ({"accounts": {}}, [OF_ACCOUNT], 404, "not found"),
        ({}, [OF_ACCOUNT, ("limit", "0")], 400, "limit must be"),
        ({}, [OF_ACCOUNT, ("truto_response_format", "csv")], 400, "must be one of"),
        ({}, [OF_ACCOUNT, ("next_cursor", "junk")], 400, "not valid"),
        ({"integration": "microsoft365"}, [OF_ACCOUNT], 400, "product is required"),
        ({"integration": "github"}, [OF_ACCOUNT], 400, "organization_id is required"),
        ({"token": "t"}, [OF_ACCOUNT], 401, "Invalid API token"),
    ],
)
async def test_errors_are_trutos_envelopes(
    config: dict[str, Any], query: list[tuple[str, str]], status: int, says: str
) -> None:
    async with asking(records=5, **config) as ask:
        got, body, headers = await ask(*query)
    assert got == body["statusCode"] == status
    assert body["error"]
    assert says in body["message"]
    assert headers["Content-Type"].startswith("application/json")
    insight = body.get("truto_error_insight", {})
    assert ("missing_required_query_parameters" in insight) == ("is required" in says)


async def test_one_account_is_what_the_list_has_of_it() -> None:
    accounts = emulated_accounts(6, records=3, unhealthy_share=0.5)
    async with asking(accounts=accounts, token="t") as ask:
        with_token = {"Authorization": "Bearer t"}
        listed = (await ask(path="/integrated-account", **with_token))[1]["result"]
        each = [await ask(path=f"/integrated-account/{id_}", **with_token) for id_ in accounts]
        unknown = await ask(path=f"/integrated-account/{ACCOUNT}", **with_token)
        stranger = await ask(path=f"/integrated-account/{next(iter(accounts))}")
    assert [(status, one) for status, one, _ in each] == [(200, one) for one in listed]
    assert (unknown[0], unknown[1]["message"]) == (404, "Integrated account not found")
    assert stranger[0] == 401
    for one in listed:
        assert ACCOUNT_SECRET in json.dumps(one["context"])
        needs_reauth = one["status"] == "needs_reauth"
        assert (ACCOUNT_SECRET in json.dumps(one["last_error"])) == needs_reauth
    assert {one["status"] for one in listed} == {"active", "needs_reauth"}


async def test_every_account_is_a_plain_one_where_all_exist() -> None:
    async with asking(records=5) as ask:
        status, one, _ = await ask(path=f"/integrated-account/{ACCOUNT}")
        unknown = await ask(path="/integrated-account/none")
    assert (status, one["id"], one["status"], one["is_blocked"]) == (200, ACCOUNT, "active", False)
    assert one["integration"] == {"name": "generic"}
    assert unknown[0] == 404


async def test_a_cursor_belongs_to_its_request() -> None:
    async with asking(records=25, page_size=10) as ask:
        cursor = (await ask(OF_ACCOUNT))[1]["next_cursor"]
        status, body, _ = await ask(OF_ACCOUNT, ("truto_key_by", "id"), ("next_cursor", cursor))
    assert status == 400
    assert "belongs to another request" in body["message"]


async def test_both_rate_limits_are_enforced_when_asked_for() -> None:
    async with asking(records=1, rate_limits=True) as ask:
        answers = [await ask(OF_ACCOUNT) for _ in range(51)]
    assert [status for status, _, _ in answers] == [200] * 50 + [429]
    assert answers[0][2]["ratelimit-limit"] == "50;w=10"
    assert answers[0][2]["ratelimit-remaining"] == "49"
    assert answers[-1][2]["Retry-After"] == "10"
    assert "rate_limit_error" in answers[-1][1]["truto_error_insight"]


async def test_raw_bodies_have_the_shape_of_microsoft_graph() -> None:
    async with asking(records=15, page_size=10) as ask:
        body = (await ask(OF_ACCOUNT, ("truto_response_format", "raw")))[1]
    assert list(body) == ["@odata.context", "value", "@odata.nextLink"]
    assert body["value"][3] == license_record(7, ACCOUNT, 3)["remote_data"]


async def test_only_stream_is_sent_without_a_length() -> None:
    async with asking(records=15) as ask:
        for form in ("unified", "normalized", "raw", "stream"):
            _, _, headers = await ask(OF_ACCOUNT, ("truto_response_format", form))
            assert ("Content-Length" in headers) == (form != "stream")


@pytest.mark.parametrize("host", ["a..b", "a\udcff.b"])
async def test_a_host_that_no_name_server_takes_is_refused(host: str) -> None:
    ended = await run_cli("emulate", "--host", host)
    assert ended.code == 2
    assert "--host" in ended.err


@pytest.mark.parametrize("text", ["none", "html@0", "html@soon", "429=soon"])
def test_an_error_in_a_fault_names_its_parameter(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_fault(text)
    assert raised.value.parameter == "fault"
    assert "--" not in str(raised.value)
