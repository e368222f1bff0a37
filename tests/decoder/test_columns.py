"""Columns built all at once hold what the rule of each value says, whatever the others are."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder.reference.columns import RecordColumns
from streamlic.decoder.reference.scalar_columns import Source
from streamlic.schema.columns import JSON_RESCUED, JSON_VALUE, json_field
from streamlic.schema.values import MISFIT, SCALARS, TIMESTAMP, HugeNumber

VALUES: list[Any] = [
    *(None, None, None, True, False, "", "x", "12", [], [1], {}, {"a": 1}),
    *(0, 1, -7, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**400),
    *(Decimal(text) for text in ("-0.0", "12.0", "1e2", "1.5", "9007199254740993.0", "1e400")),
    *(Decimal(text) for text in ("12.00000000000000000001", "1e18", "1e19", "1e-400")),
]
HUGE = [HugeNumber("9" * 5000), HugeNumber("1e99999999999999999999"), HugeNumber("12")]
MOMENTS: list[Any] = [
    *("2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "1969-12-31T23:59:59.1234567+05:30"),
    *("2024-01-01T00:00:00.5Z", "2024-01-01", "2024-01-01t00:00:00z", "2024-02-30T00:00:00Z"),
    *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "never", "never", "Z"),
    *("", "", "2024-01-01T00:00:00Z\n2024-01-02T00:00:00Z", "\n", "x\ny", "2024-01-01T00:00:00\n"),
]


def as_float(value: Any) -> Any:
    """Return what ijson makes of a number, where it reads floats."""
    is_number = type(value) is Decimal and abs(value) < Decimal("1e308")
    return float(value) if is_number else value


def check(kind: pa.DataType, exact: list[Any], given: list[Any], *, has_huge: bool) -> None:
    """Build a column of this type, alone and within objects and lists, and compare all values."""
    fits = [None if value is None else SCALARS[kind](value) for value in exact]
    want = pa.array([None if value is MISFIT else value for value in fits], kind)
    misfits = {number for number, value in enumerate(fits) if value is MISFIT}
    fields = [
        pa.field("v", kind),
        pa.field("s", pa.struct([("v", kind)])),
        pa.field("m", pa.list_(pa.struct([("v", kind)]))),
        pa.field("l", pa.list_(pa.struct([("m", pa.list_(pa.struct([("v", kind)])))]))),
    ]
    columns = RecordColumns(pa.schema([*fields, json_field("_rescued", JSON_RESCUED)]))
    records, exact_records = (
        [{"v": v, "s": {"v": v}, "m": [{}, {"v": v}], "l": [{"m": [{}, {"v": v}]}]} for v in values]
        for values in (given, exact)
    )
    source = Source(exact_records.__getitem__, has_huge=has_huge)
    built, places = columns.build(columns.read(records), source)
    assert built["v"].equals(want)
    assert built["s"].field("v").equals(want)
    assert built["m"].flatten().field("v")[1::2].equals(want)
    assert built["l"].flatten().field("m").flatten().field("v")[1::2].equals(want)
    for column in built.values():
        column.validate(full=True)
    paths: list[tuple[Any, ...]] = [("v",), ("s", "v"), ("m", 1, "v"), ("l", 0, "m", 1, "v")]
    assert set(places) == {(number, path) for number in misfits for path in paths}
    assert len(places) == len(misfits) * len(paths)


@pytest.mark.parametrize("kind", SCALARS, ids=str)
@pytest.mark.parametrize("is_exact", [True, False])
def test_a_column_holds_what_the_rule_makes_of_each_value(
    kind: pa.DataType, is_exact: bool
) -> None:
    """Alone, and in any company: some values are usual, some are refused by Arrow, some taken."""
    rng = random.Random(7)
    pool = VALUES + MOMENTS if kind == TIMESTAMP else VALUES
    samples = [[value] for value in pool] + [[value, None, value] for value in pool]
    samples += [rng.choices(pool, k=rng.randrange(2, 30)) for _ in range(100)]
    samples += [rng.choices([*MOMENTS[:4], None], k=9) for _ in range(20)]
    for exact in samples:
        given = exact if is_exact else [as_float(value) for value in exact]
        check(kind, exact, given, has_huge=False)


@pytest.mark.parametrize("kind", SCALARS, ids=str)
def test_huge_numbers_are_not_strings(kind: pa.DataType) -> None:
    rng = random.Random(7)
    for _ in range(100):
        exact = [*rng.choices(VALUES + HUGE, k=5), "x"]
        check(kind, exact, exact, has_huge=True)


def test_of_json_columns_is_kept_only_which_values_are_null() -> None:
    """Their trees would be held until the columns are built, for nothing but their own texts."""
    fields = [json_field("v", JSON_VALUE), json_field("_rescued", JSON_RESCUED)]
    columns = RecordColumns(pa.schema(fields))
    rows = columns.read([{"v": {"a": [1]}}, {"v": None}, {}, {"v": False}, 1, {"w": 1, "v": 0}])
    built, places = columns.build(rows, Source(str, has_huge=False))
    assert list(built["v"]) == [True, None, None, True, None, True]
    assert sorted(places) == [(4, ()), (5, ("w",))]


def test_a_value_that_is_not_an_object_has_no_members() -> None:
    schema = pa.schema([pa.field("v", pa.int64()), json_field("_rescued", JSON_RESCUED)])
    columns = RecordColumns(schema)
    rows = columns.read([{"v": 1}, [], None, {"w": 1, "v": 2}])
    built, places = columns.build(rows, Source(str, has_huge=False))
    assert built["v"].to_pylist() == [1, None, None, 2]
    assert sorted(places) == [(1, ()), (2, ()), (3, ("w",))]
