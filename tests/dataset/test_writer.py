"""Pages in, part files out: what is in the files, and what is never in them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from streamlic.dataset import parquet_footer
from streamlic.dataset.lake import STAGING, licenses_schema
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import PartFile
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.errors import StoreError, UsageError
from streamlic.resources.license_schema import LICENSE_SCHEMA
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
    return run.store.names(STAGING)


def staged_names(run: LocalRun, files: list[PartFile]) -> list[str]:
    return sorted(run.staged(file.name).removeprefix(f"{STAGING}/") for file in files)


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
    assert file.name == f"licenses/part-{run.id}-{run.epoch:06d}-000001.parquet"
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


ROOMY = replace(TINY, part_bytes=1 << 20)
"""Large pages as in TINY, and room for many of them in a part file."""


def test_large_pages_share_a_part_file_with_each_other_and_with_small_ones(run: LocalRun) -> None:
    writer = open_writer(run, ROOMY)
    for number, account in enumerate("abcd"):
        write_page(writer, number * 200, 120, account=account)
        write_page(writer, number * 200 + 120, 80, account=account, batch_rows=80)
        writer.write_whole(license_batch(1000 + number, 1), [(account, 1)])
    files = writer.finish()
    assert [file.rows for file in files] == [804]
    assert staged(run) == staged_names(run, files)
    assert sorted(ids(run, files)) == sorted([*numbered(0, 800), *numbered(1000, 4)])
    data = run.store.read(run.staged(files[0].name))
    assert (files[0].bytes, files[0].sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with pq.ParquetFile(run.store.path(run.staged(files[0].name))) as file:
        groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    accounts = [(one.column(0).statistics.min, one.column(0).statistics.max) for one in groups]
    assert ("a", "a") in accounts
    assert ("d", "d") in accounts
    write_page(writer, 2000, 120)
    assert [file.rows for file in writer.finish()] == [120]


def test_part_files_of_large_pages_are_about_as_large_as_asked(run: LocalRun) -> None:
    """Whatever the pages' sizes: none is far too large, and none but the last far too small."""
    options = replace(TINY, part_bytes=200_000, page_row_group_bytes=40_000, compression="none")
    writer = open_writer(run, options)
    first = 0
    for rows in [120, 1500, 300, 700, 120, 2500, 200, 120, 900, 120]:
        write_page(writer, first, rows, batch_rows=100)
        first += rows
    files = writer.finish()
    assert sorted(ids(run, files)) == sorted(numbered(0, first))
    sizes = [file.bytes for file in files]
    assert len(sizes) > 3
    assert max(sizes) <= options.part_bytes * 1.5, "a quarter more, and a row group with its footer"
    assert min(sizes[:-1]) > options.part_bytes / 2


def test_a_large_page_that_is_abandoned_takes_no_other_with_it(run: LocalRun) -> None:
    """The others are complete before, and while, it is in progress."""
    writer = open_writer(run, ROOMY)
    write_page(writer, 0, 120)
    page = writer.open_page("b")
    page.write(license_batch(5000, 120))
    write_page(writer, 120, 120)
    page.write(license_batch(5120, 120))
    page.abandon()
    write_page(writer, 240, 120)
    files = writer.finish()
    assert ids(run, files) == numbered(0, 360)
    assert [file.name for file in files] == [run.part_name(1)]
    assert staged(run) == staged_names(run, files)


def test_a_commit_is_due_when_large_pages_fill_a_part_file_together(run: LocalRun) -> None:
    writer = open_writer(run, replace(ROOMY, part_bytes=100_000))
    pages = 0
    while not writer.is_full and pages < 100:
        write_page(writer, pages * 120, 120)
        pages += 1
    assert 2 < pages < 100
    [file] = writer.finish()
    assert 100_000 <= file.bytes < 125_000


def test_files_that_cannot_be_joined_are_kept_apart(
    run: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_footer, "_MOST_ROW_GROUPS", 4)
    writer = open_writer(run, ROOMY)
    for first in range(0, 600, 120):
        write_page(writer, first, 120)
    files = writer.finish()
    assert len(files) > 1
    assert sorted(ids(run, files)) == sorted(numbered(0, 600))
    assert staged(run) == staged_names(run, files)


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


@pytest.mark.parametrize("page_rows", [20, 300], ids=["small pages", "a large page"])
def test_a_file_of_many_row_groups_is_written_in_pieces(
    run: LocalRun, monkeypatch: pytest.MonkeyPatch, page_rows: int
) -> None:
    """Arrow keeps what it knows of a file's row groups in memory until the file ends."""
    opened: list[Part] = []
    open_part = DatasetWriter.open_part

    def open_seen(writer: DatasetWriter, row_group_bytes: int) -> Part:
        opened.append(open_part(writer, row_group_bytes))
        return opened[-1]

    monkeypatch.setattr(DatasetWriter, "open_part", open_seen)
    options = WriteOptions(
        row_group_bytes=1,
        page_row_group_bytes=1,
        page_buffer_bytes=license_batch(0, 50).nbytes,
        row_groups_at_once=4,
    )
    writer = open_writer(run, options)
    for first in range(0, 300, page_rows):
        write_page(writer, first, page_rows, batch_rows=20)
    [file] = writer.finish()
    assert [part.row_groups for part in opened] == [4, 4, 4, 3]
    assert pq.read_metadata(run.store.path(run.staged(file.name))).num_row_groups == 15
    assert ids(run, [file]) == numbered(0, 300)
    assert staged(run) == staged_names(run, [file])


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
    assert without == {"description", "remote_data", "_rescued", *lists}, "readers use no others"
    assert all(c.has_column_index for name, c in columns.items() if name not in without)
    assert all(c.has_offset_index for c in columns.values())
    assert {c.compression for c in columns.values()} == {"ZSTD"}
    assert meta.format_version == "2.6"
    assert columns["integrated_account_id"].statistics.max == "a"


def test_repeated_columns_are_dictionaries_in_files_and_strings_to_readers(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    accounts = [f"account-{number:036d}" for number in range(6)]
    for number, account in enumerate(accounts[:4]):
        write_page(writer, number * 200, 200, account=account)
    writer.write_whole(license_batch(800, 400), [(accounts[4], 200), (accounts[5], 200)])
    [file] = writer.finish()
    path = run.store.path(run.staged(file.name))
    assert pq.read_schema(path).equals(licenses_schema(SCHEMA), check_metadata=False)
    column = pq.read_table(path)["integrated_account_id"]
    assert column.to_pylist() == [account for account in accounts for _ in range(200)]
    chunk = pq.read_metadata(path).row_group(0).column(0)
    assert chunk.has_dictionary_page
    assert chunk.total_uncompressed_size < file.rows, "each account is written once"
    assert (chunk.statistics.min, chunk.statistics.max) == (accounts[0], accounts[-1])


def test_an_account_without_details_has_nulls(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    writer.write_whole(license_batch(0, 2), [("a", 2)])
    page = writer.open_page(None)
    page.write(license_batch(2, 1))
    page.end()
    [file] = writer.finish()
    table = pq.read_table(run.store.path(run.staged(file.name)))
    assert table["tenant_id"].to_pylist() == [None] * 3
    assert table["integrated_account_id"].to_pylist() == ["a", "a", None]


def test_rows_that_are_carried_over_share_a_file_with_new_ones(run: LocalRun) -> None:
    writer = open_writer(run, WriteOptions())
    write_page(writer, 0, 20, account="a")
    [first] = writer.finish()
    old = pq.read_table(run.store.path(run.staged(first.name)))
    write_page(writer, 20, 20, account="b")
    for batch in old.to_batches():
        writer.write_rows(batch)
    [file] = writer.finish()
    table = pq.read_table(run.store.path(run.staged(file.name)))
    assert table.schema == old.schema
    assert Counter(table["integrated_account_id"].to_pylist()) == {"a": 20, "b": 20}


def test_a_files_schema_is_as_arrow_would_have_stored_it(run: LocalRun) -> None:
    """With the roles of JSON columns, and without dictionaries."""
    writer = DatasetWriter(run.store, run, schema=LICENSE_SCHEMA)
    writer.finish(with_empty=True)
    [name] = staged(run)
    schema = pq.read_schema(run.store.path(f"{STAGING}/{name}")).remove_metadata()
    arrows = io.BytesIO()
    pq.write_table(licenses_schema(LICENSE_SCHEMA).empty_table(), arrows)
    assert schema.equals(pq.read_schema(arrows), check_metadata=True)


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
from dataclasses import replace
from pathlib import Path
from streamlic.dataset.lake import STAGING
from streamlic.errors import StoreError
from tests.support.batches import TINY, license_batch, open_writer, open_local

run = open_local(Path(sys.argv[1]), request={}, accounts=["a"])
writer = open_writer(run, replace(TINY, part_bytes=1 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    rows = int(sys.argv[3])
    for first in range(0, 4000, rows):
        page = writer.open_page("a")
        page.write(license_batch(first, rows))
        page.end()
except StoreError as error:
    print(error)
    writer.discard()
    print(run.store.names(STAGING))
"""


@pytest.mark.parametrize(
    ("room_bytes", "rows"), [(0, 20), (3, 20), (5_000, 20), (5_000, 400), (40_000, 120)]
)
def test_a_disk_without_room_is_an_error_that_leaves_nothing(
    tmp_path: Path, room_bytes: int, rows: int
) -> None:
    """A file may not grow beyond ``room_bytes``: its first, or a later write fails.

    With the most room, large pages fit and the file that they share does not.
    """
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "dest"), str(room_bytes), str(rows)],
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
    run.store.delete_tree(STAGING)
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
