"""A copy in Azure may be pending when the service answers: the original stays until it ends."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest

from streamlic.errors import StoreError
from streamlic.storage import azure_copies
from streamlic.storage.base import AlreadyExists
from streamlic.storage.credentials import connected
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.object_store import ObjectStore
from tests.support.bucket import opened
from tests.support.pending_azure import PendingAzure, pending_azure

STAGED, FINAL = "_streamlic/staging/part", "licenses/part"


def staged(azure: PendingAzure, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    store = opened("az://cont/lake", scratch)
    file = store.stage(STAGED)
    file.path.write_bytes(b"rows")
    file.keep()
    file.wait()
    return store


def test_a_staged_file_is_deleted_when_its_copy_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service fails a pending copy whose source goes."""
    with pending_azure(looks=4) as azure:
        store = staged(azure, tmp_path, monkeypatch)
        store.publish([(STAGED, FINAL)])
    assert azure.blobs == {f"cont/lake/{FINAL}": b"rows"}


@pytest.mark.parametrize("is_pending", [True, False], ids=["pending", "failed"])
def test_a_copy_that_a_dead_writer_left_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pending: bool
) -> None:
    with pending_azure(looks=6) as azure:
        store = staged(azure, tmp_path, monkeypatch)
        obstore.copy(connected(parsed_url("az://cont/lake")), STAGED, FINAL)
        assert azure.blobs[f"cont/lake/{FINAL}"] == b""
        if not is_pending:
            azure.copies.clear()
        store.publish([(STAGED, FINAL)])
    assert azure.blobs == {f"cont/lake/{FINAL}": b"rows"}


def test_a_copy_that_does_not_end_keeps_the_staged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_copies, "PATIENCE_SECONDS", 0.0)
    with pending_azure(looks=1000) as azure:
        store = staged(azure, tmp_path, monkeypatch)
        with pytest.raises(StoreError, match=r"has not finished .* expected 4 bytes, got 0; give"):
            store.publish([(STAGED, FINAL)])
    assert azure.blobs[f"cont/lake/{STAGED}"] == b"rows"


def test_another_file_is_not_taken_for_a_copy_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pending_azure(looks=1) as azure:
        store = staged(azure, tmp_path, monkeypatch)
        azure.blobs[f"cont/lake/{FINAL}"] = b"other rows"
        with pytest.raises(AlreadyExists):
            store.publish([(STAGED, FINAL)])
    assert azure.blobs[f"cont/lake/{FINAL}"] == b"other rows"
