"""The store in a bucket: the promises of every store, and what only an object store has."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlic.storage.base import Store
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.object_store import ObjectStore
from tests.storage.store_tests import StoreTests

SHORT_SECONDS = 0.6
"""A lease that a test can wait for."""


def opened(dest: str, scratch: Path, *, takes_over: bool = False) -> ObjectStore:
    return ObjectStore(
        parsed_url(dest),
        scratch=str(scratch),
        upload_bytes=32 << 20,
        takes_over=takes_over,
        lease_seconds=SHORT_SECONDS,
    )


class TestObjectStore(StoreTests):
    @pytest.fixture
    def store(self, dest: str, tmp_path: Path) -> Store:
        return opened(dest, tmp_path)

    @pytest.fixture
    def other(self, dest: str, store: Store, tmp_path: Path) -> Store:
        return opened(dest, tmp_path)
