"""The conversion of each JSON value to a column's value.

Rules:
1. Every column is nullable and always present. JSON ``null`` and a missing key are both null.
2. A value that does not fit its column becomes null and is kept in ``_rescued``, under its pointer.
3. A conversion here returns the column's value, or ``MISFIT``; it never raises for bad data.
4. A JSON number arrives as an int, a Decimal, or, if neither can hold it, as ``HugeNumber``; for a
   double also as the nearest float.

JSON columns are strings that hold the original JSON text, white space and digits included: Spark's
Arrow conversion refuses Arrow's own JSON type, and polars treats it as an opaque extension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")


class _Misfit:
    """The type of MISFIT."""

    def __repr__(self) -> str:
        return "MISFIT"


MISFIT: Final = _Misfit()
"""The result of a conversion for a value that its column cannot hold."""


class HugeNumber(str):
    """The text of a JSON number that an int or a Decimal cannot hold, or only at a high cost."""

    __slots__ = ()


def to_string(value: Any) -> Any:
    """Take strings unchanged, and JSON integers as their digits (``-0`` is ``0``)."""
    kind = type(value)
    if kind is str:
        return value
    if kind is int:
        return str(value)
    if kind is HugeNumber and value.lstrip("-").isdigit():
        return str(value)
    return MISFIT


def to_int64(value: Any) -> Any:
    """Take integers in range, and whole numbers (``12.0``, ``1e3``)."""
    kind = type(value)
    if kind is HugeNumber:
        value = _whole(value)
    elif kind is Decimal:
        value = _whole(str(value))
    elif kind is not int:
        return MISFIT
    return value if value is not None and -(2**63) <= value < 2**63 else MISFIT


def to_double(value: Any) -> Any:
    """Take every number that is finite as a double, rounded to nearest, ties to even (IEEE 754)."""
    kind = type(value)
    try:
        number = float(value) if kind in (int, float, Decimal, HugeNumber) else math.inf
    except OverflowError:
        return MISFIT
    return number if math.isfinite(number) else MISFIT


def to_bool(value: Any) -> Any:
    """Take ``true`` and ``false`` only."""
    return value if type(value) is bool else MISFIT


_ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?([Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
_MIN_US = (date.min.toordinal() - _EPOCH_DAY) * _DAY_US
_MAX_US = (date.max.toordinal() - _EPOCH_DAY + 1) * _DAY_US - 1


def to_timestamp(value: Any) -> Any:
    """Return microseconds since 1970-01-01T00:00Z of an ISO 8601 date-time in extended format.

    ``T``, ``t`` or a space; seconds may be absent; a fraction of any length is truncated to
    microseconds; ``Z``, an offset (``+02``, ``+0200``, ``+02:00``) or none, which is UTC; a date
    alone is midnight UTC. Years 1 to 9999, after the offset too. No leap second, no hour 24. An
    empty text is null.
    """
    if value == "":
        return None
    match = _ISO_8601.fullmatch(value) if type(value) is str else None
    if match is None:
        return MISFIT
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return MISFIT
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    offset = _offset_minutes(zone)
    if hours > 23 or minutes > 59 or seconds > 59 or offset is None:
        return MISFIT
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    moment = (
        days * _DAY_US + (hours * 3600 + (minutes - offset) * 60 + seconds) * 1_000_000 + micros
    )
    return moment if _MIN_US <= moment <= _MAX_US else MISFIT


def _offset_minutes(zone: str | None) -> int | None:
    if zone is None or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def _whole(text: str) -> int | None:
    """Return the integer that a JSON number's text denotes; None beyond int64 or if not whole.

    It only counts digits, so a long exponent costs nothing.
    """
    mantissa, _, exponent_text = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    if len(exponent_text) > 20 and exponent_text.lstrip("+-").lstrip("0")[18:]:
        return None  # Not whole or out of range, unless the digits fill exabytes as well.
    zeros = len(digits) - len(significant) + int(exponent_text or 0) - len(fraction)
    if zeros < 0 or len(significant) + zeros > 19:
        return None
    number = int(significant + "0" * zeros)
    return -number if text.startswith("-") else number


SCALARS: Final[dict[pa.DataType, Callable[[Any], Any]]] = {
    pa.string(): to_string,
    pa.int64(): to_int64,
    pa.float64(): to_double,
    pa.bool_(): to_bool,
    TIMESTAMP: to_timestamp,
}
"""For each column type the conversion of a JSON value."""
