"""The cluster of these tests: two hosts, and what is killed comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.spark import processes
from tests.spark.cluster import HOSTS, Cluster
from tests.support.cli import TOKEN
from tests.support.reading import until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def on_hosts(spark: SparkSession, what: Callable[[int], str]) -> list[str]:
    found: list[str] = spark.sparkContext.parallelize(range(4), 4).map(what).collect()
    return found


def where(_: int) -> str:
    """Return the host and the token of the executor."""
    return f"{os.environ['SPARK_LOCAL_IP']} {os.environ['TRUTO_API_TOKEN']}"


def test_executors_are_on_two_hosts_and_have_the_token(
    spark: SparkSession, whole_cluster: Cluster
) -> None:
    found: set[str] = set()

    def both() -> bool:
        found.update(on_hosts(spark, where))
        return found >= {f"{host} {TOKEN}" for host in HOSTS}

    whole_cluster.wait_for(both)


def held(directory: str) -> Callable[[int], str]:
    """Return a task that leaves a file with its host, and waits until ``released`` exists."""

    def run(number: int) -> str:
        folder, host = Path(directory), os.environ["SPARK_LOCAL_IP"]
        (folder / f"{host}-{number}").touch()
        until((folder / "released").exists)
        return str(number)

    return run


def test_the_tasks_of_a_killed_worker_run_elsewhere(
    spark: SparkSession, cluster: Cluster, tmp_path: Path
) -> None:
    executor = cluster.executors(1)
    with ThreadPoolExecutor() as pool:
        job = pool.submit(on_hosts, spark, held(str(tmp_path)))
        cluster.wait_for(lambda: any(tmp_path.glob(f"{HOSTS[1]}-*")))
        assert any("pyspark" in processes.command_line(one) for one in cluster.pids())
        cluster.kill_worker(1)
        until(lambda: not any(map(processes.is_running, executor)))  # A kill takes a moment.
        (tmp_path / "released").touch()
        assert job.result() == list("0123")


def test_a_driver_of_its_own_is_killed_as_a_tree(cluster: Cluster, tmp_path: Path) -> None:
    """Its JVM ends with it, and its executors, but nothing else of the cluster."""
    script = tmp_path / "driver.py"
    script.write_text(
        "import json, os\n"
        "from pathlib import Path\n"
        "from pyspark.sql import SparkSession\n"
        "settings = json.loads(os.environ['SPARK_SETTINGS'])\n"
        "spark = SparkSession.builder.config(map=settings).getOrCreate()\n"
        "spark.sparkContext.parallelize(range(2), 2).count()\n"
        f"Path({str(tmp_path / 'started')!r}).touch()\n"
        "input()\n"
    )
    before = set(cluster.executors(0))
    with cluster.driver(str(script)) as driver:
        cluster.wait_for((tmp_path / "started").exists)
        tree = processes.descendants(driver.pid)
        assert any("java" in processes.command_line(one) for one in tree)
        processes.kill_tree(driver.pid)
    until(lambda: not any(map(processes.is_running, tree)))
    until(lambda: set(cluster.executors(0)) <= before)
    assert processes.is_running(cluster.worker(0))


def test_the_end_of_a_cluster_is_the_end_of_its_processes_alone(whole_cluster: Cluster) -> None:
    with Cluster({}) as other:
        pids = other.pids()
        assert len(pids) >= 3
    until(lambda: not any(map(processes.is_running, pids)))
    assert not other.directory.exists()
    assert processes.is_running(whole_cluster.worker(0))
