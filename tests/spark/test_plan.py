"""What the driver decides of a read, without a cluster: options, accounts and bundles."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

import streamlic
from streamlic import RateLimit
from streamlic.emulator import EmulatedAccount, EmulatorConfig
from tests.spark.cluster import ROOT
from tests.support.cli import TOKEN
from tests.support.reading import settings_of
from tests.support.server_thread import served, threads_of_ours

pytest.importorskip("pyspark", reason="`make test-spark` installs it")

from streamlic.integrations.spark.columns import column_names, narrowed, spark_schema
from streamlic.integrations.spark.option_table import OPTIONS, read_options
from streamlic.integrations.spark.permits import Permits
from streamlic.integrations.spark.plan import ReadPlan
from streamlic.integrations.spark.reading import read
from streamlic.resources.licenses import LICENSES

SMALL = EmulatedAccount(id="62f44730-dd91-461e-bd6a-aedd9e0ad79d", records=150)
HUGE = EmulatedAccount(id="0aa44730-dd91-461e-bd6a-aedd9e0ad79d", records=30_000, tenant_id="t")
BLOCKED = EmulatedAccount(id="0bb44730-dd91-461e-bd6a-aedd9e0ad79d", records=1, is_blocked=True)
OTHERS = [EmulatedAccount(id=f"{i:08x}-0000-4000-8000-000000000000", records=150) for i in range(9)]
ACCOUNTS = {one.id: one for one in (SMALL, HUGE, BLOCKED, *OTHERS)}


def plan(url: str, **options: str) -> ReadPlan:
    given = {"baseUrl": url, "rateLimit": "none", **options}
    return ReadPlan.of(read_options(given), slots=2)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUTO_API_TOKEN", TOKEN)


def test_unreadable_accounts_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        with caplog.at_level(logging.WARNING):
            bundles = plan(emulator.url, allAccounts="true").bundles()
    assert {one for bundle in bundles for one in bundle} == ACCOUNTS.keys() - {BLOCKED.id}
    assert len(bundles) == 2
    assert (
        f"1 account of 12 cannot be read now and is left out: {BLOCKED.id} (blocked)" in caplog.text
    )


def test_a_lake_of_an_earlier_run_says_which_accounts_are_huge(tmp_path: Path) -> None:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        connection = settings_of(emulator.url)
        streamlic.export(tmp_path / "lake", all_accounts=True, connection=connection)
        packed = plan(emulator.url, allAccounts="true", packingFrom=str(tmp_path / "lake"))
        bundles = [list(one) for one in packed.bundles()]
    assert bundles[0] == [HUGE.id]
    assert len(bundles) == 6


def test_a_lake_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    packed = plan("http://127.0.0.1:9", accounts=SMALL.id, packingFrom=str(tmp_path / "lake"))
    with pytest.raises(streamlic.UsageError, match="lake"):
        packed.bundles()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no account"),
        ("# nothing\n\naccount,tenant_id\n", "names no account"),
        ("account,seats\nx,1\n", "expected a header of account"),
        ("account,tenant_id\nx\n", "line 2: expected 2 cells, got 1"),
        (f"{SMALL.id}\n{SMALL.id.upper()}\n", "line 2: .* is already in line 1"),
        ("not-an-account\n", "must be a UUID"),
    ],
)
def test_a_file_of_accounts_is_checked(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text(text)
    with pytest.raises(streamlic.UsageError, match=says):
        plan("http://127.0.0.1:9", accountsFile=str(file))


def test_lines_of_a_file_change_the_request_of_their_accounts(tmp_path: Path) -> None:
    """As for ``export``: with the fields that no column needs left out of each."""
    file = tmp_path / "accounts.jsonl"
    ids = [one.id for one in OTHERS[:3]]
    lines = [{"account": ids[0], "limit": 50}, {"account": ids[1], "exclude_fields": ["roles"]},
             {"account": ids[2], "integration": "slack"}]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, lines)))
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        of_file = plan(emulator.url, accountsFile=str(file), limit="30", accountDetails="false")
        reading = of_file.reading(("integrated_account_id", "integration", "status"))
        rows = pa.Table.from_batches(
            one for bundle in of_file.bundles() for one in read(reading, bundle, None)
        )
        asked = {(one.value("integrated_account_id"), one.value("limit"))
                 for one in emulator.requests}  # fmt: skip
        left_out = {one.values("truto_exclude_fields").__len__() for one in emulator.requests}
    assert asked == {(ids[0], "50"), (ids[1], "30"), (ids[2], "30")}
    assert len(left_out) == 1
    found = rows.group_by(["integrated_account_id", "integration"]).aggregate([([], "count_all")])
    assert {*zip(*found.to_pydict().values(), strict=True)} == {
        (ids[0], None, 150), (ids[1], None, 150), (ids[2], "slack", 150),
    }  # fmt: skip


def test_every_parameter_of_a_request_is_an_option() -> None:
    texts = {
        "responseFormat": "unified",
        "product": "onedrive",
        "organizationId": "7",
        "limit": "10",
        "ignoreLimit": "true",
        "keyBy": "name",
        "ignoreRemoteData": "TRUE",
        "excludeFields": "roles, products",
        "remoteQuery": "a[b]=1&c[]=2",
        "query": "updated_at[gt]=2026-01-01&x=y=z",
    }
    request = plan("http://127.0.0.1:9", accounts=SMALL.id, **texts).selection.shared
    assert request == streamlic.LicensesRequest(
        account=SMALL.id,
        response_format="unified",
        product="onedrive",
        organization_id="7",
        limit=10,
        ignore_limit=True,
        key_by="name",
        ignore_remote_data=True,
        exclude_fields=("roles", "products"),
        remote_query={"a": {"b": "1"}, "c": ["2"]},
        query=(("updated_at[gt]", "2026-01-01"), ("x", "y=z")),
    )
    assert len(texts) == len(LICENSES.parameters)
    assert {*texts} <= {*OPTIONS}


def test_the_pickle_of_a_plan_and_of_a_reading_has_no_token() -> None:
    of_task = plan("http://127.0.0.1:9", accounts=SMALL.id)
    for one in (of_task, of_task.reading(("id",))):
        assert TOKEN.encode() not in pickle.dumps(one)


def test_the_slots_have_to_be_known() -> None:
    with pytest.raises(streamlic.UsageError, match=r"register\(spark\), or give the option slots"):
        ReadPlan.of(read_options({"accounts": SMALL.id}), slots=None)
    assert ReadPlan.of(read_options({"accounts": SMALL.id, "slots": "7"}), slots=None).slots == 7


def test_a_key_is_requested_even_if_no_column_needs_it() -> None:
    request = streamlic.LicensesRequest(account=SMALL.id, key_by="name")
    assert "name" not in narrowed(request, ["status"]).exclude_fields
    assert narrowed(request, spark_schema(raw=False).fieldNames()) == request


def test_the_schema_of_spark_is_that_of_the_lake() -> None:
    schema = spark_schema(raw=False)
    assert column_names(schema, raw=False) == tuple(schema.fieldNames())
    assert schema["products"].dataType.simpleString() == (
        "array<struct<id:string,name:string,status:string>>"
    )
    assert schema["remote_data"].dataType.simpleString() == "string"
    assert schema["created_at"].dataType.simpleString() == "timestamp"


def test_closing_a_read_ends_its_thread_and_connections() -> None:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        of_task = plan(emulator.url, accounts=HUGE.id, limit="10")
        (bundle,) = of_task.bundles()
        rows = read(of_task.reading(("id", "tenant_id")), bundle, None)
        first = next(rows)
        rows.close()
        assert first.column("tenant_id").to_pylist()[0] == "t"
        assert threads_of_ours() == []
        assert len(emulator.requests) < 3000


@pytest.mark.parametrize("is_again", [False, True], ids=["first", "again"])
def test_a_refused_token_is_awaited_by_the_first_attempt_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_again: bool
) -> None:
    """Spark tries four times: each would read the file for a minute. Here each wait is an error."""
    monkeypatch.setattr("streamlic.truto.credentials.POLL_SECONDS", None)
    file = tmp_path / "token"
    file.write_text("another-token")
    file.chmod(0o600)
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        of_task = plan(emulator.url, accounts=SMALL.id, tokenFile=str(file))
        (bundle,) = of_task.bundles()
        rows = read(of_task.reading(("id",)), bundle, None, is_again=is_again)
        with pytest.raises(streamlic.AuthenticationError if is_again else TypeError):
            next(rows)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, RateLimit(250, 10)),
        ({"slots": "10"}, RateLimit(50, 10)),
        ({"slots": "3", "tokenRateLimit": "100/1s"}, RateLimit(33, 1)),
        ({"tokenShare": "1/2"}, RateLimit(125, 10)),
        ({"rateLimit": "none"}, None),
        ({"tokenRateLimit": "none"}, None),
    ],
)
def test_a_task_has_an_equal_part_of_the_rate(
    options: dict[str, str], says: RateLimit | None
) -> None:
    given = {"rateLimit": "50/10s", **options}
    assert plan("http://127.0.0.1:9", accounts=SMALL.id, **given).limit_of_a_task(1) == says


def test_tasks_leave_room_for_what_the_driver_has_requested() -> None:
    of_all = plan("http://127.0.0.1:9", allAccounts="true", rateLimit="50/10s")
    assert of_all.limit_of_a_task(5_000) == RateLimit((500 - 51) // 2, 10)
    assert of_all.limit_of_a_task(1_000_000) == RateLimit(125, 10)


def test_more_slots_than_requests_are_refused() -> None:
    with pytest.raises(streamlic.UsageError, match=r"among 501 tasks .* option slots"):
        plan("http://127.0.0.1:9", accounts=SMALL.id, rateLimit="50/10s", slots="501")


def test_the_page_about_spark_has_every_option() -> None:
    page = (ROOT / "docs" / "how-to" / "spark.md").read_text()
    assert [one for one in OPTIONS if f"`{one}`" not in page] == []


def test_permits_are_for_the_token_of_the_environment(tmp_path: Path) -> None:
    permits = Permits("127.0.0.1:9", "the-key-of-the-server", RateLimit(100, 1))
    given = {"accounts": SMALL.id, "baseUrl": "http://127.0.0.1:9"}

    def planned(**options: str) -> ReadPlan:
        return ReadPlan.of(read_options({**given, **options}), slots=4, permits=permits)

    assert planned().permits == permits
    assert planned().limit_of_a_task(1) == RateLimit(25, 1)
    assert planned(tokenFile=str(tmp_path / "token")).permits is None
    assert planned(tokenShare="1/2").limit_of_a_task(1) == RateLimit(62, 10)
    assert "the-key" not in repr(permits)


def test_a_task_that_cannot_lease_has_its_part_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamlic.integrations.spark.permits._PATIENCE_SECONDS", 0.2)
    permits = Permits("127.0.0.1:9", "the-key-of-the-server", RateLimit(100, 1))
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        given = read_options({"allAccounts": "true", "baseUrl": emulator.url})
        of_all = ReadPlan.of(given, slots=2, permits=permits)
        reading = of_all.reading(("id",))
        rows = [
            sum(batch.num_rows for batch in read(reading, bundle, of_all.limit_of_a_task(12)))
            for bundle in of_all.bundles()
            if HUGE.id not in bundle
        ]
    assert sum(rows) == 6 * 150
