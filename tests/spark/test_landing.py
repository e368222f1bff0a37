"""``export_with_spark`` on a cluster: the rows that ``export`` lands, whatever is killed."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

import streamlic
from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import TABLES
from streamlic.emulator import EmulatedAccount, Emulator, EmulatorConfig, emulated_accounts
from streamlic.integrations.spark import permits
from streamlic.job.options import JobOptions
from streamlic.storage.dest_urls import is_url
from streamlic.storage.local import LocalStore
from streamlic.tables.iceberg.catalog import open_catalog
from tests.spark import processes
from tests.spark.cluster import Cluster
from tests.support.cli import TOKEN
from tests.support.object_servers import ObjectServer, SeaweedServer
from tests.support.reading import settings_of
from tests.support.server_thread import pages, served
from tests.tables.iceberg_lake import use_catalog

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytest.importorskip("pyspark", reason="needs `make test-spark`")
pytestmark = pytest.mark.spark
PAGE = 100
ACCOUNTS = emulated_accounts(24, records=50, sizes="power-law")
ROWS = sum(one.records for one in ACCOUNTS.values())
PAGES = sum(-(-one.records // PAGE) for one in ACCOUNTS.values())
HEALTHY = emulated_accounts(3, records=50, seed=8)
BLOCKED = EmulatedAccount(id="0aa44730-dd91-461e-bd6a-aedd9e0ad79d", records=10, is_blocked=True)
ENVIRONMENT = streamlic.TokenSource.from_environment()


@pytest.fixture(scope="module")
def whole_emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        yield emulator


@pytest.fixture
def emulator(whole_emulator: Emulator) -> Emulator:
    whole_emulator.requests.clear()
    return whole_emulator


@pytest.fixture(scope="module")
def exported(whole_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of the same accounts, which ``export`` made."""
    dest = tmp_path_factory.mktemp("exported") / "lake"
    connection = settings_of(whole_emulator.url)
    streamlic.export(dest, all_accounts=True, connection=connection, limit=PAGE)
    return dest


def land(spark: SparkSession, dest: str | Path, url: str, **given: Any) -> streamlic.Summary:
    from streamlic.integrations.spark import export_with_spark

    options = {name: given.pop(name) for name in [*given] if hasattr(JobOptions, name)}
    connection = settings_of(url, **{"token": ENVIRONMENT, **given.pop("connection", {})})
    account = given.pop("account", None)
    return export_with_spark(
        spark, dest, account, connection=connection,
        all_accounts=account is None and "accounts_file" not in given,
        limit=given.pop("page", PAGE),
        options=JobOptions(**options), **given,
    )  # fmt: skip


def differences(found: duckdb.DuckDBPyRelation, lake: Path) -> tuple[int, int, int]:
    """Return how many licenses there are, and how many differ from a lake's, both ways."""
    columns = "* exclude (_run, _exported_at)"
    theirs = found.select(columns)
    ours = duckdb.read_parquet(f"{lake}/licenses/*.parquet").select(columns)
    return len(theirs), len(theirs.except_(ours)), len(ours.except_(theirs))


def check_lake(dest: Path, exported: Path, rows: int = ROWS) -> None:
    """Check that a lake of plain Parquet has the rows, a complete run, and nothing else."""
    found = duckdb.read_parquet(f"{dest}/licenses/*.parquet")
    assert differences(found, exported) == (rows, 0, 0)
    of_accounts = duckdb.read_parquet(f"{dest}/accounts/*.parquet")
    assert of_accounts.filter("outcome <> 'read'").fetchall() == []
    assert not [*dest.glob("_streamlic/staging/*")]
    lake = load_lake(LocalStore(dest))
    promised = {file.name for file in lake.live_files}
    assert {str(one.relative_to(dest)) for one in dest.glob("*/part-*")} == promised


def test_the_rows_are_those_that_export_lands(
    spark: SparkSession, emulator: Emulator, exported: Path, tmp_path: Path
) -> None:
    """Each page is requested once, and the same call with its key again asks for nothing."""
    dest = tmp_path / "lake"
    emulator.requests.clear()
    summary = land(spark, dest, emulator.url, run_key="nightly")
    assert (summary.complete, summary.rows, summary.pages) == (True, ROWS, PAGES)
    check_lake(dest, exported)
    assert pages(emulator) == PAGES
    again = land(spark, dest, emulator.url, run_key="nightly")
    assert (again.repeated, again.run) == (True, summary.run)
    assert pages(emulator) == PAGES
    replaced = land(spark, dest, emulator.url, run_key="tomorrow", mode="overwrite")
    assert replaced.rows == ROWS
    check_lake(dest, exported)


@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
def test_delta_and_iceberg_have_the_same_rows(  # noqa: PLR0917
    spark: SparkSession,
    emulator: Emulator,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str,
) -> None:
    use_catalog(tmp_path / "catalog", monkeypatch.setenv)
    dest = tmp_path / "lake"
    catalog = {"catalog": "local"} if table_format == "iceberg" else {}
    summary = land(spark, dest, emulator.url, format=table_format, **catalog)
    assert (summary.complete, summary.rows) == (True, ROWS)
    found = licenses(str(dest), table_format, tmp_path)
    assert differences(found, exported) == (ROWS, 0, 0)


def test_an_object_store_has_the_same_rows(
    spark: SparkSession,
    emulator: Emulator,
    exported: Path,
    object_server: ObjectServer,
    tmp_path: Path,
) -> None:
    """Executors reach it by their own environment."""
    dest = object_server.dest("landed")
    summary = land(spark, dest, emulator.url, scratch=str(tmp_path / "scratch"))
    assert (summary.complete, summary.rows) == (True, ROWS)
    found = licenses(dest, "parquet", tmp_path)
    assert differences(found, exported) == (ROWS, 0, 0)


def test_relative_paths_are_the_drivers(
    spark: SparkSession, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executors have working directories of their own. Lines of a file have own parameters."""
    monkeypatch.chdir(tmp_path)
    first, second = [*ACCOUNTS][:2]
    Path("accounts.csv").write_text(f"account,limit,tenant_id\n{first},33,t-1\n{second},,\n")
    summary = land(spark, "lake", emulator.url, accounts_file="accounts.csv")
    assert summary.rows == ACCOUNTS[first].records + ACCOUNTS[second].records
    limits = {one.value("integrated_account_id"): one.value("limit")
              for one in emulator.requests if "licenses" in one.path}  # fmt: skip
    assert limits == {first: "33", second: str(PAGE)}
    found = duckdb.read_parquet("lake/licenses/*.parquet").filter("tenant_id = 't-1'")
    assert len(found) == ACCOUNTS[first].records


def test_an_account_that_fails_is_a_row_and_no_exception(
    spark: SparkSession, tmp_path: Path
) -> None:
    accounts = {**HEALTHY, BLOCKED.id: BLOCKED}
    with served(EmulatorConfig(accounts=accounts, token=TOKEN)) as emulator:
        named = {"account": [*accounts]}
        with pytest.raises(streamlic.AccountsFailed) as raised:
            land(spark, tmp_path / "lake", emulator.url, **named)
        assert [one.kind for one in raised.value.summary.failed] == ["AccountBlocked"]
        refused = [
            one for one in emulator.requests if one.value("integrated_account_id") == BLOCKED.id
        ]
        assert len(refused) == 1
        with pytest.raises(streamlic.AccountsFailed) as raised:
            land(spark, tmp_path / "lake", emulator.url, skip_failed=True, **named)
        summary = raised.value.summary
    assert (summary.complete, summary.resumed, summary.rows) == (True, True, 150)


@pytest.mark.parametrize("leases", [True, False], ids=["leased", "parts"])
def test_the_limits_are_kept(
    spark: SparkSession,
    exported: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    leases: bool,
) -> None:
    """The emulator counts: it refuses what is over the limits, and that is nothing."""
    config = EmulatorConfig(
        accounts=ACCOUNTS, token=TOKEN, rate_limits=True, window_seconds=3, token_requests=60,
        account_requests=1000,
    )  # fmt: skip
    limits = {"rate_limit": "1000/3s", "token_rate_limit": "60/3s"}
    with served(config) as emulator:
        given = {"connection": limits, "leases": leases}
        summary = land(spark, tmp_path / "lake", emulator.url, **given)
        assert summary.pages == PAGES
        assert emulator.refused == 0
    check_lake(tmp_path / "lake", exported)
    assert not caplog.records


def test_token_and_key_are_in_no_log_page_or_command_line(
    cluster: Cluster, spark: SparkSession, tmp_path: Path
) -> None:
    """The event log has what Spark's pages show."""
    with served(EmulatorConfig(accounts=HEALTHY, token=TOKEN)) as emulator:
        land(spark, tmp_path / "lake", emulator.url, connection={"rate_limit": "50/10s"})
    keys = [server.key for server in permits._servers.values()]
    assert keys
    texts = [*cluster.texts().values(), *processes.command_lines()]
    assert any(re.search("streamlic: [12] accounts? from", text) for text in texts)
    for secret in (TOKEN, *keys):
        assert not [text for text in texts if secret in text]


def test_tasks_that_follow_each_other_share_a_process(
    cluster: Cluster, spark: SparkSession, emulator: Emulator, tmp_path: Path
) -> None:
    """Its count of requests would end with it, and the next one send a whole limit at once."""
    land(spark, tmp_path / "first", emulator.url, account=[*ACCOUNTS][:4])
    before = pythons(cluster)
    assert before
    land(spark, tmp_path / "second", emulator.url, account=[*ACCOUNTS][:4])
    assert pythons(cluster) & before


def test_a_token_as_text_is_refused(
    spark: SparkSession, emulator: Emulator, tmp_path: Path
) -> None:
    for token in (TOKEN, streamlic.TokenSource.from_value(TOKEN)):
        with pytest.raises(streamlic.UsageError, match="would travel to the executors") as raised:
            land(spark, tmp_path / "lake", emulator.url, connection={"token": token})
        assert TOKEN not in str(raised.value)
    with pytest.raises(streamlic.UsageError, match="Spark divides the accounts itself"):
        land(spark, tmp_path / "lake", emulator.url, run_key="a", shard="1/2")
    assert not emulator.requests


def test_a_token_file_that_executors_lack_is_named(
    spark: SparkSession, emulator: Emulator, tmp_path: Path
) -> None:
    """Once, by its own error, and with the host: no attempt can help."""
    file = tmp_path / "token"
    file.write_text("another-token")
    source = streamlic.TokenSource.from_file(file)
    with pytest.raises(streamlic.AuthenticationError) as raised:
        land(
            spark, tmp_path / "lake", emulator.url, account=[*HEALTHY],
            connection={"token": source, "timeouts": streamlic.Timeouts(token_seconds=0)},
        )  # fmt: skip
    assert "another-token" not in str(raised.value)
    assert any("in a task on" in note for note in raised.value.__notes__)


# Kills

LARGE = emulated_accounts(40, records=300, seed=9)
LARGE_ROWS = sum(one.records for one in LARGE.values())
LARGE_PAGES = LARGE_ROWS // PAGE


@pytest.fixture(scope="module")
def slow_emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=LARGE, token=TOKEN, latency_ms=100)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def large_exported(slow_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("large") / "lake"
    connection = settings_of(slow_emulator.url)
    streamlic.export(dest, all_accounts=True, connection=connection, limit=PAGE)
    return dest


def moment(seed: int) -> int:
    """Return after how many pages something is killed."""
    print(f"seed {seed}")
    return random.Random(seed).randrange(1, LARGE_PAGES - 10)


def moments(short: int, long: int = 10) -> list[Any]:
    """Return seeds: the short form has the first, ``make test-spark-long`` all."""
    seeds = [random.Random().randrange(1_000_000) for _ in range(long)]
    return [pytest.param(one, marks=[pytest.mark.slow] if number >= short else [],
                         id=str(number)) for number, one in enumerate(seeds)]  # fmt: skip


def kill_worker(cluster: Cluster) -> None:
    cluster.kill_worker(1)


def kill_executor(cluster: Cluster) -> None:
    cluster.kill_executors(1)


def kill_pythons(cluster: Cluster) -> None:
    """Kill the Python processes in which tasks run, and leave their executors."""
    processes.kill(*pythons(cluster))


def pythons(cluster: Cluster) -> set[int]:
    """Return the Python processes in which tasks run."""
    found: set[int] = set()
    for executor in executors(cluster):
        of_executor = [one for one in processes.descendants(executor)
                       if "pyspark.daemon" in processes.command_line(one)]  # fmt: skip
        found.update(of_executor[1:])  # The first one only starts the others.
    return found


@pytest.mark.parametrize("seed", moments(1))
@pytest.mark.parametrize("kill", [kill_worker, kill_executor, kill_pythons])
def test_a_task_that_is_killed_doubles_and_loses_nothing(  # noqa: PLR0917
    cluster: Cluster,
    spark: SparkSession,
    slow_emulator: Emulator,
    large_exported: Path,
    tmp_path: Path,
    kill: Callable[[Cluster], None],
    seed: int,
) -> None:
    """Only what was requested and not committed is requested again."""
    after, dest = moment(seed), tmp_path / "lake"
    slow_emulator.requests.clear()
    with ThreadPoolExecutor() as pool:
        landing = pool.submit(land, spark, dest, slow_emulator.url, concurrency=2, commit_seconds=1)
        cluster.wait_for(lambda: landing.done() or pages(slow_emulator) >= after)
        committed = committed_pages(dest)
        kill(cluster)
        under_way = pages(slow_emulator) - committed
        summary = landing.result()
    assert summary.complete
    check_lake(dest, large_exported, LARGE_ROWS)
    again = pages(slow_emulator) - LARGE_PAGES
    print(f"killed after {after} pages, {under_way} under way, {again} requested again")
    assert 0 <= again <= under_way


def committed_pages(dest: Path) -> int:
    """Return how many pages a lake's log has."""
    runs = load_lake(LocalStore(dest)).runs.values()
    return sum(point.pages for run in runs for point in run.points.values())


def driver(cluster: Cluster, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Start ``python -m streamlic.integrations.spark`` as a driver of its own."""
    given = {**cluster.settings(), **settings}
    confs = [f"--conf {shlex.quote(f'{name}={value}')}" for name, value in given.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "streamlic.integrations.spark", *arguments],
        env={**cluster.environment, "PYSPARK_SUBMIT_ARGS": f"{' '.join(confs)} pyspark-shell"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("seed", moments(1))
def test_a_driver_that_is_killed_continues_from_the_last_result(
    cluster: Cluster, slow_emulator: Emulator, large_exported: Path, tmp_path: Path, seed: int
) -> None:
    """Only what was requested and not committed is requested again."""
    dest = tmp_path / "lake"
    command = [*program(dest, slow_emulator), "--run-key", "nightly", "--commit-seconds", "1"]
    after = moment(seed)
    slow_emulator.requests.clear()
    idle = set(executors(cluster))
    first = driver(cluster, *command)
    cluster.wait_for(lambda: first.poll() is not None or pages(slow_emulator) >= after)
    processes.kill_tree(first.pid)
    first.communicate()
    cluster.wait_for(lambda: set(executors(cluster)) <= idle)
    under_way = pages(slow_emulator) - committed_pages(dest)
    second = driver(cluster, *command)
    output, log = second.communicate()
    assert second.returncode == 0, log
    summary = json.loads(output)
    assert (summary["complete"], summary["rows"]) == (True, LARGE_ROWS)
    check_lake(dest, large_exported, LARGE_ROWS)
    again = pages(slow_emulator) - LARGE_PAGES
    print(f"killed after {after} pages, {under_way} under way, {again} requested again")
    assert 0 <= again <= under_way


def program(dest: Path, emulator: Emulator) -> list[str]:
    """Return the arguments of a landing of all accounts."""
    return [
        str(dest), "--all-accounts", "--base-url", emulator.url, "--limit", str(PAGE),
        "--rate-limit", "none", "--concurrency", "2",
    ]  # fmt: skip


def executors(cluster: Cluster) -> list[int]:
    return [*cluster.executors(0), *cluster.executors(1)]


SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.task.duration.threshold": "1s",
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", moments(0))
def test_a_worker_that_is_killed_among_copies_doubles_nothing(
    cluster: Cluster, slow_emulator: Emulator, large_exported: Path, tmp_path: Path, seed: int
) -> None:
    """With speculation on: at any time a task, its copy or both are lost."""
    dest, after = tmp_path / "lake", moment(seed)
    slow_emulator.requests.clear()
    process = driver(cluster, *program(dest, slow_emulator), "--commit-seconds", "3", **SPECULATION)
    cluster.wait_for(lambda: process.poll() is not None or pages(slow_emulator) >= after)
    cluster.kill_worker(1)
    output, log = process.communicate()
    assert process.returncode == 0, log
    assert json.loads(output)["rows"] == LARGE_ROWS
    check_lake(dest, large_exported, LARGE_ROWS)
    print(f"killed after {after} pages, {pages(slow_emulator) - LARGE_PAGES} requested again")


def test_speculation_doubles_nothing_and_is_warned_of(
    cluster: Cluster, slow_emulator: Emulator, large_exported: Path, tmp_path: Path
) -> None:
    """A copy of each slow task runs on the other host; the API is asked for more."""
    dest = tmp_path / "lake"
    slow_emulator.requests.clear()
    process = driver(cluster, *program(dest, slow_emulator), "--slots", "1", **SPECULATION)
    output, log = process.communicate()
    assert process.returncode == 0, log
    assert json.loads(output)["rows"] == LARGE_ROWS
    check_lake(dest, large_exported, LARGE_ROWS)
    assert pages(slow_emulator) > LARGE_PAGES
    assert "spark.speculation is on" in log
    assert TOKEN not in log + output


# At scale


@pytest.fixture(scope="module")
def large_accounts() -> Mapping[str, EmulatedAccount]:
    return emulated_accounts(500, records=4000)


@pytest.fixture(scope="module")
def two_million(
    large_accounts: Mapping[str, EmulatedAccount], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a lake of two million licenses, which ``export`` made."""
    dest = tmp_path_factory.mktemp("two-million") / "lake"
    with served(EmulatorConfig(accounts=large_accounts, token=TOKEN)) as emulator:
        connection = settings_of(emulator.url)
        streamlic.export(dest, all_accounts=True, connection=connection, limit=1000)
    return dest


def check_two_million(
    spark: SparkSession,
    dest: str,
    accounts: Mapping[str, EmulatedAccount],
    exported: Path,
    *,
    table_format: str,
    place: Path,
) -> None:
    """Land two million licenses with the limits on, and compare each row and each file."""
    config = EmulatorConfig(accounts=accounts, token=TOKEN, rate_limits=True)
    catalog = {"catalog": "local"} if table_format == "iceberg" else {}
    with served(config) as emulator:
        summary = land(
            spark, dest, emulator.url, connection={"rate_limit": "50/10s"}, page=1000,
            format=table_format, scratch=str(place / "scratch"), **catalog,
        )  # fmt: skip
        print(f"{dest}: {pages(emulator):,} requests, {emulator.refused} refused")
        assert (pages(emulator), emulator.refused) == (2000, 0)
    assert (summary.complete, summary.rows) == (True, 2_000_000)
    assert differences(licenses(dest, table_format, place), exported) == (2_000_000, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["parquet", "delta", "iceberg"])
def test_two_million_licenses_land_on_disk_within_the_limits(  # noqa: PLR0917
    spark: SparkSession,
    large_accounts: Mapping[str, EmulatedAccount],
    two_million: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str,
) -> None:
    """No request is one too many, and the rows are those of ``export``."""
    use_catalog(tmp_path / "catalog", monkeypatch.setenv)
    dest = str(tmp_path / "lake")
    given: dict[str, Any] = {"table_format": table_format, "place": tmp_path}
    check_two_million(spark, dest, large_accounts, two_million, **given)


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["parquet", "delta", "iceberg"])
def test_two_million_licenses_land_in_seaweedfs_within_the_limits(  # noqa: PLR0917
    spark: SparkSession,
    seaweed: SeaweedServer,
    large_accounts: Mapping[str, EmulatedAccount],
    two_million: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str,
) -> None:
    """Executors and driver write to one bucket; the driver alone has the catalog of Iceberg."""
    use_catalog(tmp_path / "catalog", monkeypatch.setenv)
    dest = seaweed.dest(f"large-{table_format}")
    given: dict[str, Any] = {"table_format": table_format, "place": tmp_path}
    check_two_million(spark, dest, large_accounts, two_million, **given)


def licenses(dest: str, table_format: str, place: Path) -> duckdb.DuckDBPyRelation:
    """Return the licenses of a lake, as readers of its format find them.

    The lake has no file that its log does not name, and nothing is staged.
    """
    store = JobOptions().open_store(dest)
    assert not store.names("_streamlic/staging")
    promised = {one.name for one in load_lake(store).live_files}
    found = [f"{table}/{one}" for table in TABLES for one in store.names(table)]
    assert {one for one in found if "/part-" in one} == promised
    names = [one for one in promised if one.startswith("licenses/")]
    if table_format == "delta":
        uris = DeltaTable(f"{dest}/licenses").file_uris()
        assert sorted(map(base_name, uris)) == sorted(map(base_name, names))
    if table_format == "iceberg":
        table = open_catalog("local").find("licenses")
        assert table
        uris = [one.file.file_path for one in table.scan().plan_files()]
        assert sorted(map(base_name, uris)) == sorted(map(base_name, names))
    if not is_url(dest):
        return duckdb.read_parquet([f"{dest}/{one}" for one in names])
    (place / "licenses").mkdir()
    for name in names:
        (place / name).write_bytes(store.read(name))
    return duckdb.read_parquet(f"{place}/licenses/*.parquet")


def base_name(where: str) -> str:
    return where.rpartition("/")[2]
