"""Old files go, and nothing that a version, a promise or another program needs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import boto3
import pytest
from deltalake import DeltaTable

from streamlic.dataset.lake import LICENSES, TABLES
from streamlic.storage.local import LocalStore
from streamlic.storage.open_store import open_store
from streamlic.tables.delta.maintenance import shorten_logs, vacuum
from streamlic.tables.table_format import Kept
from tests.support.delta import BUCKET, NIGHTS, Lake, ids_read
from tests.support.watched_s3 import KEYS, watched_s3

MONDAY, TUESDAY, WEDNESDAY = NIGHTS[:3]
OLD = time.time() - 60 * 86_400


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake of two nights, of which the second one replaced the first one."""
    lake = Lake(LocalStore(tmp_path / "lake"))
    lake.show(1, lake.night(MONDAY))
    lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])
    for path in (tmp_path / "lake").glob("*/part-*"):
        os.utime(path, (OLD, OLD))
    return lake


def test_only_what_no_version_needs_is_deleted(lake: Lake) -> None:
    assert vacuum(lake.store, keep_days=7, kept=Kept()) == []
    old = [lake.part(MONDAY, 1)]
    assert vacuum(lake.store, keep_days=0, kept=Kept(), dry_run=True) == old
    assert lake.store.exists(old[0])
    assert vacuum(lake.store, keep_days=0, kept=Kept()) == old
    assert not lake.store.exists(old[0])
    assert ids_read(lake) == lake.ids(TUESDAY)
    assert len(DeltaTable(lake.store.where("runs")).to_pyarrow_table()) == 2
    assert vacuum(lake.store, keep_days=0, kept=Kept()) == []


def test_a_promised_part_file_stays_although_no_version_names_it(lake: Lake) -> None:
    """A run may be resumed weeks after it was interrupted."""
    promised, unpromised = lake.night(WEDNESDAY, parts=2)[:2]
    for file in (promised, unpromised):
        os.utime(lake.path(file.name), (OLD, OLD))
    deleted = vacuum(lake.store, keep_days=30, kept=Kept({promised.name}))
    assert deleted == [unpromised.name]
    lake.show(3, [promised])
    assert ids_read(lake) == sorted(lake.ids(TUESDAY) + lake.ids(WEDNESDAY))


def test_files_of_other_programs_and_the_log_stay(lake: Lake) -> None:
    others = ["licenses/part-00000-spark.parquet", "licenses/notes.txt", "_streamlic/log/1.json"]
    for name in others:
        lake.path(name).parent.mkdir(parents=True, exist_ok=True)
        lake.path(name).write_bytes(b"x")
        os.utime(lake.path(name), (OLD, OLD))
    assert vacuum(lake.store, keep_days=0, kept=Kept()) == [lake.part(MONDAY, 1)]
    assert all(lake.store.exists(name) for name in others)


def test_a_recently_removed_file_stays_when_the_log_is_short(lake: Lake) -> None:
    """It is old, but its removal is not: yesterday's version needs it."""
    shorten_logs(lake.store)
    assert vacuum(lake.store, keep_days=30, kept=Kept()) == []
    before = DeltaTable(lake.store.where(LICENSES), version=1)
    assert len(before.to_pyarrow_table()) == len(lake.ids(MONDAY))


def test_no_more_days_are_kept_than_delta_remembers(lake: Lake) -> None:
    assert vacuum(lake.store, keep_days=31, kept=Kept()) == []
    for table in TABLES:
        delta = DeltaTable(lake.store.where(table))
        delta.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 hours"})
    assert vacuum(lake.store, keep_days=31, kept=Kept()) == [lake.part(MONDAY, 1)]


def test_a_lake_without_tables_has_nothing_to_clean(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    shorten_logs(store)
    assert vacuum(store, keep_days=0, kept=Kept()) == []


def test_the_log_gets_a_checkpoint_by_itself(tmp_path: Path) -> None:
    """So readers open a table in few requests, after however many commits."""
    lake = Lake(LocalStore(tmp_path))
    part = lake.night(MONDAY)[0]
    lake.show(1, [part])
    for number in range(2, 25):
        lake.show(number, [part])
    names = lake.store.names(f"{LICENSES}/_delta_log")
    assert [name for name in names if name.endswith(".checkpoint.parquet")] == [
        f"{19:020d}.checkpoint.parquet"
    ]
    assert ids_read(lake) == ids_read(lake, "polars") == lake.ids(MONDAY)
    lake.show(24, [part])  # The number of the last change is in the checkpoint, too.
    assert DeltaTable(lake.store.where(LICENSES)).version() == 24


def test_old_log_is_deleted_and_the_last_change_is_known(lake: Lake) -> None:
    delta = DeltaTable(lake.store.where(LICENSES))
    delta.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    log = lake.path(f"{LICENSES}/_delta_log")
    for path in log.glob("*.json"):
        os.utime(path, (OLD, OLD))
    before = len(list(log.glob("*.json")))
    shorten_logs(lake.store)
    assert len(list(log.glob("*.json"))) < before
    version = DeltaTable(lake.store.where(LICENSES)).version()
    lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])
    assert DeltaTable(lake.store.where(LICENSES)).version() == version
    assert ids_read(lake) == lake.ids(TUESDAY)


def test_a_lake_in_a_bucket_is_written_and_cleaned_with_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deltalake knows no profiles: the store gives it the credentials."""
    with watched_s3() as s3:
        keys = {name: s3.env.pop(name) for name in KEYS}
        credentials = "".join(f"{name.lower()} = {value}\n" for name, value in keys.items())
        (tmp_path / "credentials").write_text(f"[nightly]\n{credentials}")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "nightly")
        for name in keys:
            monkeypatch.delenv(name, raising=False)
        for name, value in s3.env.items():
            monkeypatch.setenv(name, value)
        boto3.Session().client("s3").create_bucket(Bucket=BUCKET)
        store = open_store(f"s3://{BUCKET}/lake")
        lake = Lake(store)
        lake.show(1, lake.night(MONDAY))
        lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])
        assert lake.format.visible(LICENSES) == {lake.part(TUESDAY, 1)}
        shorten_logs(store)
        assert vacuum(store, keep_days=1, kept=Kept()) == []
        assert vacuum(store, keep_days=0, kept=Kept()) == [lake.part(MONDAY, 1)]
        options = store.storage_options()
        read = DeltaTable(store.where(LICENSES), storage_options=options).to_pyarrow_table()
        assert sorted(read["id"].to_pylist()) == lake.ids(TUESDAY)
        assert [part for part in store.names(LICENSES) if part.startswith("part-")] == [
            lake.part(TUESDAY, 1).partition("/")[2]
        ]
