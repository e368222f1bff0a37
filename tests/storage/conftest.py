"""An object store for the tests of this package: moto, started once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.moto_server import moto_server, new_dest


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Return the URL of a running server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def dest(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an empty DEST in an object store."""
    return new_dest(moto, monkeypatch)
