"""What several tests of tables need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rest_catalog import RestCatalog
from tests.support.server_thread import in_a_thread


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestCatalog]:
    """Run an Iceberg catalog, which is configured as ``prod``."""
    catalog = RestCatalog(tmp_path / "catalog")
    with in_a_thread(catalog.running) as running:
        monkeypatch.setenv("PYICEBERG_CATALOG__PROD__URI", running.url)
        yield running
