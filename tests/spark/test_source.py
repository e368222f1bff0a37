"""``spark.read.format("truto")`` on a cluster: the rows that ``export`` lands, as many requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

import streamlic
from streamlic import RateLimit
from streamlic.emulator import EmulatedAccount, Emulator, EmulatorConfig, emulated_accounts
from tests.spark.cluster import Cluster
from tests.support.cli import TOKEN
from tests.support.reading import settings_of
from tests.support.server_thread import pages, served

if TYPE_CHECKING:
    from pyspark.sql import DataFrameReader, SparkSession

pyspark_errors = pytest.importorskip("pyspark.errors", reason="needs `make test-spark`")
AnalysisException = pyspark_errors.AnalysisException
PythonException = pyspark_errors.PythonException
pytestmark = pytest.mark.spark
HEALTHY = EmulatedAccount(id="62f44730-dd91-461e-bd6a-aedd9e0ad79d", records=1000)
BLOCKED = EmulatedAccount(id="0aa44730-dd91-461e-bd6a-aedd9e0ad79d", records=1000, is_blocked=True)
ACCOUNTS = emulated_accounts(24, records=50, sizes="power-law")
PAGE = 100
ROWS = sum(one.records for one in ACCOUNTS.values())
PAGES = sum(-(-one.records // PAGE) for one in ACCOUNTS.values())


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def ailing() -> Iterator[str]:
    """Return the URL of an API with a healthy account and one that is blocked."""
    accounts = {one.id: one for one in (HEALTHY, BLOCKED)}
    with served(EmulatorConfig(accounts=accounts, token=TOKEN)) as emulator:
        yield emulator.url


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator) -> None:
    emulator.requests.clear()


@pytest.fixture(scope="module")
def lake(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of the same accounts, which ``export`` made."""
    dest = tmp_path_factory.mktemp("exported") / "lake"
    connection = settings_of(emulator.url)
    streamlic.export(dest, all_accounts=True, connection=connection, limit=PAGE)
    return dest


@pytest.fixture
def source(spark: SparkSession, emulator: Emulator) -> DataFrameReader:
    """Return a reader of the emulator's licenses, which lacks nothing but the accounts."""
    from streamlic.integrations.spark import register

    register(spark)
    reader = spark.read.format("truto").option("baseUrl", emulator.url).option("limit", PAGE)
    return reader.option("rateLimit", "none")


def same(found: Path, lake: Path, columns: str) -> tuple[int, int, int]:
    """Return the rows of a directory of Parquet, and how many differ from a lake's, both ways."""
    duckdb.sql("set timezone = 'UTC'")
    theirs = duckdb.read_parquet(f"{found}/*.parquet").select(columns)
    ours = duckdb.read_parquet(f"{lake}/licenses/*.parquet").select(columns)
    return len(theirs), len(theirs.except_(ours)), len(ours.except_(theirs))


def test_all_accounts_have_the_rows_that_export_lands(
    source: DataFrameReader, emulator: Emulator, lake: Path, tmp_path: Path
) -> None:
    emulator.requests.clear()
    frame = source.option("allAccounts", "true").load()
    columns = ["integrated_account_id", "integration", "tenant_id"]
    assert frame.columns == [*columns, *streamlic.LICENSE_SCHEMA.names]
    frame.write.option("compression", "zstd").parquet(str(tmp_path / "found"))
    names = ", ".join(frame.columns)
    assert same(tmp_path / "found", lake, names) == (ROWS, 0, 0)
    assert pages(emulator) == PAGES


def test_named_accounts_have_the_rows_that_export_lands(
    source: DataFrameReader, emulator: Emulator, lake: Path, tmp_path: Path
) -> None:
    """Integration and tenant are requested once an account, as by ``export``."""
    frame = source.option("accounts", ", ".join(ACCOUNTS)).load()
    frame.write.parquet(str(tmp_path / "found"))
    names = ", ".join(frame.columns)
    assert same(tmp_path / "found", lake, names) == (ROWS, 0, 0)
    assert pages(emulator) == PAGES
    assert len(emulator.requests) == PAGES + len(ACCOUNTS)


def test_a_file_of_accounts_says_their_details(
    source: DataFrameReader, emulator: Emulator, tmp_path: Path
) -> None:
    first, second = list(ACCOUNTS)[:2]
    file = tmp_path / "accounts.csv"
    file.write_text(f"account,integration,tenant_id\n{first},one,tenant-1\n{second.upper()},two,\n")
    frame = source.option("accountsFile", str(file)).load()
    found = frame.select("integrated_account_id", "integration", "tenant_id").distinct().collect()
    assert {tuple(one) for one in found} == {(first, "one", "tenant-1"), (second, "two", None)}
    assert pages(emulator) == len(emulator.requests)


def test_select_filter_and_join_see_the_same_rows(
    spark: SparkSession, source: DataFrameReader, lake: Path
) -> None:
    frame = source.option("allAccounts", "true").load()
    landed = spark.read.parquet(f"{lake}/licenses")
    key = ["integrated_account_id", "id"]
    joined = frame.select(*key, "status").join(landed.select(*key, "name"), key)
    assert joined.count() == ROWS
    assert joined.where("status = 'active'").count() == landed.where("status = 'active'").count()
    active = frame.where("status = 'active'").select(*key)
    other = frame.where("status <> 'active' or status is null").select(*key)
    assert active.union(other).exceptAll(landed.select(*key)).count() == 0
    assert active.union(other).count() == ROWS


def test_a_limit_ends_the_requests_early(source: DataFrameReader, emulator: Emulator) -> None:
    """The account has pages for minutes, of which a few are requested."""
    huge = max(ACCOUNTS.values(), key=lambda one: one.records)
    frame = source.option("accounts", huge.id).option("limit", 1).load()
    assert len(frame.limit(5).collect()) == 5
    until_quiet(emulator)
    assert 0 < pages(emulator) < huge.records / 2


def until_quiet(emulator: Emulator) -> None:
    """Wait until no request came for a second: a task that was ended asks for nothing more."""
    seen = -1
    while seen != len(emulator.requests):
        seen = len(emulator.requests)
        time.sleep(1)


def test_a_schema_narrows_what_is_asked_for(
    source: DataFrameReader, emulator: Emulator, lake: Path, tmp_path: Path
) -> None:
    schema = "status string, integrated_account_id string, unit_amount double"
    frame = source.option("allAccounts", "true").option("excludeFields", "roles").schema(schema)
    frame.load().write.parquet(str(tmp_path / "found"))
    columns = "status, integrated_account_id, unit_amount"
    assert same(tmp_path / "found", lake, columns) == (ROWS, 0, 0)
    asked = [one for one in emulator.requests if "licenses" in one.path]
    for one in asked:
        assert one.value("truto_ignore_remote_data") == "true"
        left_out = {*streamlic.LICENSE_SCHEMA.names} - {"_rescued", "remote_data"}
        assert {*one.values("truto_exclude_fields")} == left_out - {"id", "status", "unit_amount"}


def test_raw_rows_and_other_time_zones(
    spark: SparkSession, source: DataFrameReader, lake: Path
) -> None:
    account = next(iter(ACCOUNTS))
    one_page = {"accounts": account, "limit": "1000"}
    raw = source.options(**one_page, responseFormat="raw", rowsAt="value").load()
    assert raw.columns[-2:] == ["key", "record"]
    assert raw.where("record like '{%'").count() == ACCOUNTS[account].records
    landed = spark.read.parquet(f"{lake}/licenses").where(f"integrated_account_id = '{account}'")
    spark.conf.set("spark.sql.session.timeZone", "America/St_Johns")
    try:
        frame = (
            source.options(responseFormat="stream", rowsAt="result")
            .load()
            .select("id", "created_at")
        )
        assert frame.exceptAll(landed.select("id", "created_at")).count() == 0
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"which accounts\?.* got none"),
        ({"accounts": "a", "allAccounts": "true"}, "got accounts and allAccounts"),
        ({"accounts": "a", "tenant": "b"}, "tenant needs allAccounts=true"),
        ({"accounts": "a"}, r"must be a UUID such as .*\(accounts\)"),
        ({"allAccounts": "true", "limits": "5"}, r"no option 'limits' \(did you mean limit\?\)"),
        ({"allAccounts": "true", "response_format": "raw"}, "did you mean responseFormat"),
        ({"allAccounts": "true", "limit": "many"}, "limit: expected a whole number, got 'many'"),
        ({"allAccounts": "true", "product": "excel"}, r"product must be one of .*\(product\)"),
        ({"allAccounts": "true", "rowsAt": "a..b"}, r"\(rowsAt\)"),
        ({"allAccounts": "true", "apiToken": "do-not-show"}, "may hold a secret.* TRUTO_API_TOKEN"),
        ({"allAccounts": "true", "clientSecret": "do-not-show"}, "may hold a secret.* tokenFile"),
        ({"allAccounts": "true", "path": "x"}, r"load\(\) without a path"),
        ({"allAccounts": "yes"}, "allAccounts: expected true or false"),
        ({"accountsFile": "/nowhere/at/all"}, r"cannot be read.*\(accountsFile\)"),
        ({"allAccounts": "true", "engine": "slow"}, r"\(engine\)"),
        ({"allAccounts": "true", "excludeFields": "seats"}, "no field 'seats'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_by_load(
    source: DataFrameReader, emulator: Emulator, options: dict[str, str], says: str
) -> None:
    with pytest.raises(AnalysisException) as raised:
        source.options(**options).load()
    assert re.search(says, str(raised.value)), raised.value
    assert "do-not-show" not in str(raised.value)
    assert not emulator.requests


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("id string, seats bigint", "no column 'seats'.* the columns are integrated_account_id"),
        ("Status string", r"did you mean status\?"),
        ("available_quantity int", "available_quantity is bigint, got 'int'.* cast it afterwards"),
        ("products string", "products is array<struct<"),
        ("id string not null", "id may be null"),
    ],
)
def test_wrong_columns_are_refused_on_the_driver(
    source: DataFrameReader, emulator: Emulator, schema: str, says: str
) -> None:
    frame = source.option("allAccounts", "true").schema(schema).load()
    with pytest.raises(AnalysisException) as raised:
        frame.count()
    assert re.search(says, str(raised.value)), raised.value
    assert not emulator.requests


def test_an_account_that_fails_fails_the_read(
    source: DataFrameReader, emulator: Emulator, ailing: str
) -> None:
    """With its id, the reason and whether a retry can help; no row is returned without it."""
    frame = source.options(baseUrl=ailing, accounts=f"{HEALTHY.id},{BLOCKED.id}").load()
    with pytest.raises(PythonException) as raised:
        frame.count()
    says = rf"account {BLOCKED.id} cannot be read: AccountBlocked: .*\(retryable: false\)"
    assert re.search(says, str(raised.value)), raised.value
    assert "skipFailed=true" in str(raised.value)


def test_accounts_that_fail_at_once_may_be_left_out(
    cluster: Cluster, source: DataFrameReader, ailing: str
) -> None:
    named = source.options(baseUrl=ailing, accounts=f"{HEALTHY.id},{BLOCKED.id}")
    frame = named.option("skipFailed", "true").load()
    found = frame.groupBy("integrated_account_id").count().collect()
    assert [tuple(one) for one in found] == [(HEALTHY.id, HEALTHY.records)]
    logs = "".join(text for name, text in cluster.texts().items() if name.startswith("work-"))
    assert f"account {BLOCKED.id} is left out: AccountBlocked" in logs


def test_an_account_that_fails_after_rows_is_never_left_out(source: DataFrameReader) -> None:
    """Else a part of its rows would pass for all of them."""
    accounts = {HEALTHY.id: HEALTHY}
    config = EmulatorConfig(accounts=accounts, token=TOKEN)
    with served(config, "status=400@row=300") as emulator:
        options = {"baseUrl": emulator.url, "retryForSeconds": "0", "skipFailed": "true"}
        frame = source.options(accounts=HEALTHY.id, **options).load()
        with pytest.raises(PythonException, match=r"cannot be read after \d+ rows: "):
            frame.count()


def test_accounts_that_truto_lists_as_unreadable_are_left_out(
    source: DataFrameReader, ailing: str
) -> None:
    frame = source.options(baseUrl=ailing, allAccounts="true").load()
    assert frame.count() == HEALTHY.records


def test_all_accounts_of_no_tenant_is_an_error(source: DataFrameReader, ailing: str) -> None:
    frame = source.options(baseUrl=ailing, allAccounts="true", tenant="nobody").load()
    with pytest.raises(AnalysisException, match="has the tenant 'nobody'"):
        frame.count()


def test_the_rows_are_the_same_after_a_worker_was_killed_in_the_middle(
    cluster: Cluster, source: DataFrameReader, tmp_path: Path
) -> None:
    """Only the pages of the tasks that it read are asked for again."""
    accounts = emulated_accounts(40, records=1000)
    config = EmulatorConfig(accounts=accounts, token=TOKEN, latency_ms=100)
    with served(config) as emulator, ThreadPoolExecutor() as pool:
        dest = tmp_path / "lake"
        streamlic.export(dest, all_accounts=True, connection=settings_of(emulator.url), limit=PAGE)
        asked = pages(emulator)
        options = {"allAccounts": "true", "concurrency": "4", "slots": "4"}
        frame = source.options(baseUrl=emulator.url, **options).load()
        emulator.requests.clear()
        found = tmp_path / "found"
        writing = pool.submit(frame.write.parquet, str(found))
        cluster.wait_for(lambda: pages(emulator) > asked / 3)
        assert not writing.done()
        assert cluster.executors(1)
        cluster.kill_worker(1)
        writing.result()
        assert same(found, dest, ", ".join(frame.columns)) == (40_000, 0, 0)
        assert asked < pages(emulator) < 2 * asked


@pytest.mark.parametrize("way", ["parts", "permits"])
def test_no_request_is_one_too_many(spark: SparkSession, way: str) -> None:
    """With both limits of the API enforced, two tasks at a time, and a list of accounts before.

    Parts of the rate are counted by each process. Permits are leased by all: twenty slots do not
    make two tasks slow.
    """
    from streamlic.integrations.spark import register
    from streamlic.integrations.spark.permits import _servers

    accounts = emulated_accounts(40, records=700)
    config = EmulatorConfig(
        accounts=accounts, token=TOKEN, rate_limits=True, window_seconds=2, token_requests=100,
        account_requests=10,
    )  # fmt: skip
    register(spark, token_rate_limit="100/2s", slots=2 if way == "parts" else 20)
    with served(config) as emulator:
        options = {"allAccounts": "true", "rateLimit": "10/2s", "limit": str(PAGE)}
        if way == "parts":
            options["tokenRateLimit"] = "100/2s"
        frame = spark.read.format("truto").options(baseUrl=emulator.url, **options).load()
        assert frame.select("id").union(frame.select("id")).count() == 56_000
        assert pages(emulator) == 560
        assert emulator.refused == 0
    [server] = [one for (_, _, limit), one in _servers.items() if limit == RateLimit(100, 2)]
    leased = len(server.budget._window._counted)
    assert leased == 0 if way == "parts" else leased > 0
