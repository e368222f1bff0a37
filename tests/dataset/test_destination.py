"""A store that holds other files is refused, and stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlic.dataset.destination import active_writer, why_no_dataset, writer_lock
from streamlic.errors import DatasetConflict
from streamlic.storage.local import LocalStore
from tests.support.batches import land


def test_a_store_of_other_files_is_refused_untouched(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("thesis.txt", b"mine")
    with pytest.raises(DatasetConflict, match=r"holds other files, such as 'thesis\.txt'"):
        writer_lock(store).__enter__()
    assert store.names() == ["thesis.txt"]


def test_a_dataset_has_one_writer_at_a_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with writer_lock(store):
        assert "a writer is active" in active_writer(store)
        with pytest.raises(DatasetConflict, match="another writer"):
            writer_lock(LocalStore(tmp_path)).__enter__()
    assert active_writer(store) == ""


def test_a_landed_run_makes_a_dataset(tmp_path: Path) -> None:
    assert "it is empty or does not exist" in (why_no_dataset(LocalStore(tmp_path)) or "")
    land(tmp_path, "new")
    assert why_no_dataset(LocalStore(tmp_path)) is None
