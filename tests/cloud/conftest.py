"""Each object store, started once a session: the tests of this package need ``make test-cloud``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from tests.support.object_servers import (
    AzuriteServer,
    CannotStart,
    GcsServer,
    MotoServer,
    ObjectServer,
    RcloneServer,
    SeaweedServer,
)

S = TypeVar("S", bound=ObjectServer)
CLOUD = Path(__file__).parent
SERVERS = ("seaweed", "moto", "azurite", "gcs")
"""The fixtures of the stores that streamlic accepts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here: ``make test`` has no such servers."""
    for item in items:
        if CLOUD in item.path.parents:
            item.add_marker(pytest.mark.cloud)


def set_environment(patch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    """Set the variables that reach a server, and no others of a cloud."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)


@contextmanager
def started(kind: type[S]) -> Iterator[S]:
    """Run a server for as long as the context lasts; a test without it is skipped."""
    try:
        server = kind().__enter__()
    except CannotStart as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.__exit__()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedServer]:
    with started(SeaweedServer) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with started(MotoServer) as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzuriteServer]:
    with started(AzuriteServer) as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsServer]:
    with started(GcsServer) as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[RcloneServer]:
    with started(RcloneServer) as server:
        yield server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> ObjectServer:
    """Return each store that streamlic accepts, one after the other."""
    found: ObjectServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def dest(server: ObjectServer) -> Iterator[str]:
    """Return an empty DEST on ``server``, and set the environment that reaches it."""
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, server.environment)
        yield server.dest(f"lake-{uuid4().hex[:8]}")
