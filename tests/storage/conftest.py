"""An object store for the tests of this package: moto, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.object_servers import MotoServer


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """Return a running server."""
    with MotoServer() as server:
        yield server


@pytest.fixture
def dest(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an empty DEST in an object store, and set the environment that reaches it."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return moto.dest(f"lake-{uuid4().hex[:12]}")
