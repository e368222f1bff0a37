"""Iceberg tables: what readers see, once, whatever happens in between."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

from streamlic.dataset.lake import TABLES
from streamlic.errors import DatasetConflict, IntegrityError
from streamlic.tables.iceberg.maintenance import expire
from streamlic.tables.table_format import Kept
from tests.support.batches import land
from tests.support.killed_store import Killed
from tests.tables.iceberg_lake import RUN, SCHEMAS, IcebergLake, use_catalog


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Iceberg's locations without a scheme are paths: such names must work.
    root = tmp_path / "a b#c"
    use_catalog(root, monkeypatch.setenv)
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")  # Else it recommends another one.
    return root


@pytest.fixture
def lake(root: Path) -> IcebergLake:
    return IcebergLake(root)


def test_a_part_file_is_seen_when_its_change_is_shown(lake: IcebergLake) -> None:
    assert lake.format.visible("licenses") == set()
    file = lake.part(1)
    assert lake.format.visible("licenses") == set()
    lake.format.show(lake.change(1, [file]))
    assert lake.format.visible("licenses") == {file.name}
    rows = lake.table().scan().to_arrow()
    assert sorted(rows["id"].to_pylist()) == sorted(f"license-{i}" for i in range(20, 40))
    assert rows.column_names == SCHEMAS["licenses"].names


def test_the_part_files_of_an_export_are_taken_as_they_are(root: Path, lake: IcebergLake) -> None:
    run = land(root / "lake", "a")
    lake.format.show(lake.change(1, run.files))
    for table in TABLES:
        whole = pl.read_parquet(root / "lake" / table / "*.parquet").sort(pl.all())
        read = pl.scan_iceberg(lake.table(table)).collect().sort(pl.all())
        assert read.equals(whole)


def test_columns_without_statistics_cause_no_warning(
    lake: IcebergLake, caplog: pytest.LogCaptureFixture
) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    assert caplog.messages == []


def test_a_change_is_shown_once(lake: IcebergLake) -> None:
    change = lake.change(1, [lake.part(1)])
    lake.format.show(change)
    lake.format.show(change)
    assert lake.parts() == [1]
    lake.format.show(lake.change(7, [lake.part(2)]))
    lake.format.show(change)
    assert lake.parts() == [1, 2]


def test_a_change_is_shown_once_also_after_its_snapshot_has_expired(
    root: Path, lake: IcebergLake
) -> None:
    old, new = lake.part(1), lake.part(2)
    changes = [lake.change(1, [old]), lake.change(2, [new], [old])]
    for change in changes:
        lake.format.show(change)
    later = datetime.now(UTC) + timedelta(days=1)
    lake.table().maintenance.expire_snapshots().older_than(later).commit()
    assert len(lake.table().snapshots()) == 1
    for change in changes:
        IcebergLake(root).format.show(change)
    assert lake.parts() == [2]


def test_a_table_that_a_change_does_not_touch_is_left_alone(lake: IcebergLake) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    assert lake.format.catalog.find("runs") is None
    before = lake.table().metadata_location
    lake.format.show(lake.change(2, [lake.part(1, table="runs")]))
    assert lake.table().metadata_location == before
    assert lake.parts("runs") == [1]


def test_licenses_change_first_and_runs_last(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = []
    commit = SqlCatalog.commit_table

    def committed(*given: Any) -> Any:
        created.append(given[1].name()[-1])
        return commit(*given)

    monkeypatch.setattr(SqlCatalog, "commit_table", committed)
    files = [lake.part(1, table=table) for table in sorted(TABLES, reverse=True)]
    lake.format.show(lake.change(1, files))
    assert created[::2] == created[1::2] == ["licenses", "accounts", "runs"]


def test_files_are_replaced_in_one_snapshot_and_the_one_before_it_can_be_read(
    lake: IcebergLake,
) -> None:
    old, kept, new = (lake.part(number) for number in (1, 2, 3))
    lake.format.show(lake.change(1, [old, kept]))
    before = lake.table().current_snapshot()
    assert before
    lake.format.show(lake.change(2, [new], [old]))
    assert lake.parts() == [2, 3]
    snapshots = lake.table().snapshots()
    assert len(snapshots) == 2
    summary = snapshots[-1].summary
    assert summary
    assert summary["streamlic.run"] == RUN
    assert summary["total-records"] == "40"
    rows = lake.table().scan(snapshot_id=before.snapshot_id).to_arrow()
    assert set(rows["id"].to_pylist()) == {f"license-{i}" for i in range(20, 60)}


def test_a_removed_run_leaves_no_rows(lake: IcebergLake) -> None:
    files = [lake.part(1), lake.part(2)]
    lake.format.show(lake.change(1, files))
    lake.format.show(lake.change(2, [], files))
    assert lake.parts() == []
    lake.format.show(lake.change(3, [lake.part(3)]))
    assert lake.parts() == [3]


def test_manifests_of_nightly_replacements_do_not_pile_up(lake: IcebergLake) -> None:
    night = lake.part(1)
    lake.format.show(lake.change(1, [night]))
    for number in range(2, 7):
        before, night = night, lake.part(number)
        lake.format.show(lake.change(number, [night], [before]))
    snapshot = lake.table().current_snapshot()
    assert snapshot
    assert len(snapshot.manifests(lake.table().io)) == 2
    assert lake.parts() == [6]


@pytest.mark.slow
def test_manifests_and_metadata_of_many_commits_do_not_pile_up(lake: IcebergLake) -> None:
    for number in range(1, 251):
        lake.format.show(lake.change(number, [lake.part(number)]))
    snapshot = lake.table().current_snapshot()
    assert snapshot
    assert len(snapshot.manifests(lake.table().io)) <= 100
    metadata = lake.store.names("licenses/metadata")
    assert len([name for name in metadata if name.endswith(".json")]) <= 101
    assert lake.parts() == list(range(1, 251))


def test_a_file_to_replace_that_was_never_shown_raises_nothing(
    lake: IcebergLake,
) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    lake.format.show(lake.change(2, [lake.part(2)], [lake.part(3)]))
    assert lake.parts() == [1, 2]


def test_a_table_that_another_program_has_rewritten_is_not_replaced(lake: IcebergLake) -> None:
    """The rows that are to go lie in that program's files: to add others would double them."""
    old = lake.part(1)
    lake.format.show(lake.change(1, [old]))
    table = lake.table()
    table.overwrite(table.scan().to_arrow())
    with pytest.raises(IntegrityError, match="another program has rewritten it"):
        lake.format.show(lake.change(2, [lake.part(2)], [old]))
    assert lake.table().scan().count() == 20


def test_rows_of_another_program_are_left_alone(lake: IcebergLake) -> None:
    old = lake.part(1)
    lake.format.show(lake.change(1, [old]))
    table = lake.table()
    table.append(table.scan().to_arrow())
    lake.format.show(lake.change(2, [lake.part(2)], [old]))
    assert lake.table().scan().count() == 40


def test_files_that_are_in_the_table_are_not_added_again(root: Path, lake: IcebergLake) -> None:
    """So if someone has removed the property with the number."""
    file = lake.part(1)
    lake.format.show(lake.change(1, [file]))
    lake.table().transaction().remove_properties("streamlic.change").commit_transaction()
    IcebergLake(root).format.show(lake.change(1, [file]))
    assert lake.parts() == [1]
    assert lake.table().properties["streamlic.change"] == "1"


def test_a_promised_file_that_is_missing_is_an_error_that_names_it(lake: IcebergLake) -> None:
    file = lake.part(1)
    lake.store.delete(file.name)
    with pytest.raises(IntegrityError, match="promised and is missing") as caught:
        lake.format.show(lake.change(1, [file]))
    assert file.name in str(caught.value)


@pytest.mark.parametrize("ending", ["metadata.json", "avro"])
def test_metadata_that_is_missing_is_damage_that_fetching_again_does_not_repair(
    root: Path, lake: IcebergLake, ending: str
) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    for file in (root / "lake").rglob(f"licenses/metadata/*{ending}"):
        file.unlink()
    with pytest.raises(IntegrityError, match=r"metadata is missing.*bring the file back") as caught:
        lake.format.check(lake.change(2, hidden=[lake.part(2)]))
    assert "restart" not in str(caught.value)


def test_a_column_of_a_later_version_is_added(lake: IcebergLake) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    wider = SCHEMAS["licenses"].append(pa.field("seats", pa.int64()))
    lake.format.show(
        lake.change(2, [lake.part(2, schema=wider)], schemas={**SCHEMAS, "licenses": wider})
    )
    rows = lake.table().scan().to_arrow()
    assert rows.num_rows == 40
    assert rows["seats"].null_count == 40
    lake.format.show(lake.change(3, [lake.part(3)]))
    assert lake.parts() == [1, 2, 3]


def test_a_part_file_without_rows_is_taken(lake: IcebergLake) -> None:
    lake.format.show(lake.change(1, [lake.part(1, rows=0)]))
    assert lake.table().scan().count() == 0


# Partitions


@pytest.fixture
def by_date(root: Path) -> IcebergLake:
    return IcebergLake(root, partition_by="export_date")


NIGHTS = ["20260102T230405Z-00000001", "20260103T000405Z-00000002"]


def test_export_date_is_the_date_of_the_run_also_of_rows_that_were_carried_over(
    by_date: IcebergLake,
) -> None:
    """Their own times are older, and a file has rows of both."""
    times = [datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)]
    parts = [by_date.part(1, run=NIGHTS[0]), by_date.part(2, run=NIGHTS[1], exported_at=times)]
    by_date.format.show(by_date.change(1, parts))
    rows = pl.scan_iceberg(by_date.table())
    counts = rows.group_by("export_date").len().sort("export_date").collect().rows()
    assert counts == [(date(2026, 1, 2), 20), (date(2026, 1, 3), 20)]
    read = by_date.table().scan("export_date = '2026-01-03'")
    assert [task.file.file_path[-14:] for task in read.plan_files()] == ["000002.parquet"]
    assert read.to_arrow()["export_date"].to_pylist() == [date(2026, 1, 3)] * 20


def test_only_licenses_are_partitioned(by_date: IcebergLake) -> None:
    by_date.format.show(by_date.change(1, [by_date.part(1, table="runs")]))
    assert by_date.table("runs").spec().is_unpartitioned()
    assert by_date.parts("runs") == [1]


def test_a_day_is_replaced_whole_and_others_stay(by_date: IcebergLake) -> None:
    first, old = by_date.part(1, run=NIGHTS[0]), by_date.part(2, run=NIGHTS[1])
    by_date.format.show(by_date.change(1, [first]))
    by_date.format.show(by_date.change(2, [old]))
    new = by_date.part(3, run=NIGHTS[1])
    by_date.format.show(by_date.change(3, [new], [old]))
    assert by_date.parts() == [1, 3]
    assert by_date.format.visible("licenses") == {first.name, new.name}
    rows = pl.scan_iceberg(by_date.table()).group_by("export_date").len().collect()
    assert dict(rows.rows()) == {date(2026, 1, 2): 20, date(2026, 1, 3): 20}


def test_a_rewrite_keeps_the_rows_in_their_partition(by_date: IcebergLake) -> None:
    """The run that rewrites has another date than the rows."""
    old = [by_date.part(number, run=NIGHTS[0]) for number in (1, 2)]
    by_date.format.show(by_date.change(1, old))
    new = by_date.part(3, run="20260401T000000Z-00000009")
    by_date.format.show(by_date.change(2, [new], old, is_rewrite=True))
    assert pl.scan_iceberg(by_date.table()).collect()["export_date"].unique().to_list() == [
        date(2026, 1, 2)
    ]


def test_a_table_with_other_partitions_is_refused(root: Path, by_date: IcebergLake) -> None:
    by_date.format.show(by_date.change(1, [by_date.part(1)]))
    whole = IcebergLake(root)
    with pytest.raises(DatasetConflict, match="partitioned by nothing, got export_date"):
        whole.format.show(whole.change(2, [whole.part(2)]))


# Expiry


def test_files_that_no_snapshot_needs_are_deleted(root: Path, lake: IcebergLake) -> None:
    old, kept, new, promised = (lake.part(number) for number in (1, 2, 3, 4))
    lake.format.show(lake.change(1, [old, kept]))
    lake.format.show(lake.change(2, [new], [old]))
    foreign = root / "lake" / "licenses" / "notes.txt"
    foreign.write_text("mine")
    lake.store.create("_streamlic/log/00000001.json", b"{}\n")
    assert expire(lake.format, keep_days=1, kept=Kept([promised.name])) == []
    assert expire(lake.format, keep_days=0, kept=Kept([promised.name]), dry_run=True) == [old.name]
    assert lake.store.exists(old.name)
    manifests = lake.store.names("licenses/metadata")
    assert expire(lake.format, keep_days=0, kept=Kept([promised.name])) == [old.name]
    assert not lake.store.exists(old.name)
    assert foreign.exists()
    assert lake.store.exists("_streamlic/log/00000001.json")
    assert len(lake.store.names("licenses/metadata")) < len(manifests)
    assert lake.parts() == [2, 3]
    lake.format.show(lake.change(3, [promised]))
    assert lake.parts() == [2, 3, 4]
    assert lake.table().scan().to_arrow().num_rows == 60


def test_what_a_tag_needs_is_kept(lake: IcebergLake) -> None:
    old, new = lake.part(1), lake.part(2)
    lake.format.show(lake.change(1, [old]))
    snapshot = lake.table().current_snapshot()
    assert snapshot
    lake.table().manage_snapshots().create_tag(snapshot.snapshot_id, "audit").commit()
    lake.format.show(lake.change(2, [new], [old]))
    assert expire(lake.format, keep_days=0, kept=Kept()) == []
    rows = lake.table().scan(snapshot_id=snapshot.snapshot_id).to_arrow()
    assert set(rows["id"].to_pylist()) == {f"license-{i}" for i in range(20, 40)}


def test_an_expiry_that_died_is_completed_by_the_next_one(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = lake.part(1), lake.part(2)
    lake.format.show(lake.change(1, [old]))
    lake.format.show(lake.change(2, [new], [old]))
    with monkeypatch.context() as context:
        context.setattr(PyArrowFileIO, "delete", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            expire(lake.format, keep_days=0, kept=Kept())
    assert len(lake.table().snapshots()) == 1
    assert lake.store.exists(old.name)
    assert expire(lake.format, keep_days=0, kept=Kept()) == [old.name]
    assert lake.parts() == [2]
