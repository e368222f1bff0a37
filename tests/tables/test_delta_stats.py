"""Statistics in Delta's log: loose bounds are right, tight ones that are wrong lose rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlic.dataset.lake import LICENSES
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import PartFile
from streamlic.schema.values import TIMESTAMP
from streamlic.storage.local import LocalStore
from streamlic.tables.delta.stats import stats_of
from tests.support.delta import NIGHTS, Lake

MICROSECONDS = st.integers(-(10**17), 3 * 10**17)


def stats(tmp_path: Path, column: pa.Array, rows_per_group: int = 1000) -> dict[str, Any]:
    """Return the statistics of a file with one column, ``x``."""
    path = tmp_path / "licenses" / "part.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"x": column}), path, row_group_size=rows_per_group)
    file = PartFile("licenses/part.parquet", len(column), path.stat().st_size, "")
    (text,) = stats_of(LocalStore(tmp_path), [file])
    found: dict[str, Any] = json.loads(text)
    assert found["numRecords"] == len(column)
    return found


def bounds(found: dict[str, Any]) -> tuple[Any, Any] | None:
    assert found["minValues"].keys() == found["maxValues"].keys()
    return (found["minValues"]["x"], found["maxValues"]["x"]) if found["minValues"] else None


@pytest.mark.parametrize(
    ("column", "expected", "nulls"),
    [
        (pa.array([3, None, 1]), (1, 3), 1),
        (pa.array([-(2**63), 2**63 - 1]), (-(2**63), 2**63 - 1), 0),
        (pa.array([0.5, -1e300]), (-1e300, 0.5), 0),
        (pa.array(["b", "a", None]), ("a", "b"), 1),
        (pa.array([None, None], pa.string()), None, 2),
        (pa.array([], pa.int64()), None, None),
        (pa.array([True, False]), None, 0),
    ],
)
def test_the_bounds_of_a_column(
    tmp_path: Path, column: pa.Array, expected: tuple[Any, Any] | None, nulls: int | None
) -> None:
    found = stats(tmp_path, column)
    assert bounds(found) == expected
    assert found["nullCount"].get("x") == nulls


def test_bounds_span_all_row_groups(tmp_path: Path) -> None:
    found = stats(tmp_path, pa.array([5, 6, None, None, 1, 2]), rows_per_group=2)
    assert bounds(found) == (1, 6)
    assert found["nullCount"] == {"x": 2}


def test_a_row_group_without_bounds_leaves_the_column_without(tmp_path: Path) -> None:
    """Parquet has no bounds for texts of kilobytes."""
    found = stats(tmp_path, pa.array(["a", "b", "z" * 10_000, "y"]), rows_per_group=2)
    assert bounds(found) is None
    assert found["nullCount"] == {"x": 0}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a" * 32], ("a" * 32, "a" * 32)),
        (["a" * 33], ("a" * 32, "a" * 32 + "\x7f")),
        (["é" * 33], ("é" * 32, "é" * 32 + "\U0010ffff")),
        (["a" * 32 + "\x7f"], ("a" * 32, "a" * 32 + "\U0010ffff")),
        (["a" * 32 + "\U0010ffff" * 2], ("a" * 32, "a" * 32 + "\U0010ffff" * 2)),
        (
            ["a" * 32 + "\U0010ffff" + "b"],
            ("a" * 32, "a" * 32 + "\U0010ffff\x7f"),
        ),
    ],
)
def test_a_long_text_is_cut(tmp_path: Path, texts: list[str], expected: tuple[str, str]) -> None:
    assert bounds(stats(tmp_path, pa.array(texts))) == expected


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=5))
def test_texts_lie_within_their_bounds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    found = bounds(stats(tmp_path_factory.mktemp("texts"), pa.array(texts)))
    assert found is not None
    for text in texts:  # Readers compare the bytes of UTF-8, whose order is that of characters.
        assert found[0].encode() <= text.encode() <= found[1].encode()


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (
            "2026-01-02T03:04:05.678901+00:00",
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.679Z"),
        ),
        (
            "2026-01-02T03:04:05.678000+00:00",
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ),
        ("1969-12-31T23:59:59.999999+00:00", ("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z")),
        ("0001-01-01T00:00:00+00:00", ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z")),
    ],
)
def test_a_minimum_is_rounded_down_and_a_maximum_up(
    tmp_path: Path, moment: str, expected: tuple[str, str]
) -> None:
    found = bounds(stats(tmp_path, pa.array([datetime.fromisoformat(moment)], TIMESTAMP)))
    assert found is not None
    assert [*map(datetime.fromisoformat, found)] == [*map(datetime.fromisoformat, expected)]


@pytest.mark.parametrize("microseconds", [-62135596800000001, 253402300799999999])
def test_a_time_that_has_no_date_has_no_bounds(tmp_path: Path, microseconds: int) -> None:
    """Before the year 1; and in 9999's last millisecond, of which the next one is in 10000."""
    assert bounds(stats(tmp_path, pa.array([microseconds], TIMESTAMP))) is None


@settings(deadline=None)
@given(st.lists(MICROSECONDS, min_size=1, max_size=5))
def test_times_lie_within_their_bounds(
    tmp_path_factory: pytest.TempPathFactory, times: list[int]
) -> None:
    found = bounds(stats(tmp_path_factory.mktemp("times"), pa.array(times, TIMESTAMP)))
    low, high = map(datetime.fromisoformat, found) if found else (None, None)
    for time in times:
        if low and high:
            assert low <= pa.scalar(time, TIMESTAMP).as_py() <= high


def test_a_column_with_a_dot_in_its_name_has_bounds(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    pq.write_table(
        pa.table({"a.b": [1, 2], "s": [{"b": 1}, None], "l": [[1], []]}), tmp_path / "x.parquet"
    )
    (text,) = stats_of(store, [PartFile("x.parquet", 2, 0, "")])
    assert json.loads(text)["minValues"] == {"a.b": 1}
    assert json.loads(text)["nullCount"] == {"a.b": 0}


def test_many_files_keep_their_order(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    files = []
    for number in range(50):
        pq.write_table(pa.table({"x": [number]}), tmp_path / f"{number}.parquet")
        files.append(PartFile(f"{number}.parquet", 1, 0, ""))
    assert [json.loads(text)["minValues"]["x"] for text in stats_of(store, files)] == [*range(50)]


def test_readers_skip_files_and_find_every_row(tmp_path: Path) -> None:
    """Filters at each value of each column, where bounds that are too tight would lose a row."""
    lake = Lake(LocalStore(tmp_path))
    lake.show(1, lake.night(NIGHTS[0], parts=3))
    where = lake.store.where(LICENSES)
    rows = lake.rows(NIGHTS[0], parts=3)
    for column in ("id", "remote_data", "unit_amount", "available_quantity", "created_at"):
        for value in {row[column] for row in rows}:
            found = pl.scan_delta(where).filter(pl.col(column) == value).select(pl.len()).collect()
            assert found.item() == sum(row[column] == value for row in rows), (column, value)


def test_the_writers_files_have_statistics(tmp_path: Path) -> None:
    """As the lake writes them: without any for columns of long texts."""
    store = LocalStore(tmp_path)
    schema = pa.schema([("id", pa.string()), ("long", pa.string()), ("at", TIMESTAMP)])
    part = Part(
        store,
        "x.parquet",
        schema,
        staged="x.parquet",
        row_group_bytes=1000,
        compression="zstd",
        long_text_columns=frozenset({"long"}),
    )
    rows = [{"id": f"{i:03}", "long": "x" * 99, "at": datetime.now(UTC)} for i in range(200)]
    part.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    part.close()
    part.wait()
    (text,) = stats_of(store, [PartFile("x.parquet", part.rows, part.bytes, "")])
    found = json.loads(text)
    assert found["minValues"].keys() == {"id", "at"}
    assert (found["minValues"]["id"], found["maxValues"]["id"]) == ("000", "199")
