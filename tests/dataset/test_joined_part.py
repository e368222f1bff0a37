"""Part files joined: the same rows, as any reader finds them, and a footer that is right."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.dataset import parquet_footer
from streamlic.dataset.joined_part import JoinedPart
from streamlic.dataset.parquet_footer import Footer, UnknownFooter
from streamlic.dataset.part_file import Part
from streamlic.dataset.writer import COMPRESSIONS
from streamlic.errors import StoreError
from streamlic.storage.local import LocalStore
from tests.support.batches import SCHEMA, license_batch
from tests.support.thrift import read_footer, read_struct, write_varint


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.make_directory("staging")
    return store


def ended(
    store: LocalStore,
    name: str,
    first: int,
    rows: int,
    *,
    groups: int = 1,
    copies: int = 1,
    **given: Any,
) -> Part:
    """Write a part file of so many row groups, and do not make it durable."""
    options = {"compression": "zstd", "unique_columns": frozenset({"id"}), **given}
    part = Part(store, name, SCHEMA, staged=f"staging/{name}", row_group_bytes=1, **options)
    for at in range(first, first + rows, rows // groups):
        part.write(pa.concat_batches([license_batch(at, rows // groups)] * copies))
    part.end()
    return part


def joined(store: LocalStore, sizes: list[tuple[int, int]], **given: Any) -> tuple[Part, bytes]:
    """Join part files of so many rows and row groups; return the part, and the file's bytes."""
    first, parts = 0, []
    for number, (rows, groups) in enumerate(sizes):
        parts.append(ended(store, f"part-{number}", first, rows, groups=groups, **given))
        first += rows
    one = JoinedPart(parts[0])
    for part in parts[1:]:
        assert one.append(part)
    expected_bytes = one.bytes
    part = one.close()
    assert part.bytes == expected_bytes
    return part, part.path.read_bytes()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "sizes",
    [[(30, 1), (20, 1)], [(1, 1), (200, 5), (7, 1), (60, 3)], [(40, 10), (40, 10), (300, 1)]],
    ids=["two", "four", "many row groups"],
)
def test_any_reader_finds_the_rows_of_all(
    store: LocalStore, sizes: list[tuple[int, int]], compression: str
) -> None:
    part, data = joined(store, sizes, compression=compression)
    rows = sum(rows for rows, _ in sizes)
    assert store.names("staging") == ["part-0"]
    assert (part.rows, part.sha256) == (rows, hashlib.sha256(data).hexdigest())
    expected = license_batch(0, rows).to_pylist()
    path = part.path
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        assert file.metadata.num_rows == rows
        assert file.metadata.num_row_groups == sum(groups for _, groups in sizes)
        assert file.read().to_pylist() == expected
    with duckdb.connect() as connection:
        query = "select id from read_parquet(?) where available_quantity >= 25"
        ids = [row[0] for row in connection.execute(query, [str(path)]).fetchall()]
    assert ids == [row["id"] for row in expected if row["available_quantity"] >= 25]
    frame = pl.scan_parquet(path).filter(pl.col("id") == f"license-{rows - 1}").collect()
    assert frame["available_quantity"].to_list() == [expected[-1]["available_quantity"]]


def test_the_footer_and_the_offset_indexes_show_where_pages_are(store: LocalStore) -> None:
    long = ended(store, "long", 0, 500, copies=60)
    one = JoinedPart(ended(store, "first", 0, 30, groups=3))
    assert one.append(long)
    assert one.append(ended(store, "last", 30, 300, groups=15))
    data = one.close().path.read_bytes()
    footer = read_footer(data)
    assert footer[3] == 30 + 30_000 + 300
    assert len(footer[4]) == 3 + 1 + 15
    most_pages = 0
    for group in footer[4]:
        chunks = [chunk[3] for chunk in group[1]]
        assert group[5] == min(chunk.get(11, chunk[9]) for chunk in chunks)
        for chunk, meta in zip(group[1], chunks, strict=True):
            index = read_struct(data[chunk[4] : chunk[4] + chunk[5]])
            at = meta[9]
            for page in index[1]:
                assert page[1] == at
                at += page[2]
            first = meta.get(11, meta[9])
            assert at == first + meta[7], "the pages fill the column chunk"
            assert read_page_header(data[first:])[1] == (2 if 11 in meta else 0)
            most_pages = max(most_pages, len(index[1]))
            if 6 in chunk:
                column_index = read_struct(data[chunk[6] : chunk[6] + chunk[7]])
                assert len(column_index[1]) == len(index[1])
    assert most_pages > 1


def read_page_header(data: bytes) -> dict[int, Any]:
    """Read a page's header, which nothing gives the size of."""
    for size in range(1, 500):
        try:
            return read_struct(data[:size])
        except (IndexError, ValueError):
            continue
    raise AssertionError("no page header")


def test_everything_but_offsets_is_copied(store: LocalStore) -> None:
    """Statistics, encodings, schema and metadata are as in the files that were joined."""
    apart = [ended(store, f"apart-{n}", n * 500, 500, groups=2) for n in range(2)]
    before = [read_footer(part.path.read_bytes()) for part in apart]
    _, data = joined(store, [(500, 2), (500, 2)])
    after = read_footer(data)
    groups = [group for footer in before for group in footer[4]]
    moved = {"group": {5, 7}, "chunk": {2, 3, 4, 5, 6}, "meta": {9, 10, 11, 14}}

    def without(fields: dict[int, Any], kind: str) -> dict[int, Any]:
        return {field: value for field, value in fields.items() if field not in moved[kind] | {1}}

    assert without(after, "group") | {3: 0, 4: 0} == without(before[0], "group") | {3: 0, 4: 0}
    for one, other in zip(after[4], groups, strict=True):
        assert without(one, "group") == without(other, "group")
        for chunk, copied in zip(one[1], other[1], strict=True):
            assert without(chunk, "chunk") == without(copied, "chunk")
            assert without(chunk[3], "meta") == without(copied[3], "meta")


@pytest.mark.parametrize("shift", [1, 63, 64, 8191, 1 << 20, 1 << 31, 1 << 40])
def test_offsets_move_however_far(store: LocalStore, shift: int) -> None:
    data = ended(store, "part", 0, 100, groups=2).path.read_bytes()
    before = read_footer(data)
    size = int.from_bytes(data[-8:-4], "little")
    footer = Footer.parsed(data[-8 - size : -8])
    assert footer.to_bytes() == data[-8 - size : -8]

    def read(at: int, count: int) -> bytes:
        return data[at : at + count]

    indexes = footer.join(footer, shift, read, index_at=shift * 2)
    after = read_struct(footer.to_bytes())
    assert footer.size == len(footer.to_bytes())
    assert after[4][:2] == before[4]
    for group, moved in zip(before[4], after[4][2:], strict=True):
        assert moved[5] == group[5] + shift
        for chunk, other in zip(group[1], moved[1], strict=True):
            assert other[3][9] == chunk[3][9] + shift
            assert other[2] == (chunk[2] + shift if chunk[2] else 0)
            at = other[4] - shift * 2
            [page] = read_struct(indexes[at : at + other[5]])[1]
            assert page[1] == chunk[3][9] + shift


def test_ordinals_of_row_groups_count_on(store: LocalStore) -> None:
    """Parquet has them, and pyarrow writes none."""
    data = ended(store, "part", 0, 100).path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = Footer.parsed(data[-8 - size : -8])
    assert 7 not in read_footer(data)[4][0]
    first = footer.row_groups[:-1] + bytes([1 << 4 | 4]) + write_varint(0) + b"\0"
    footer = replace(footer, row_groups=first)
    one = replace(footer, row_groups=first[:])
    for _ in range(70):
        one.join(footer, 1, lambda at, count: data[at : at + count], 1)
    assert [group[7] for group in read_struct(one.to_bytes())[4]] == list(range(71))


def test_a_footer_with_an_unknown_field_is_not_joined(store: LocalStore) -> None:
    """A field of a later version may be an offset. The files stay as they are."""
    known, strange = ended(store, "known", 0, 20), ended(store, "strange", 20, 20)
    path = strange.path
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -9] + bytes([6 << 4 | 6]) + write_varint(2) + b"\0"
    path.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(UnknownFooter):
        Footer.parsed(footer)
    one, other = JoinedPart(known), JoinedPart(strange)
    assert not one.append(strange)
    assert not other.append(known)
    for part, first in ((one.close(), 0), (other.close(), 20)):
        rows = pq.read_table(part.path)
        assert rows.to_pylist() == license_batch(first, 20).to_pylist()


def test_more_row_groups_than_can_be_numbered_are_not_joined(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_footer, "_MOST_ROW_GROUPS", 3)
    one = JoinedPart(ended(store, "one", 0, 20, groups=2))
    assert not one.append(ended(store, "two", 20, 20, groups=2))
    assert one.append(ended(store, "three", 20, 20))
    assert pq.read_metadata(one.close().path).num_row_groups == 3


def test_a_file_that_is_gone_or_cut_is_an_error(store: LocalStore) -> None:
    one, two = JoinedPart(ended(store, "one", 0, 20)), ended(store, "two", 20, 20)
    two.path.unlink()
    with pytest.raises(StoreError, match="staging/two"):
        one.append(two)


def test_lists_of_every_length_are_read_and_written() -> None:
    """A list's header has another form from 15 elements on."""
    schema = pa.schema([(f"c{number}", pa.int8()) for number in range(20)])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, write_page_index=True) as writer:
        writer.write_table(pa.table([pa.array([1], pa.int8())] * 20, schema=schema))
    data = sink.getvalue().to_pybytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer, one = (Footer.parsed(data[-8 - size : -8]) for _ in range(2))
    for count in range(2, 20):
        one.join(footer, 1, lambda at, size: data[at : at + size], 1)
        assert len(read_struct(one.to_bytes())[4]) == one.count == count
        assert Footer.parsed(one.to_bytes()) == one
