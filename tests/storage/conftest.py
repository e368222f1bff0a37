"""An object store for the tests of this package, moto, started once a session; and none at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
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


@pytest.fixture
def no_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what the machine has, and what reaches a metadata service."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
