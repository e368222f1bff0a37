"""How each JSON value becomes a column's value, at the edges where engines part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlic.errors import UsageError
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import (
    JSON_RECORD,
    JSON_RESCUED,
    JSON_VALUE,
    RAW_SCHEMA,
    check_schema,
    json_field,
)
from streamlic.schema.values import (
    MISFIT,
    HugeNumber,
    to_bool,
    to_double,
    to_int64,
    to_string,
    to_timestamp,
)


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, 12),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (2**63, MISFIT),
        (-(2**63) - 1, MISFIT),
        (Decimal("12.0"), 12),
        (Decimal("1E+3"), 1000),
        (Decimal("1.5"), MISFIT),
        (Decimal("-0.0"), 0),
        (Decimal("9007199254740993.0"), 9007199254740993),
        (Decimal("0.9223372036854775807E+19"), 2**63 - 1),
        (Decimal("9223372036854775808.0"), MISFIT),
        (Decimal("1E+18"), 10**18),
        (Decimal("1E+19"), MISFIT),
        (HugeNumber("0e99999999999999999999"), 0),
        (HugeNumber("1e99999999999999999999"), MISFIT),
        (HugeNumber("1e-99999999999999999999"), MISFIT),
        (HugeNumber("5" + "0" * 5000 + "e-5000"), 5),
        (HugeNumber("1" + "0" * 400), MISFIT),
        (HugeNumber("1e+0000000000000000000000000003"), 1000),
        (True, MISFIT),
        ("12", MISFIT),
        ([], MISFIT),
    ],
)
def test_int64_takes_whole_numbers_in_range(value: Any, expected: Any) -> None:
    assert to_int64(value) is expected or to_int64(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (Decimal("0.1"), 0.1),
        (Decimal("1E-400"), 0.0),
        (Decimal("1E+400"), MISFIT),
        (Decimal("1.7976931348623157E+308"), 1.7976931348623157e308),
        (Decimal("1.7976931348623159E+308"), MISFIT),
        (10**400, MISFIT),
        (2**53 + 1, float(2**53)),
        (HugeNumber("1e99999999999999999999"), MISFIT),
        (HugeNumber("1e-99999999999999999999"), 0.0),
        (HugeNumber("0." + "3" * 5000), 1 / 3),
        (False, MISFIT),
        ("1.5", MISFIT),
    ],
)
def test_double_takes_numbers_that_are_finite(value: Any, expected: Any) -> None:
    assert to_double(value) is expected or to_double(value) == expected


def test_string_takes_strings_and_the_digits_of_integers() -> None:
    assert to_string("é") == "é"
    assert to_string(-12) == "-12"
    assert to_string(HugeNumber("9" * 5000)) == "9" * 5000
    misfits: list[Any] = [Decimal("1.0"), True, [], {}, HugeNumber("1e99999999999999999999")]
    for misfit in misfits:
        assert to_string(misfit) is MISFIT


def test_bool_takes_true_and_false_only() -> None:
    assert to_bool(True) is True
    for misfit in (0, 1, "true", "yes"):
        assert to_bool(misfit) is MISFIT


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2024-02-29T12:30:45Z", "2024-02-29T12:30:45+00:00"),
        ("2024-02-29t12:30:45z", "2024-02-29T12:30:45+00:00"),
        ("2024-02-29 12:30:45", "2024-02-29T12:30:45+00:00"),
        ("2024-02-29T12:30", "2024-02-29T12:30:00+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00+00:00"),
        ("2024-02-29T12:30:45.1Z", "2024-02-29T12:30:45.100000+00:00"),
        ("2024-02-29T12:30:45,123456789Z", "2024-02-29T12:30:45.123456+00:00"),
        ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999+00:00"),
        ("2024-02-29T12:30:45+05:30", "2024-02-29T07:00:45+00:00"),
        ("2024-02-29T12:30:45-0800", "2024-02-29T20:30:45+00:00"),
        ("2024-02-29T12:30:45+02", "2024-02-29T10:30:45+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_timestamp_takes_iso_8601(text: str, same_as: str) -> None:
    assert to_timestamp(text) == micros(same_as)


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "0000-01-01",
        "2024-02-29T24:00:00Z",
        "2024-02-29T12:60:00Z",
        "2024-02-29T12:30:60Z",
        "2024-02-29T12:30:45.",
        "2024-02-29T12:30:45.Z",
        "2024-02-29T",
        "2024-02-29Z",
        "20240229T123045Z",
        "2024-02-29T12:30:45+24:00",
        "2024-02-29T12:30:45+02:60",
        "2024-02-29T12:30:45+2",
        " 2024-02-29",
        "2024-02-29\n",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-00:01",
        "\uff12\uff10\uff12\uff14-02-29",
        "yesterday",
    ],
)
def test_timestamp_refuses_other_text(text: str) -> None:
    assert to_timestamp(text) is MISFIT


def test_timestamp_takes_an_empty_text_for_null() -> None:
    assert to_timestamp("") is None


@given(st.datetimes(timezones=st.timezones()))
def test_timestamp_agrees_with_the_standard_library(moment: datetime) -> None:
    """Any date-time that Python can write, Python and streamlic read alike."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        return
    assert to_timestamp(moment.isoformat()) == micros(utc.isoformat())


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_int64_agrees_with_exact_arithmetic(number: Decimal) -> None:
    is_whole = abs(number) < 10**30 and number == int(number)
    fits = is_whole and -(2**63) <= int(number) < 2**63
    assert to_int64(number) == int(number) if fits else to_int64(number) is MISFIT


def test_the_schemas_are_what_a_decoder_can_fill() -> None:
    check_schema(LICENSE_SCHEMA)
    check_schema(RAW_SCHEMA)
    check_schema(pa.schema([json_field("record", JSON_RECORD)]))
    check_schema(pa.schema([json_field("record", JSON_RECORD), pa.field("key", pa.string())]))


@pytest.mark.parametrize(
    "fields",
    [
        [pa.field("a", pa.int32()), json_field("_rescued", JSON_RESCUED)],
        [pa.field("a", pa.int64())],
        [pa.field("a", pa.list_(pa.int64())), json_field("_rescued", JSON_RESCUED)],
        [pa.field("a", pa.int64()), json_field("r", JSON_RECORD)],
        [pa.field("a", pa.int64(), nullable=False), json_field("_rescued", JSON_RESCUED)],
        [pa.field("a", pa.int64())] * 2 + [json_field("_rescued", JSON_RESCUED)],
        [
            pa.field("a", pa.struct([json_field("j", JSON_VALUE)])),
            json_field("_rescued", JSON_RESCUED),
        ],
        [
            pa.field("a", pa.list_(pa.struct([("x", pa.int64()), ("x", pa.string())]))),
            json_field("_rescued", JSON_RESCUED),
        ],
        [json_field("a", b"other"), json_field("_rescued", JSON_RESCUED)],
        [json_field("r", JSON_RECORD), json_field("s", JSON_RECORD)],
        [json_field("r", JSON_RECORD), pa.field("a", pa.string()), pa.field("b", pa.string())],
        [json_field("r", JSON_RECORD), json_field("j", JSON_VALUE)],
        [json_field("r", JSON_RECORD), json_field("_rescued", JSON_RESCUED)],
    ],
)
def test_other_schemas_are_refused(fields: list[Any]) -> None:
    with pytest.raises(UsageError):
        check_schema(pa.schema(fields))
