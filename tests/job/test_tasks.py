"""A run whose accounts are read by tasks elsewhere, which stage what its writer commits."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

import streamlic
from streamlic.dataset.commit_log import load_lake
from streamlic.emulator import EmulatedAccount, Emulator, EmulatorConfig, emulated_accounts
from streamlic.job.export import run_request
from streamlic.job.job import run_job
from streamlic.job.task_source import TaskSource
from streamlic.job.tasks import Task, TaskResult, run_task
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from tests.support.cli import TOKEN
from tests.support.reading import settings_of
from tests.support.server_thread import pages, served

ACCOUNTS = emulated_accounts(9, records=40, sizes="power-law")
ROWS = sum(one.records for one in ACCOUNTS.values())
PAGES = sum(-(-one.records // 100) for one in ACCOUNTS.values())
BLOCKED = EmulatedAccount(id="0aa44730-dd91-461e-bd6a-aedd9e0ad79d", records=10, is_blocked=True)
Work = Callable[[Task, int], TaskResult]


class Threads:
    """Runs tasks in threads; what they take and give passes through pickle, as between machines."""

    def __init__(self, work: Work = run_task, slots: int = 2) -> None:
        self.slots = slots
        self.tasks: list[Task] = []
        self._work = work

    async def run(self, task: Task) -> TaskResult:
        self.tasks.append(task)
        sent = pickle.dumps(task)
        number = len(self.tasks)
        returned = await asyncio.to_thread(lambda: self._work(pickle.loads(sent), number))  # noqa: S301
        result: TaskResult = pickle.loads(pickle.dumps(returned))  # noqa: S301
        return result

    def cancel(self) -> None:
        """Do nothing: threads end by themselves."""


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[Emulator]:
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    shared_emulator.requests.clear()
    return shared_emulator


@pytest.fixture(scope="module")
def exported(shared_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the lake that ``export`` makes of the same accounts."""
    dest = tmp_path_factory.mktemp("exported") / "lake"
    connection = settings_of(shared_emulator.url)
    streamlic.export(dest, [*ACCOUNTS], connection=connection)
    return dest


def land(
    dest: Path,
    url: str,
    runner: Threads,
    *,
    accounts: Sequence[str] = (*ACCOUNTS,),
    connection: streamlic.ConnectionSettings | None = None,
    **options: Any,
) -> streamlic.Summary:
    """Land accounts by tasks: two bundles, or as many as there are slots."""
    job_options = streamlic.JobOptions(**options)
    store = job_options.open_store(str(dest))
    requests = [LicensesRequest(account=one) for one in sorted(accounts)]
    settings = connection or settings_of(url)

    def pack(left: Sequence[str], slots: int) -> list[list[str]]:
        bundles = [[*left[number::slots]] for number in range(slots)]
        return [one for one in bundles if one]

    source = TaskSource(
        requests,
        Connection(settings_of(url)),
        runner,
        dest=str(dest),
        settings=settings,
        pack=pack,
    )
    return asyncio.run(run_job(store, run_request(requests, job_options), source, job_options))


def differences(found: duckdb.DuckDBPyRelation, lake: Path) -> tuple[int, int, int]:
    """Return how many licenses there are, and how many differ from a lake's, both ways."""
    columns = "* exclude (_run, _exported_at)"
    theirs = found.select(columns)
    ours = duckdb.read_parquet(f"{lake}/licenses/*.parquet").select(columns)
    return len(theirs), len(theirs.except_(ours)), len(ours.except_(theirs))


def licenses(dest: Path, table_format: str = "parquet") -> duckdb.DuckDBPyRelation:
    if table_format == "delta":
        return duckdb.from_arrow(DeltaTable(dest / "licenses").to_pyarrow_table())
    return duckdb.read_parquet(f"{dest}/licenses/*.parquet")


def staged(dest: Path) -> list[Path]:
    return [*dest.glob("_streamlic/staging/*")]


def strays(dest: Path) -> set[str]:
    """Return the part files that no record of the log promises."""
    promised = {file.name for file in load_lake(LocalStore(dest)).live_files}
    return {str(one.relative_to(dest)) for one in dest.glob("*/part-*")} - promised


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
def test_tasks_land_what_export_lands(
    emulator: Emulator, exported: Path, tmp_path: Path, table_format: str
) -> None:
    """And every page is requested once."""
    dest = tmp_path / "lake"
    emulator.requests.clear()
    runner = Threads()
    summary = land(dest, emulator.url, runner, format=table_format)
    assert summary.complete
    assert len(runner.tasks) == 2
    assert summary.rows == ROWS == sum(one.rows for one in summary.accounts)
    assert differences(licenses(dest, table_format), exported) == (ROWS, 0, 0)
    assert pages(emulator) == PAGES == summary.pages
    assert not staged(dest)
    assert not strays(dest)
    again = land(dest, emulator.url, runner, mode="append", run_key="next")
    assert again.rows == ROWS


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
def test_an_attempt_whose_result_never_arrives_doubles_nothing(
    emulator: Emulator, exported: Path, tmp_path: Path, table_format: str
) -> None:
    """As if its executor were lost, or another copy of the task faster. What it staged goes."""
    dest = tmp_path / "lake"
    left: list[int] = []

    def twice(task: Task, number: int) -> TaskResult:
        lost = run_task(task, 1000 + number)
        left.append(len(lost.promise.files))
        return run_task(task, number)

    land(dest, emulator.url, Threads(twice), format=table_format)
    assert sum(left)
    assert differences(licenses(dest, table_format), exported) == (ROWS, 0, 0)
    assert not staged(dest)
    assert not strays(dest)


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
def test_what_an_attempt_stages_after_the_end_goes_when_the_lake_is_opened_next(
    emulator: Emulator, exported: Path, tmp_path: Path, table_format: str
) -> None:
    """Its process had no connection to the driver, and did not know."""
    dest = tmp_path / "lake"
    runner = Threads()
    land(dest, emulator.url, runner, format=table_format)
    late = run_task(runner.tasks[0], 77)
    assert late.promise.files
    assert staged(dest) or strays(dest)
    LakeWriter(LocalStore(dest)).open()
    assert not staged(dest)
    assert not strays(dest)
    assert differences(licenses(dest, table_format), exported) == (ROWS, 0, 0)
    streamlic.export(
        dest, [*ACCOUNTS], connection=settings_of(emulator.url),
        options=streamlic.JobOptions(mode="overwrite"),
    )  # fmt: skip
    assert differences(licenses(dest, table_format), exported)[1:] == (0, 0)


def test_a_task_ends_when_its_time_is_over_and_another_one_continues(
    emulator: Emulator, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ends of pages: none is requested twice."""
    monkeypatch.setattr("streamlic.job.export.TICK_SECONDS", 0.01)
    dest = tmp_path / "lake"
    emulator.requests.clear()
    runner = Threads()
    summary = land(dest, emulator.url, runner, commit_seconds=0, concurrency=1)
    more = len(runner.tasks) - 2
    assert more > 1
    assert summary.complete
    assert differences(licenses(dest), exported) == (ROWS, 0, 0)
    assert pages(emulator) == PAGES


def test_a_task_without_progress_is_followed_by_one_without_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that only fails would else never fail for good: each task would start again."""
    monkeypatch.setattr("streamlic.job.export.TICK_SECONDS", 0.01)
    accounts = emulated_accounts(1, records=10)
    patient = streamlic.RetryPolicy(backoff_seconds=0.2, retry_for_seconds=0)
    with served(EmulatorConfig(accounts=accounts, token=TOKEN), "status=503") as emulator:
        settings = settings_of(emulator.url, retry=patient)
        runner = Threads()
        with pytest.raises(streamlic.ApiError):
            land(tmp_path / "lake", emulator.url, runner, accounts=[*accounts],
                 connection=settings, commit_seconds=0)  # fmt: skip
    assert [task.seconds for task in runner.tasks][-1] is None


def test_an_account_that_fails_is_left_out_as_by_export(tmp_path: Path) -> None:
    accounts = {**emulated_accounts(3, records=10), BLOCKED.id: BLOCKED}
    with served(EmulatorConfig(accounts=accounts, token=TOKEN)) as emulator:
        dest = tmp_path / "lake"
        with pytest.raises(streamlic.AccountsFailed) as raised:
            land(dest, emulator.url, Threads(), accounts=[*accounts])
        assert [one.kind for one in raised.value.summary.failed] == ["AccountBlocked"]
        emulator.requests.clear()
        with pytest.raises(streamlic.AccountsFailed) as raised:
            land(dest, emulator.url, Threads(), accounts=[*accounts], skip_failed=True)
        summary = raised.value.summary
        assert pages(emulator) == 1
    assert (summary.complete, summary.resumed, summary.rows) == (True, True, 30)
    rows = (
        duckdb.read_parquet(f"{dest}/accounts/*.parquet").select("outcome, error_kind").distinct()
    )
    assert sorted(rows.fetchall()) == [("failed", "AccountBlocked"), ("read", None)]


def test_a_run_continues_from_the_last_result(
    emulator: Emulator, exported: Path, tmp_path: Path
) -> None:
    """Also if ``export`` continues it."""
    dest = tmp_path / "lake"

    def second_fails(task: Task, number: int) -> TaskResult:
        if number == 2:
            raise streamlic.TaskFailed("its executor was lost four times")
        return run_task(task, number)

    emulator.requests.clear()
    with pytest.raises(streamlic.TaskFailed):
        land(dest, emulator.url, Threads(second_fails, slots=3))
    assert load_lake(LocalStore(dest)).newest_first[0].rows > 0
    summary = streamlic.export(dest, [*ACCOUNTS], connection=settings_of(emulator.url))
    assert summary.resumed
    assert pages(emulator) == PAGES
    assert differences(licenses(dest), exported) == (ROWS, 0, 0)


def test_a_refused_token_ends_the_run_after_one_attempt(emulator: Emulator, tmp_path: Path) -> None:
    wrong = settings_of(emulator.url, token="wrong-token")
    runner = Threads(slots=1)
    with pytest.raises(streamlic.AuthenticationError) as raised:
        land(tmp_path / "lake", emulator.url, runner, connection=wrong)
    assert len(runner.tasks) == 1
    assert any("in a task on" in note for note in raised.value.__notes__)


def test_what_another_machine_may_not_have_is_raised_but_by_the_last_attempt(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Here the directory is missing, as where a machine has not mounted the disk."""
    runner = Threads(slots=1)
    land(tmp_path / "lake", emulator.url, runner)
    elsewhere = replace(runner.tasks[0], dest=str(tmp_path / "nowhere"))
    with pytest.raises(streamlic.StoreError):
        run_task(elsewhere, 5, is_last=False)
    result = run_task(elsewhere, 6)
    assert isinstance(result.stopped_by, streamlic.StoreError)
    assert not result.promise.points


def test_a_result_whose_files_are_not_here_is_never_promised(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Each machine has a directory of this name on a disk of its own."""
    dest, other = tmp_path / "lake", tmp_path / "other"

    def on_another_disk(task: Task, number: int) -> TaskResult:
        (other / "_streamlic/staging").mkdir(parents=True, exist_ok=True)
        return run_task(replace(task, dest=str(other)), number)

    with pytest.raises(streamlic.StoreError, match="do not share this directory"):
        land(dest, emulator.url, Threads(on_another_disk))
    assert not load_lake(LocalStore(dest)).newest_first[0].files


def test_a_result_that_comes_after_another_writer_took_over_is_refused(
    emulator: Emulator, exported: Path, tmp_path: Path
) -> None:
    """The driver was stopped, and another one has continued the run."""
    dest = tmp_path / "lake"
    store: Store = LocalStore(dest)

    def overtaken(task: Task, number: int) -> TaskResult:
        result = run_task(task, number)
        LakeWriter(store).open()
        return result

    with pytest.raises(streamlic.DatasetConflict, match="another writer has taken over"):
        land(dest, emulator.url, Threads(overtaken))
    land(dest, emulator.url, Threads())
    assert differences(licenses(dest), exported) == (ROWS, 0, 0)
    assert not staged(dest)
