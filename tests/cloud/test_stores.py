"""The promises of every store, kept on each server, and one server that cannot keep them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from streamlic.errors import UsageError
from streamlic.storage.base import Store
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.object_store import ObjectStore
from tests.cloud.conftest import set_environment
from tests.storage.store_tests import StoreTests
from tests.support.object_servers import ObjectServer, RcloneServer

if TYPE_CHECKING:
    from obstore.store import RetryConfig

SHORT_SECONDS = 0.6
"""A lease that a test can wait for."""


def opened(
    dest: str,
    scratch: Path,
    *,
    lease_seconds: float = SHORT_SECONDS,
    retries: RetryConfig | None = None,
) -> ObjectStore:
    return ObjectStore(
        parsed_url(dest),
        scratch=str(scratch),
        upload_bytes=8 << 20,
        lease_seconds=lease_seconds,
        retries=retries,
    )


class _OnAServer(StoreTests):
    @pytest.fixture
    def store(self, dest: str, tmp_path: Path) -> Store:
        return opened(dest, tmp_path)

    @pytest.fixture
    def other(self, dest: str, tmp_path: Path) -> Store:
        return opened(dest, tmp_path)


class TestSeaweed(_OnAServer):
    @pytest.fixture
    def server(self, seaweed: ObjectServer) -> ObjectServer:
        return seaweed


class TestAzurite(_OnAServer):
    @pytest.fixture
    def server(self, azurite: ObjectServer) -> ObjectServer:
        return azurite

    @pytest.mark.parametrize("old", [b"old", b"ne", b"newer"])
    def test_publishing_never_replaces_a_file(self, store: Store, old: bytes) -> None:
        """But for an empty one: that may be a copy that is pending, or has failed."""
        super().test_publishing_never_replaces_a_file(store, old)


class TestGcs(_OnAServer):
    @pytest.fixture
    def server(self, gcs: ObjectServer) -> ObjectServer:
        return gcs


def test_a_store_that_ignores_conditions_is_refused_and_left_empty(
    rclone: RcloneServer, tmp_path: Path
) -> None:
    name = f"refused-{uuid4()}"
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, rclone.environment)
        store = opened(rclone.dest(name), tmp_path)
        with pytest.raises(UsageError, match="condition") as refused, store.lock("log/lock"):
            raise AssertionError
    assert rclone.keys(name) == []
    assert "testtest" not in str(refused.value)
