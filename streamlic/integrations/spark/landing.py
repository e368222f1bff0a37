"""``export_with_spark``: a run whose accounts are read by the tasks of a Spark cluster.

Rules:
1. The driver is the writer of the lake: it starts the run, commits what tasks have read, completes
   the run and shows it to readers, as ``export`` does. Tasks only stage part files.
2. What decides the rows, and a run's mode, key and format, is as for ``export``: one may continue
   what the other started.
3. No token is given to tasks. Each executor reads its own, from its environment or a file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlic.api.selection import Selection, options_for
from streamlic.api.sync import run_sync
from streamlic.dataset.destination import why_no_dataset
from streamlic.errors import UsageError
from streamlic.integrations.spark.packing import pack
from streamlic.integrations.spark.task_rate import TaskRate, settings_of_tasks, task_rate
from streamlic.integrations.spark.weights import known_weights
from streamlic.job.account_details import details_of
from streamlic.job.export import run_request
from streamlic.job.job import Job, run_job
from streamlic.job.options import JobOptions
from streamlic.job.progress import OnProgress
from streamlic.job.settings import Cancel
from streamlic.job.summary import HOW_TO_RESUME, Summary
from streamlic.job.task_source import TaskRunner, TaskSource
from streamlic.storage.base import Store
from streamlic.storage.dest_urls import is_url
from streamlic.truto.budget.base import TokenBudget
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.settings import ConnectionSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOG = logging.getLogger("streamlic")


def export_with_spark(
    spark: SparkSession,
    dest: str | Path,
    account: str | Iterable[str] | None = None,
    *,
    all_accounts: bool = False,
    integration: str | None = None,
    tenant: str | None = None,
    connection: ConnectionSettings | None = None,
    options: JobOptions | None = None,
    accounts_file: str | Path | None = None,
    slots: int | None = None,
    leases: bool = True,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
    **parameters: Any,
) -> Summary:
    """Export the licenses of accounts to ``dest`` by tasks on a Spark cluster; return the summary.

    The arguments are those of ``export``, and so are the rows, the promise and the errors. The same
    call again, or ``export``, continues a run that was interrupted, from the last task that ended.
    ``memory_bytes``, ``concurrency`` and ``scratch`` of ``options`` are those of each task. A task
    ends after ``commit_seconds``, and another one continues: so a task that is lost repeats no
    more than that. ``accounts_file`` is a file on the driver as ``streamlic export`` takes it, in
    place of ``account``: its lines may have request parameters of their own.

    ``dest`` is an object store, or a directory that all machines share. ``slots`` is how many tasks
    run at once, by default the cluster's cores now. Accounts are given to tasks by the pages that
    the newest run in ``dest`` read of each.

    ``connection`` must not hold the token as text, which the tasks would carry: executors read
    TRUTO_API_TOKEN from their environment, or a file with ``TokenSource.from_file``. They lease
    permits for the token's limit from the driver, on a free port of it; without ``leases``, or
    where they cannot reach it, each has an equal share of the limit.

    Raises as ``export``, and TaskFailed for a task that Spark gave up. It needs a classic session,
    not one of Spark Connect.
    """
    options = options_for(parameters, options)
    selection = Selection.of(
        account,
        all_accounts=all_accounts,
        integration=integration,
        tenant=tenant,
        parameters=parameters,
        accounts_file=None if accounts_file is None else str(accounts_file),
    )
    return land(
        spark,
        dest,
        selection,
        options,
        connection=connection or ConnectionSettings(),
        slots=slots,
        leases=leases,
        on_progress=on_progress,
        cancel=cancel,
    )


def land(
    spark: SparkSession,
    dest: str | Path,
    selection: Selection,
    options: JobOptions,
    *,
    connection: ConnectionSettings,
    slots: int | None = None,
    leases: bool = True,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> Summary:
    """Export a selection of accounts, as ``export_with_spark`` does."""
    if options.own_shard:
        raise UsageError("Spark divides the accounts itself: leave it out", parameter="shard")
    _check_token(connection)
    landing = _Landing(
        spark=spark,
        # A relative path is the driver's: executors are elsewhere.
        dest=str(dest) if is_url(str(dest)) else str(Path(dest).absolute()),
        selection=selection,
        options=options,
        store=options.open_store(str(dest)),
        slots=_slots(spark, slots),
        on_progress=on_progress,
        cancel=cancel,
    )
    _warn_of_speculation(spark)
    rate = task_rate(spark.sparkContext, connection, landing.slots, leases=leases)
    return landing.run(settings_of_tasks(connection), rate)


@dataclass(frozen=True, kw_only=True)
class _Landing:
    """One call of ``export_with_spark``."""

    spark: SparkSession
    dest: str
    selection: Selection
    options: JobOptions
    store: Store
    slots: int
    on_progress: OnProgress | None
    cancel: Cancel | None

    def run(self, settings: ConnectionSettings, rate: TaskRate) -> Summary:
        """Read the accounts by tasks with these settings, at this rate."""
        from streamlic.integrations.spark.task_runner import SparkTasks  # noqa: PLC0415  (pyspark)

        runner = SparkTasks(self.spark, self.slots, rate)
        try:
            return run_sync(self._run(settings, rate, runner), when_stopped=HOW_TO_RESUME)
        finally:
            runner.cancel()
            runner.close()

    async def _run(
        self, settings: ConnectionSettings, rate: TaskRate, runner: TaskRunner
    ) -> Summary:
        own = rate.settings(settings)
        session = Connection(own)
        requests, discovered = await self.selection.resolve(session)
        listed = {one.id: details_of(one) for one in discovered.readable + discovered.skipped}
        requests = sorted(requests, key=lambda request: request.account)
        request = run_request(
            requests,
            self.options,
            all_of=self.selection.all_of,
            skipped=discovered.reasons,
            details={**self.selection.details, **listed},
        )
        source = _Source(
            requests,
            session,
            runner,
            dest=self.dest,
            settings=settings,
            pack=self._pack,
            cancel=self.cancel,
        )
        if rate.permits:
            source.leases = own.budget, rate.permits.limit.window_seconds
        summary = await run_job(self.store, request, source, self.options, self.on_progress)
        return replace(summary, bytes_written=summary.bytes_written + source.bytes_written)

    def _pack(self, accounts: Sequence[str], slots: int) -> list[list[str]]:
        """Divide accounts into bundles, by what the lake knows of them."""
        if why_no_dataset(self.store):
            return pack(accounts, {}, slots)
        return pack(accounts, known_weights(self.dest, dict.fromkeys(accounts)), slots)


class _Source(TaskSource):
    leases: tuple[TokenBudget | None, float] = (None, 0.0)
    """What the driver leases permits of, and the window of its limit."""

    async def read_pages(self, job: Job) -> None:
        """Let tasks read the pages, after a pause if a driver was killed, perhaps just now.

        Nobody counted the last requests of its tasks.
        """
        budget, window_seconds = self.leases
        if job.run.is_resumed and budget:
            budget.wait_until(time.monotonic() + window_seconds)
        await super().read_pages(job)


def _check_token(settings: ConnectionSettings) -> None:
    """Raise UsageError for a token that would travel within the tasks."""
    source = settings.token_source()
    if settings.token is not None and source.origin == TokenSource.from_value("").origin:
        raise UsageError(
            "a token given as text would travel to the executors within every task: set "
            "TRUTO_API_TOKEN in the environment of the driver and of the executors, or put the "
            "token into a file on each of them and give TokenSource.from_file"
        )


def _slots(spark: SparkSession, given: int | None) -> int:
    """Return how many tasks run at once."""
    if given is not None and given < 1:
        raise UsageError(f"slots: expected 1 or more, got {given}")
    return given or max(spark.sparkContext.defaultParallelism, 1)


def _warn_of_speculation(spark: SparkSession) -> None:
    if str(spark.sparkContext.getConf().get("spark.speculation", "false")).lower() == "true":
        _LOG.warning(
            "spark.speculation is on: a copy of a slow task requests its pages a second time. The "
            "rows are right, but the API is asked for more"
        )
