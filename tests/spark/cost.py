"""What ``export_with_spark`` costs next to ``export``: ``python -m tests.spark.cost``.

CPU seconds a million licenses, of all processes but the API's, warm; and how long the API was asked
with its limits on, next to the shortest time that they allow. Ratios count: the machine is shared.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import streamlic
from streamlic.emulator import EmulatorConfig, emulated_accounts
from streamlic.integrations.spark import export_with_spark
from tests.spark.cluster import Cluster
from tests.spark.processes import PROC, descendants
from tests.support.cli import TOKEN
from tests.support.server_thread import served

PAGE = 1000
SMALL_PAGE = 250
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


def main(accounts: int, records: int) -> None:
    """Measure, and print."""
    millions = accounts * records / 1_000_000
    emulated = emulated_accounts(accounts, records=records)
    free = EmulatorConfig(accounts=emulated, token=TOKEN)
    limited = EmulatorConfig(accounts=emulated, token=TOKEN, rate_limits=True)
    os.environ["TRUTO_API_TOKEN"] = TOKEN
    with Cluster({"TRUTO_API_TOKEN": TOKEN}) as cluster, tempfile.TemporaryDirectory() as place:
        os.environ.update(cluster.environment)
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.config(map=cluster.settings()).getOrCreate()
        numbers = iter(range(1000))

        def counted(*, on_spark: bool) -> list[int]:
            """Return the processes that work: not those of the API."""
            mine = os.getpid()
            apis = {one.pid for one in active_children() if one.pid}
            others = {*cluster.pids(), *descendants(mine)} if on_spark else set()
            return [mine, *(others - apis - {mine})]

        def run(url: str, rate: str | None, *, on_spark: bool, page: int = PAGE) -> float:
            dest = Path(place) / str(next(numbers))
            connection = streamlic.ConnectionSettings(
                base_url=url, token=streamlic.TokenSource.from_environment(), rate_limit=rate
            )
            before = cpu_seconds(counted(on_spark=on_spark))
            given: dict[str, Any] = {"all_accounts": True, "connection": connection, "limit": page}
            if on_spark:
                summary = export_with_spark(spark, dest, **given)
            else:
                summary = streamlic.export(dest, **given)
            assert summary.rows == accounts * records
            return cpu_seconds(counted(on_spark=on_spark)) - before

        with api(free) as (url, _):
            for on_spark in (False, True):
                run(url, None, on_spark=on_spark)  # Warm.
            rounds = [
                (run(url, None, on_spark=False), run(url, None, on_spark=True))
                for _ in range(ROUNDS)
            ]
        ours = statistics.median(one for one, _ in rounds) / millions
        theirs = statistics.median(one for _, one in rounds) / millions
        print(f"CPU seconds a million licenses: export {ours:.2f}, with Spark {theirs:.2f}")
        print(f"ratio {theirs / ours:.2f}; rounds {rounds}")
        with api(limited) as (url, asked):
            run(url, "50/10s", on_spark=True, page=SMALL_PAGE)
            count, seconds, refused = asked()
            shortest = max((count / 500 - 1) * 10, 0.001)
            print(f"{count} requests asked in {seconds:.1f} s, at the shortest {shortest:.1f} s")
            print(f"ratio {seconds / shortest:.2f}; refused by the API: {refused}")
        spark.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ("500", "4000")))
