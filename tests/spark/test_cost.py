"""What Spark costs next to ``export``, printed: ``pytest -m spark -rP tests/spark/test_cost.py``.

CPU seconds a million licenses, of all processes but the API's, warm; and how long the API was asked
with its limits on, next to the shortest time that they allow. Ratios count: the machine is shared.
Nothing of it is asserted, but that no row is missing and no request was one too many.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, emulated_accounts
from tests.spark.cluster import Cluster
from tests.spark.processes import PROC
from tests.support.cli import TOKEN
from tests.support.server_thread import served

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ACCOUNTS, RECORDS = 500, 4000
ROWS = ACCOUNTS * RECORDS
PAGE = 1000
ASKED_PAGE = 500
ROUNDS = 3
_TICK = os.sysconf("SC_CLK_TCK")


class Timed(deque[Any]):
    """Requests of which only the times of the first and the last, and the number, are kept."""

    def __init__(self) -> None:
        super().__init__(maxlen=1)
        self.number, self.first, self.last = 0, 0.0, 0.0

    def append(self, asked: Any) -> None:
        """Take a request."""
        if "licenses" in asked.path:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.number += 1


def serve(config: EmulatorConfig, pipe: Connection) -> None:
    """Run the API; on each message, say what was asked since the last one."""
    with served(config) as emulator:
        emulator.requests = timed = Timed()
        pipe.send(emulator.url)
        while pipe.recv():
            pipe.send((timed.number, timed.last - timed.first, emulator.refused))
            emulator.requests = timed = Timed()


@contextmanager
def api(config: EmulatorConfig) -> Iterator[tuple[str, Callable[[], tuple[int, float, int]]]]:
    """Run the API in a process of its own; yield its URL, and what tells what was asked."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(config, theirs))
    process.start()

    def asked() -> tuple[int, float, int]:
        ours.send(True)
        answer: tuple[int, float, int] = ours.recv()
        return answer

    try:
        yield ours.recv(), asked
    finally:
        ours.send(False)
        process.join()


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU seconds of processes, and of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


class Meter:
    """Runs each way to read all accounts, and returns the CPU seconds that it took."""

    def __init__(self, cluster: Cluster, spark: SparkSession, place: Path) -> None:
        self._cluster = cluster
        self._spark = spark
        self._place = place
        self._number = 0

    def export(self, url: str) -> float:
        """Read by this process alone."""
        return self._measured(lambda: streamlic.export(**self._given(url)))

    def landing(self, url: str, rate: str | None = None, page: int = PAGE) -> float:
        """Land by tasks."""
        from streamlic.integrations.spark import export_with_spark

        given = self._given(url, rate, page)
        return self._measured(lambda: export_with_spark(self._spark, **given))

    def source(self, url: str, to: str) -> float:
        """Read by the data source, and let Spark write: nowhere (``noop``), or Parquet."""
        options = {"allAccounts": "true", "limit": str(PAGE), "rateLimit": "none", "baseUrl": url}
        frame = self._spark.read.format("truto").options(**options).load()
        writer = frame.write.format(to).mode("overwrite").option("compression", "zstd")
        dest = str(self._dest())
        return self._measured(lambda: writer.save(None if to == "noop" else dest))

    def _given(self, url: str, rate: str | None = None, page: int = PAGE) -> dict[str, Any]:
        connection = streamlic.ConnectionSettings(
            base_url=url, token=streamlic.TokenSource.from_environment(), rate_limit=rate
        )
        return {"dest": self._dest(), "all_accounts": True, "connection": connection, "limit": page}

    def _dest(self) -> Path:
        self._number += 1
        return self._place / str(self._number)

    def _measured(self, work: Callable[[], Any]) -> float:
        before = cpu_seconds(self._pids())
        summary = work()
        assert summary is None or summary.rows == ROWS
        return cpu_seconds(self._pids()) - before

    def _pids(self) -> list[int]:
        """Return the processes that work: this one, Spark's, and not those of the API."""
        apis = {one.pid for one in active_children()}
        return [os.getpid(), *({*self._cluster.pids()} - apis)]


def test_cost(cluster: Cluster, spark: SparkSession, tmp_path: Path) -> None:
    """Print what each way costs, the median of rounds that follow one another."""
    from streamlic.integrations.spark import register

    emulated = emulated_accounts(ACCOUNTS, records=RECORDS)
    meter = Meter(cluster, spark, tmp_path)
    register(spark)
    ways: dict[str, Callable[[str], float]] = {
        "export": meter.export,
        "export_with_spark": meter.landing,
        "the source, rows to nowhere": lambda url: meter.source(url, "noop"),
        "the source, Spark's Parquet": lambda url: meter.source(url, "parquet"),
    }
    with api(EmulatorConfig(accounts=emulated, token=TOKEN)) as (url, _):
        for way in ways.values():
            way(url)  # Warm.
        rounds = [{name: way(url) for name, way in ways.items()} for _ in range(ROUNDS)]
    costs = {name: [one[name] * 1_000_000 / ROWS for one in rounds] for name in ways}
    ours = statistics.median(costs["export"])
    for name, seconds in costs.items():
        each = ", ".join(f"{one:.2f}" for one in seconds)
        ratio = statistics.median(seconds) / ours
        print(f"{name}: {ratio:.2f} of export; CPU seconds a million licenses: {each}")
    with api(EmulatorConfig(accounts=emulated, token=TOKEN, rate_limits=True)) as (url, asked):
        meter.landing(url, "50/10s", ASKED_PAGE)
        count, lasted, refused = asked()
    ratio = lasted / ((count / 500 - 1) * 10)
    print(f"{count:,} requests asked in {lasted:.1f} s: {ratio:.2f} of the shortest time")
    assert (count, refused) == (ROWS // ASKED_PAGE, 0)
