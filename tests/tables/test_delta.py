"""Delta tables: each change is one commit of each table, shown once, and read by any reader."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, TableFeatures, write_deltalake

from streamlic.dataset.lake import ACCOUNTS, LICENSES, RUNS, TABLES
from streamlic.dataset.records import PartFile
from streamlic.errors import DatasetConflict, IntegrityError, StoreError, UsageError
from streamlic.schema.columns import RAW_SCHEMA
from streamlic.storage.local import LocalStore
from streamlic.storage.open_store import open_store
from streamlic.tables.delta.table import Table, translated
from tests.support.delta import NIGHTS, Lake, ids_read
from tests.support.old_duckdb import read_with_old_duckdb
from tests.support.store_proxy import answering

MONDAY, TUESDAY = NIGHTS[:2]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(LocalStore(tmp_path / "lake"))


def versions(lake: Lake, table: str) -> int:
    return DeltaTable(lake.store.where(table)).version()


# What a change does


def test_a_run_becomes_visible_in_one_commit_of_each_table(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    for reader in ("deltalake", "polars", "pyarrow"):
        assert ids_read(lake, reader) == lake.ids(MONDAY)
    for table in TABLES:
        assert versions(lake, table) == 1  # Version 0 is the empty table.
        assert lake.format.visible(table) == {lake.part(MONDAY, 1, table)}


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path / "a lake, 100% ü#?"))
    lake.show(1, lake.night(MONDAY))
    assert ids_read(lake, "pyarrow") == lake.ids(MONDAY)
    assert lake.format.visible(LICENSES) == {lake.part(MONDAY, 1)}


@pytest.mark.parametrize("name", ["100%25", "back\\slash"])
def test_a_path_that_deltalake_reads_as_another_one_is_refused(tmp_path: Path, name: str) -> None:
    """It would create tables elsewhere, or none, when the run is complete already."""
    with pytest.raises(UsageError, match="in a path as another character"):
        Lake(LocalStore(tmp_path / name))


def test_licenses_come_first_and_runs_last(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    commit = Table.commit

    def noted(self: Table, *given: Any) -> None:
        order.append(self.where.rpartition("/")[2])
        commit(self, *given)

    monkeypatch.setattr(Table, "commit", noted)
    lake.show(1, lake.night(MONDAY))
    assert order == [LICENSES, ACCOUNTS, RUNS]


def test_a_change_that_is_shown_again_changes_nothing(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    lake.show(2, lake.night(TUESDAY))
    before = [versions(lake, table) for table in TABLES]
    for number, night in ((1, MONDAY), (2, TUESDAY)):
        Lake(lake.store).show(number, lake.night(night))
    assert [versions(lake, table) for table in TABLES] == before
    assert ids_read(lake) == sorted(lake.ids(MONDAY) + lake.ids(TUESDAY))


def test_an_overwrite_is_one_version_and_the_one_before_it_stays_readable(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    lake.show(2, lake.night(TUESDAY), hidden=lake.names(MONDAY, LICENSES))
    assert ids_read(lake) == lake.ids(TUESDAY)
    assert versions(lake, LICENSES) == 2
    before = DeltaTable(lake.store.where(LICENSES), version=1)
    assert sorted(before.to_pyarrow_table()["id"].to_pylist()) == lake.ids(MONDAY)
    runs = pl.read_delta(lake.store.where(RUNS))
    assert len(runs) == 2  # Always a history.


def test_a_removed_run_disappears_from_all_tables(lake: Lake) -> None:
    for number, night in enumerate((MONDAY, TUESDAY), 1):
        lake.show(number, lake.night(night))
    lake.show(3, [], hidden=lake.names(MONDAY))
    assert ids_read(lake) == lake.ids(TUESDAY)
    for table in TABLES:
        assert lake.format.visible(table) == {lake.part(TUESDAY, 1, table)}


def test_a_run_that_was_never_shown_can_be_removed(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    lake.show(2, [], hidden=[lake.part(TUESDAY, 1)])
    assert ids_read(lake) == lake.ids(MONDAY)


def test_a_rewrite_says_that_no_row_changed(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY, parts=2))
    names = lake.names(MONDAY, LICENSES)
    joined = lake.write(lake.part(MONDAY, 9), lake.rows(MONDAY, parts=2))
    lake.show(2, [joined], hidden=names, is_rewrite=True)
    assert ids_read(lake) == lake.ids(MONDAY, parts=2)
    log = lake.path(f"{LICENSES}/_delta_log/{2:020d}.json").read_text().splitlines()
    actions = [action for line in log for action in json.loads(line).items()]
    changes = [body["dataChange"] for kind, body in actions if kind in ("add", "remove")]
    assert changes == [False] * 3


def test_tables_exist_after_the_first_change_even_if_they_are_empty(lake: Lake) -> None:
    """A reader of a lake without licenses reads none: it does not fail."""
    lake.show(1, [file for file in lake.night(MONDAY) if not file.name.startswith(LICENSES)])
    assert pl.read_delta(lake.store.where(LICENSES)).is_empty()
    assert len(pl.read_delta(lake.store.where(RUNS))) == 1


def test_nothing_is_visible_before_the_first_change(lake: Lake) -> None:
    lake.night(MONDAY)
    assert [lake.format.visible(table) for table in TABLES] == [set()] * 3


def test_the_table_has_the_lakes_columns_and_the_oldest_protocol(lake: Lake) -> None:
    """Reader 1 and writer 2: what every engine reads."""
    lake.show(1, lake.night(MONDAY))
    for table in TABLES:
        delta = DeltaTable(lake.store.where(table))
        protocol = delta.protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
        schema = lake.schemas[table]
        assert [field.name for field in delta.schema().fields] == schema.names
        read = delta.to_pyarrow_table()
        for field in schema:
            assert read.schema.field(field.name).type == field.type


def test_a_table_says_what_its_columns_mean(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    fields = {field.name: field for field in DeltaTable(lake.store.where(LICENSES)).schema().fields}
    assert fields["_run"].metadata["comment"].startswith("the run that read the row")


def test_delta_history_names_the_run(lake: Lake) -> None:
    lake.show(7, lake.night(MONDAY))
    lake.show(8, [], hidden=lake.names(MONDAY))
    removed, shown, _ = DeltaTable(lake.store.where(LICENSES)).history()
    assert shown["userMetadata"] == f"streamlic: run {MONDAY}, change 7"
    assert removed["userMetadata"] == "streamlic: change 8"


def test_raw_rows_are_read_back(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path), schema=RAW_SCHEMA)
    rows: list[dict[str, Any]] = [
        {"key": None, "record": '{"id": "a"}'},
        {"key": "k", "record": "{}"},
    ]
    lake.show(1, [lake.write(lake.part(MONDAY, 1), rows)])
    read = pl.read_delta(lake.store.where(LICENSES))
    assert read.select("key", "record").rows() == [(None, '{"id": "a"}'), ("k", "{}")]


def test_a_column_of_a_later_version_is_added(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    lake.schemas[LICENSES] = lake.schemas[LICENSES].append(pa.field("seats", pa.int64()))
    rows = [{**row, "seats": 5} for row in lake.rows(TUESDAY)]
    later = lake.write(lake.part(TUESDAY, 1), rows)
    lake.show(2, [later])
    read = pl.read_delta(lake.store.where(LICENSES))
    assert read["seats"].sum() == 5 * len(rows)
    assert read["seats"].null_count() == len(lake.ids(MONDAY))
    Lake(lake.store).show(3, lake.night(NIGHTS[2]))  # An older version writes fewer columns.
    assert pl.read_delta(lake.store.where(LICENSES))["seats"].sum() == 5 * len(rows)


def test_a_column_of_another_type_is_refused(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    at = lake.schemas[LICENSES].get_field_index("available_quantity")
    lake.schemas[LICENSES] = lake.schemas[LICENSES].set(
        at, pa.field("available_quantity", pa.string())
    )
    with pytest.raises(DatasetConflict, match=r"available_quantity .* is long, .* have string"):
        lake.show(2, [lake.write(lake.part(TUESDAY, 1), [])])


# Partitions


def test_licenses_are_partitioned_by_the_date_of_their_run(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path), partition_by="export_date")
    for number, night in enumerate((MONDAY, TUESDAY), 1):
        lake.show(number, lake.night(night))
    read = pl.read_delta(lake.store.where(LICENSES))
    assert read.filter(pl.col("export_date") == date(2026, 11, 24))["id"].sort().to_list() == (
        lake.ids(TUESDAY)
    )
    assert DeltaTable(lake.store.where(RUNS)).metadata().partition_columns == []
    # Another night of the same date takes its place: the caller hides the older files.
    again = NIGHTS[3]
    Lake(lake.store).show(3, lake.night(again), hidden=lake.names(TUESDAY, LICENSES))
    read = pl.read_delta(lake.store.where(LICENSES))
    counts = dict(read.group_by("export_date").len().iter_rows())
    assert counts == {date(2026, 11, day): len(lake.ids(MONDAY)) for day in (23, 24)}
    tuesday = read.filter(pl.col("export_date") == date(2026, 11, 24))
    assert sorted(tuesday["id"]) == lake.ids(again)


def test_a_rewrite_stays_in_its_partition(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path), partition_by="export_date")
    lake.show(1, lake.night(MONDAY, parts=2))
    # A run of Tuesday rewrites the files of Monday.
    name = lake.part(TUESDAY, 9).replace("export_date=2026-11-24", "export_date=2026-11-23")
    joined = lake.write(name, lake.rows(MONDAY, parts=2))
    lake.show(2, [joined], hidden=lake.names(MONDAY, LICENSES), is_rewrite=True)
    read = pl.read_delta(lake.store.where(LICENSES))
    assert set(read["export_date"]) == {date(2026, 11, 23)}
    assert ids_read(lake) == lake.ids(MONDAY, parts=2)


def test_rows_of_two_partitions_are_not_joined(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path), partition_by="export_date")
    for number, night in enumerate((MONDAY, TUESDAY), 1):
        lake.show(number, lake.night(night))
    joined = lake.write(lake.part(NIGHTS[2], 9), [])
    hidden = lake.names(MONDAY, LICENSES) | lake.names(TUESDAY, LICENSES)
    with pytest.raises(IntegrityError, match="rows of several partitions"):
        lake.show(3, [joined], hidden=hidden, is_rewrite=True)


def test_a_table_keeps_its_partition(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    with pytest.raises(DatasetConflict, match="not partitioned by export_date"):
        Lake(lake.store, partition_by="export_date").show(2, lake.night(TUESDAY))


# Other writers


def test_a_table_of_another_program_is_refused(lake: Lake) -> None:
    where = lake.path(LICENSES)
    write_deltalake(where, pa.table({"id": ["theirs"]}))
    with pytest.raises(DatasetConflict, match="of another program") as refused:
        lake.show(1, lake.night(MONDAY))
    assert "choose another dest" in str(refused.value)
    assert DeltaTable(where).version() == 0
    assert lake.format.visible(RUNS) == set()


def test_a_table_of_another_lake_is_refused(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    with pytest.raises(DatasetConflict, match="of another lake"):
        lake.show(2, lake.night(TUESDAY), lake="another")
    assert ids_read(lake) == lake.ids(MONDAY)


def test_rows_are_added_to_files_that_another_program_rewrote(lake: Lake) -> None:
    """OPTIMIZE and the like leave the rows as they are, in files with other names."""
    lake.show(1, lake.night(MONDAY, parts=2))
    DeltaTable(lake.store.where(LICENSES)).optimize.compact()
    lake.show(2, lake.night(TUESDAY))
    assert ids_read(lake) == sorted(lake.ids(MONDAY, parts=2) + lake.ids(TUESDAY))


def test_rows_in_files_of_another_program_are_not_replaced(lake: Lake) -> None:
    """The old rows would stay: every license would be there twice."""
    lake.show(1, lake.night(MONDAY, parts=2))
    hidden = lake.names(MONDAY, LICENSES)
    DeltaTable(lake.store.where(LICENSES)).optimize.compact()
    with pytest.raises(DatasetConflict, match="another program has rewritten files"):
        lake.show(2, lake.night(TUESDAY), hidden=hidden)
    assert ids_read(lake) == lake.ids(MONDAY, parts=2)


def test_a_change_that_is_recorded_cannot_be_left_out(lake: Lake) -> None:
    """So adding to the table is no way out then."""
    lake.show(1, lake.night(MONDAY, parts=2))
    hidden = lake.names(MONDAY, LICENSES)
    DeltaTable(lake.store.where(LICENSES)).optimize.compact()
    for is_recorded in (False, True):
        with pytest.raises(DatasetConflict, match="restore the version before that") as refused:
            lake.show(2, lake.night(TUESDAY), hidden=hidden, is_recorded=is_recorded)
        assert ("add to it" in str(refused.value)) is not is_recorded


@pytest.mark.parametrize(
    "feature",
    [TableFeatures.DeletionVectors, TableFeatures.RowTracking, TableFeatures.DomainMetadata],
)
def test_features_with_which_a_commit_would_be_wrong_are_refused(
    lake: Lake, feature: TableFeatures
) -> None:
    """Such as deletion vectors: a commit that removes a file which has one removes nothing."""
    lake.show(1, lake.night(MONDAY))
    table = DeltaTable(lake.store.where(LICENSES))
    table.alter.add_feature(feature, allow_protocol_versions_increase=True)
    name = str(feature).partition(".")[2]
    change = lake.change(2, lake.night(TUESDAY))
    for work in (lake.format.check, lake.format.show):
        with pytest.raises(DatasetConflict, match=rf"(?i)does not write: {name}"):
            work(change)
    assert versions(lake, LICENSES) == 2


def test_mapped_columns_are_refused(lake: Lake) -> None:
    """The columns of the files have other names then."""
    lake.show(1, lake.night(MONDAY))
    log = lake.path(f"{LICENSES}/_delta_log")
    first = [json.loads(line) for line in (log / f"{0:020d}.json").read_text().splitlines()]
    [metadata] = [one for one in first if "metaData" in one]
    metadata["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
    schema = json.loads(metadata["metaData"]["schemaString"])
    _map_columns(schema, itertools.count(1))
    metadata["metaData"]["schemaString"] = json.dumps(schema)
    protocol = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    lines = "".join(json.dumps(one) + "\n" for one in (protocol, metadata))
    (log / f"{2:020d}.json").write_text(lines)
    with pytest.raises(DatasetConflict, match="does not write: columnMapping"):
        lake.show(2, lake.night(TUESDAY))


def _map_columns(kind: Any, numbers: Iterator[int]) -> None:
    """Give each column, also those in structs, the name in files that Delta's mapping needs."""
    if isinstance(kind, dict):
        for field in kind.get("fields", ()):
            field["metadata"]["delta.columnMapping.id"] = next(numbers)
            field["metadata"]["delta.columnMapping.physicalName"] = field["name"]
            _map_columns(field["type"], numbers)
        _map_columns(kind.get("elementType"), numbers)


def test_nothing_is_removed_from_a_table_that_takes_no_removals(lake: Lake) -> None:
    lake.show(1, lake.night(MONDAY))
    table = DeltaTable(lake.store.where(LICENSES))
    table.alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(DatasetConflict, match="does not write: appendOnly"):
        lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])
    lake.show(2, lake.night(TUESDAY))
    assert ids_read(lake) == sorted(lake.ids(MONDAY) + lake.ids(TUESDAY))


def test_files_that_are_rewritten_just_before_a_commit_are_not_doubled(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.show(1, lake.night(MONDAY, parts=2))
    hidden = lake.names(MONDAY, LICENSES)
    commit = Table.commit

    def late(self: Table, *given: Any) -> None:
        monkeypatch.setattr(Table, "commit", commit)
        DeltaTable(self.where).optimize.compact()
        commit(self, *given)

    monkeypatch.setattr(Table, "commit", late)
    with pytest.raises(DatasetConflict, match="another program has rewritten files"):
        lake.show(2, lake.night(TUESDAY), hidden=hidden)
    assert ids_read(lake) == lake.ids(MONDAY, parts=2)


def test_a_writer_that_was_stopped_shows_its_change_no_second_time(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened the table, another writer showed this change and later ones, and it wakes up."""
    lake.show(1, lake.night(MONDAY))
    tuesday, wednesday = lake.night(TUESDAY), lake.night(NIGHTS[2])
    old, new = [lake.part(MONDAY, 1)], [lake.part(TUESDAY, 1)]
    commit = Table.commit
    is_first = True

    def stopped(self: Table, *given: Any) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            rival = Lake(lake.store)
            rival.show(2, tuesday, hidden=old)
            rival.show(3, wednesday, hidden=new)
        commit(self, *given)

    monkeypatch.setattr(Table, "commit", stopped)
    lake.show(2, tuesday, hidden=old)
    assert ids_read(lake) == lake.ids(NIGHTS[2])
    assert versions(lake, LICENSES) == 3


def test_a_commit_by_another_program_is_waited_out(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.show(1, lake.night(MONDAY))
    commit = Table.commit

    def late(self: Table, *given: Any) -> None:
        if self.where.endswith(LICENSES):
            DeltaTable(self.where).alter.set_table_properties({"delta.checkpointInterval": "7"})
        commit(self, *given)

    monkeypatch.setattr(Table, "commit", late)
    with pytest.raises(StoreError, match="takes no commit: other writers committed first, 10"):
        lake.show(2, lake.night(TUESDAY))
    monkeypatch.setattr(Table, "commit", commit)
    lake.show(2, lake.night(TUESDAY))
    assert ids_read(lake) == sorted(lake.ids(MONDAY) + lake.ids(TUESDAY))


# What is damaged, or missing


def test_a_promised_file_that_is_missing_is_damage(lake: Lake) -> None:
    files = lake.night(MONDAY)
    lake.store.delete(files[0].name)
    with pytest.raises(IntegrityError, match="was promised and is missing"):
        lake.show(1, files)
    assert ids_read(lake) == []


def test_a_file_that_is_not_the_promised_one_is_damage(lake: Lake) -> None:
    files = lake.night(MONDAY)
    altered = [PartFile(files[0].name, files[0].rows + 1, files[0].bytes, ""), *files[1:]]
    with pytest.raises(IntegrityError, match="promises 13 rows, and it has 12"):
        lake.show(1, altered)
    lake.path(files[0].name).write_bytes(b"not Parquet at all")
    with pytest.raises(IntegrityError, match="not a Parquet file"):
        lake.show(1, files)


@pytest.mark.parametrize(
    ("version", "content", "says"),
    [
        (0, None, "its first commits are missing"),
        (1, None, "a commit between others is missing"),
        (1, "{", "a commit is not valid JSON"),
    ],
)
def test_a_damaged_log_of_delta_says_what_to_bring_back(
    lake: Lake, version: int, content: str | None, says: str
) -> None:
    for number in (1, 2):
        lake.show(number, lake.night(MONDAY))
    commit = lake.path(f"{LICENSES}/_delta_log/{version:020d}.json")
    if content is None:
        commit.unlink()
    else:
        commit.write_text(content)
    with pytest.raises(IntegrityError, match=f"is damaged: {says}; bring back the files") as caught:
        lake.format.visible(LICENSES)
    assert caught.value.exit_code == 5


def test_where_deltalake_was_in_its_own_code_is_not_shown() -> None:
    error = OSError("Kernel error: broken   0: <unknown>   1: start_thread at ./nptl/x.c:442:8")
    with pytest.raises(StoreError, match=r"licenses: Kernel error: broken$"):
        with translated("lake/licenses"):
            raise error


@pytest.mark.parametrize("dest", ["s3://bucket/lake", "az://bucket/lake"])
def test_an_answer_of_a_store_is_not_shown(dest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may repeat what was signed, and a URL has a signature in its query."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_SAS_TOKEN": "sv=2026-01-01&sp=rl&sig=hunter2",
        "AZURE_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with answering([(403, "AuthenticationFailed")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
        with pytest.raises(StoreError, match=rf"Delta table {dest}/licenses: ") as refused:
            Table.opened(open_store(dest), LICENSES)
    assert str(refused.value).endswith("403 Forbidden : AuthenticationFailed")
    shown = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in shown
    assert "Message" not in shown


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['deltalake'] = None\n"
        "from streamlic.errors import UsageError\n"
        "try:\n    import streamlic.tables.delta.format\n"
        "except UsageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install '.[delta]'" in done.stdout


def test_the_old_duckdb_reads_partitions_and_nested_columns(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path), partition_by="export_date")
    for number, night in enumerate((MONDAY, TUESDAY), 1):
        lake.show(number, lake.night(night))
    where = lake.store.where(LICENSES)
    query = (
        "SELECT export_date::text, count(*), count(products), count(DISTINCT _exported_at) "
        "FROM delta_scan('{}') GROUP BY 1 ORDER BY 1"
    )
    rows = read_with_old_duckdb(query.format(where))
    products = sum(row["products"] is not None for row in lake.rows(MONDAY))
    assert rows == [[f"2026-11-{day}", len(lake.ids(MONDAY)), products, 1] for day in (23, 24)]
