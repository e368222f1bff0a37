"""One cluster and one session for all tests that are marked ``spark``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.spark.cluster import Cluster, why_no_cluster
from tests.support.cli import TOKEN
from tests.support.object_servers import CannotStart, MotoServer, ObjectServer, SeaweedServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_GATEWAYS: list[object] = []
"""Kept until this process ends, as the JVM is: Python warns of a process that it forgets."""


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """Run an object store, which executors reach by their environment.

    It is SeaweedFS where ``make test-cloud`` has installed it, else moto.
    """
    with ExitStack() as stack:
        try:
            server: ObjectServer = stack.enter_context(SeaweedServer())
        except CannotStart:
            server = stack.enter_context(MotoServer())
        yield server


@pytest.fixture(scope="session")
def seaweed(object_server: ObjectServer) -> SeaweedServer:
    """Return SeaweedFS: a test without it is skipped."""
    if not isinstance(object_server, SeaweedServer):
        pytest.skip("SeaweedFS is not installed: `make test-cloud` installs it")
    return object_server


@pytest.fixture(scope="session")
def cluster_environment(object_server: ObjectServer) -> dict[str, str]:
    """Return what workers, executors and the driver find in their environment."""
    return {"TRUTO_API_TOKEN": TOKEN, **object_server.environment}


@pytest.fixture(scope="session")
def whole_cluster(cluster_environment: dict[str, str]) -> Iterator[Cluster]:
    """Run the cluster of the session. Tests use ``cluster``."""
    if why := why_no_cluster():
        pytest.skip(why)
    with Cluster(cluster_environment) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster; workers that the test kills are started again after it."""
    yield whole_cluster
    whole_cluster.revive()


@pytest.fixture(scope="session")
def whole_session(whole_cluster: Cluster) -> Iterator[SparkSession]:
    """Run the session of all tests. Tests use ``spark``."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        # The driver's JVM, and the Pythons that it starts, have this process's environment.
        for name, value in whole_cluster.environment.items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        builder = SparkSession.builder.appName("streamlic-tests")
        session = builder.config(map=whole_cluster.settings()).getOrCreate()
        _GATEWAYS.append(session.sparkContext._gateway)
        try:
            yield session
        finally:
            session.stop()
            gateway = SparkContext._gateway
            SparkContext._gateway = SparkContext._jvm = None
            gateway.shutdown()
            gateway.proc.stdin.close()  # The JVM ends with it.
            gateway.proc.wait()


@pytest.fixture
def spark(cluster: Cluster, whole_session: SparkSession) -> SparkSession:
    """Return the session, whose driver is this process."""
    return whole_session
