"""Pages in, part files out: what is in the files, and what is never in them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from streamlic.dataset.lake import licenses_schema
from streamlic.dataset.records import PartFile
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.errors import StoreError, UsageError
from tests.support.batches import (
    SCHEMA,
    TINY,
    LocalRun,
    license_batch,
    open_local,
    open_writer,
)


@pytest.fixture
def run(tmp_path: Path) -> LocalRun:
    return open_local(tmp_path / "dest", request={}, accounts=["a"])


def write_page(
    writer: DatasetWriter, first: int, rows: int, *, batch_rows: int = 20, account: str = "a"
) -> None:
    """Write a page whose ids count on from ``first``."""
    page = writer.open_page(account)
    for start in range(first, first + rows, batch_rows):
        page.write(license_batch(start, min(batch_rows, first + rows - start)))
    page.end()


def staged(run: LocalRun) -> list[str]:
    return run.store.names(run.staging)


def ids(run: LocalRun, files: list[PartFile]) -> list[str]:
    return [
        i
        for file in files
        for i in pq.read_table(run.store.path(run.staged(file.name)))["id"].to_pylist()
    ]


def numbered(first: int, rows: int) -> list[str]:
    return [f"license-{i}" for i in range(first, first + rows)]


def test_rows_come_back_with_their_account_and_time(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    write_page(writer, 0, 30, account="a")
    write_page(writer, 30, 10, account="b")
    [file] = writer.finish()
    table = pq.ParquetFile(run.store.path(run.staged(file.name))).read()
    assert table.schema.names == licenses_schema(SCHEMA).names
    assert table.schema.types == licenses_schema(SCHEMA).types
    assert table.select(SCHEMA.names).to_pylist() == license_batch(0, 40).to_pylist()
    assert table["integrated_account_id"].to_pylist() == ["a"] * 30 + ["b"] * 10
    assert set(table["_exported_at"].to_pylist()) == {run.started_at}


def test_a_part_file_is_described_exactly(run: LocalRun) -> None:
    writer = open_writer(run)
    write_page(writer, 0, 20)
    [file] = writer.finish()
    name = run.staged(file.name)
    assert file.name == f"licenses/part-{run.id}-000001.parquet"
    assert (file.rows, file.bytes) == (20, run.store.path(name).stat().st_size)
    assert file.sha256 == hashlib.sha256(run.store.read(name)).hexdigest()
    assert writer.bytes_written == file.bytes
    assert writer.finish() == []


def test_part_files_are_durable_when_they_are_returned(
    run: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is fsynced when it has its last byte, and its directory after it."""
    synced: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, path.stat().st_size if path.is_file() else 0))

    monkeypatch.setattr(os, "fsync", fsync)
    writer = open_writer(run)
    write_page(writer, 0, 20)
    write_page(writer, 20, 400)
    files = writer.finish()
    assert len(files) > 2
    for file in files:
        at = synced.index((run.staged(file.name).rpartition("/")[2], file.bytes))
        assert synced[at + 1] == ("staging", 0)


def test_a_page_in_progress_is_in_no_part_file(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    write_page(writer, 0, 20)
    page = writer.open_page("a")
    page.write(license_batch(20, 20))
    assert ids(run, writer.finish()) == numbered(0, 20)
    page.write(license_batch(40, 20))
    page.end()
    assert ids(run, writer.finish()) == numbered(20, 40)


@pytest.mark.parametrize("rows", [20, 200], ids=["held", "large"])
def test_an_abandoned_page_leaves_nothing(run: LocalRun, rows: int) -> None:
    writer = open_writer(run)
    write_page(writer, 0, 20)
    before = staged(run)
    page = writer.open_page("a")
    for first in range(1000, 1000 + rows, 20):
        page.write(license_batch(first, 20))
    assert (staged(run) != before) is (rows == 200)
    page.abandon()
    assert staged(run) == before
    write_page(writer, 20, 20)
    assert ids(run, writer.finish()) == numbered(0, 40)


def test_pages_in_progress_do_not_mix(run: LocalRun) -> None:
    """One is large, one small, one is abandoned, and a commit comes between them."""
    writer = open_writer(run)
    large, small, none = (writer.open_page(account) for account in ("a", "b", "c"))
    for first in range(0, 200, 20):
        large.write(license_batch(first, 20))
        none.write(license_batch(5000 + first, 20))
    small.write(license_batch(1000, 20))
    assert writer.finish() == []
    small.end()
    assert ids(run, writer.finish()) == numbered(1000, 20)
    large.end()
    none.abandon()
    files = writer.finish()
    assert ids(run, files) == numbered(0, 200)
    assert len(staged(run)) == len(files) + 1
    table = pq.read_table(run.store.path(run.staged(files[0].name)))
    assert set(table["integrated_account_id"].to_pylist()) == {"a"}


def test_whole_pages_of_many_accounts_share_a_part_file(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    writer.write_whole(license_batch(0, 30), [("a", 10), ("b", 0), (None, 5), ("c", 15)])
    writer.write_whole(license_batch(30, 5), [("d", 5)])
    [file] = writer.finish()
    table = pq.read_table(run.store.path(run.staged(file.name)))
    assert table["id"].to_pylist() == numbered(0, 35)
    accounts = ["a"] * 10 + [None] * 5 + ["c"] * 15 + ["d"] * 5
    assert table["integrated_account_id"].to_pylist() == accounts


def test_a_page_too_large_to_be_held_has_part_files_of_its_own(run: LocalRun) -> None:
    writer = open_writer(run)
    write_page(writer, 0, 20)
    full = [writer.is_full]
    write_page(writer, 20, 400)
    full.append(writer.is_full)
    files = writer.finish()
    full.append(writer.is_full)
    assert full == [False, True, False]
    assert sorted(ids(run, files)) == sorted(numbered(0, 420))
    assert len(files) > 2
    assert all(file.rows for file in files)
    assert all(file.bytes >= TINY.part_bytes for file in files[:-2])


def test_part_files_of_a_page_that_end_with_it_are_followed_by_no_empty_one(run: LocalRun) -> None:
    """Every batch fills a part file, the last one too."""
    writer = open_writer(
        run, WriteOptions(part_bytes=1, page_row_group_bytes=1, page_buffer_bytes=1)
    )
    write_page(writer, 0, 60)
    assert [file.rows for file in writer.finish()] == [20, 20, 20]


def test_small_pages_fill_a_part_file_together(run: LocalRun) -> None:
    writer = open_writer(run)
    pages = 0
    while not writer.is_full and pages < 200:
        write_page(writer, pages * 20, 20)
        pages += 1
    [file] = writer.finish()
    assert 1 < pages < 200
    assert file.bytes >= TINY.part_bytes
    assert ids(run, [file]) == numbered(0, pages * 20)


def test_row_groups_gather_batches_and_are_bounded(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions(row_group_bytes=50_000))
    for first in range(0, 2000, 20):
        write_page(writer, first, 20, batch_rows=5)
    [file] = writer.finish()
    meta = pq.read_metadata(run.store.path(run.staged(file.name)))
    batch_bytes = license_batch(0, 5).nbytes
    rows = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert sum(rows) == 2000
    assert 3 < len(rows) < 30
    assert max(rows) * batch_bytes / 5 < 2 * 50_000


@pytest.mark.parametrize("rows", [0, 1])
def test_batches_without_rows_are_accepted(run: LocalRun, rows: int) -> None:
    writer = open_writer(run)
    page = writer.open_page("a")
    page.write(license_batch(0, 0))
    page.write(license_batch(0, rows))
    page.end()
    assert [file.rows for file in writer.finish()] == [1] * rows


def test_a_run_without_rows_can_have_one_empty_file_with_the_schema(run: LocalRun) -> None:
    writer = open_writer(run)
    write_page(writer, 0, 0)
    assert writer.finish() == []
    [file] = writer.finish(with_empty=True)
    table = pq.ParquetFile(run.store.path(run.staged(file.name))).read()
    assert file.rows == table.num_rows == 0
    assert table.schema.types == licenses_schema(SCHEMA).types
    write_page(writer, 0, 1)
    assert [one.rows for one in writer.finish(with_empty=True)] == [1]


def test_discarding_leaves_nothing_but_what_was_finished(run: LocalRun) -> None:
    writer = open_writer(run)
    write_page(writer, 0, 20)
    finished = [run.staged(file.name).rpartition("/")[2] for file in writer.finish()]
    write_page(writer, 20, 400)
    write_page(writer, 420, 20)
    page = writer.open_page("a")
    page.write(license_batch(500, 200))
    assert len(staged(run)) > 3
    writer.discard()
    assert staged(run) == finished


def test_columns_are_encoded_by_what_they_hold(run: LocalRun) -> None:
    """Dictionaries and statistics where they pay; page checksums and page indexes throughout."""
    options = WriteOptions(
        long_text_columns=frozenset({"description"}), unique_columns=frozenset({"id"})
    )
    writer = open_writer(run, options)
    write_page(writer, 0, 1000)
    [file] = writer.finish()
    meta = pq.read_metadata(run.store.path(run.staged(file.name)))
    group = meta.row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    dictionaries = {name for name, c in columns.items() if c.has_dictionary_page}
    plain = {"id", "description", "remote_data", "_rescued", "is_paid"}
    lists = {name for name in columns if ".list." in name}
    assert dictionaries == columns.keys() - plain - lists
    without = {name for name, c in columns.items() if not c.is_stats_set}
    assert without == {"description", "remote_data", "_rescued"}
    assert all(c.has_column_index for name, c in columns.items() if name not in without)
    assert all(c.has_offset_index for c in columns.values())
    assert {c.compression for c in columns.values()} == {"ZSTD"}
    assert meta.format_version == "2.6"
    assert columns["integrated_account_id"].statistics.max == "a"


def test_a_flipped_bit_in_a_page_is_seen_by_any_reader_that_checks(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions(compression="none"))
    write_page(writer, 0, 100)
    [file] = writer.finish()
    path = run.store.path(run.staged(file.name))
    data = bytearray(path.read_bytes())
    data[data.index(b"license-50") + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.read_table(path, page_checksum_verification=True)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_compression_is_as_asked(run: LocalRun, compression: str) -> None:
    writer = open_writer(run, WriteOptions(compression=compression))
    write_page(writer, 0, 20)
    [file] = writer.finish()
    column = pq.read_metadata(run.store.path(run.staged(file.name))).row_group(0).column(0)
    assert column.compression == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


@pytest.mark.parametrize(
    "wrong", [{"compression": "gzip"}, {"part_bytes": 0}, {"row_group_bytes": -1}]
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        WriteOptions(**wrong)  # type: ignore[arg-type]  # that is the point


FULL_DISK = """
import resource, sys
from pathlib import Path
from streamlic.errors import StoreError
from streamlic.storage.local import LocalStore
from tests.support.batches import license_batch, open_writer, LocalRun, open_local

run = open_local(Path(sys.argv[1]), request={}, accounts=["a"])
writer = open_writer(run)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    for first in range(0, 4000, 20):
        page = writer.open_page("a")
        page.write(license_batch(first, 20))
        page.end()
except StoreError as error:
    print(error)
    writer.discard()
    print(run.store.names(run.staging))
"""


@pytest.mark.parametrize("room_bytes", [0, 3, 5_000])
def test_a_disk_without_room_is_an_error_that_leaves_nothing(
    tmp_path: Path, room_bytes: int
) -> None:
    """A file may not grow beyond ``room_bytes``: its first, or a later write fails."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "dest"), str(room_bytes)],
        check=True,
        capture_output=True,
        text=True,
    )
    error, left = ended.stdout.splitlines()
    assert "has the disk room?" in error
    assert "/staging/licenses.part-" in error
    assert left == "[]"
    assert ended.stderr == ""


def test_a_staging_directory_that_is_gone_is_an_error(run: LocalRun) -> None:
    writer = open_writer(run)
    run.store.delete_tree(run.staging)
    with pytest.raises(StoreError, match=r"staging/licenses\.part-"):
        write_page(writer, 0, 20)


@pytest.mark.parametrize("rows", [0, 400])
def test_readers_need_no_help(run: LocalRun, rows: int) -> None:
    """DuckDB, polars and pyarrow read the part files as they are, an empty one among them too."""
    writer = open_writer(run)
    run.commit(writer.finish(with_empty=True), {}, is_complete=False)
    write_page(writer, 0, rows)
    run.commit(writer.finish(), {}, is_complete=True)
    dest = run.store.root
    wanted = numbered(0, rows)

    table = ds.dataset(dest / "licenses", format="parquet").to_table()
    assert sorted(table["id"].to_pylist()) == sorted(wanted)
    products = table.filter(pc.field("id") == "license-2")["products"].to_pylist()

    with duckdb.connect() as connection:
        found = connection.execute(
            "select id, products, epoch_us(_exported_at) from read_parquet(?)",
            [f"{dest}/licenses/*.parquet"],
        )
        duck = found.fetchall()
    assert sorted(row[0] for row in duck) == sorted(wanted)
    assert [row[1] for row in duck if row[0] == "license-2"] == products
    assert {row[2] for row in duck} == ({run.started_at.timestamp() * 1e6} if rows else set())

    frame = pl.scan_parquet(f"{dest}/licenses/*.parquet").collect()
    assert sorted(frame["id"].to_list()) == sorted(wanted)
    assert frame.filter(pl.col("id") == "license-2")["products"].to_list() == products
