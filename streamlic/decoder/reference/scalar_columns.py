"""Turns scalar values into Arrow columns, and lists those that did not fit.

Values of the usual Python type are converted in one call; any other is converted on its own by the
rules of ``schema``.

A number with a fraction or an exponent may arrive as a float, which is exact enough for a column of
doubles. An integer that is written this way may have lost digits, so it is read again.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import compress, count
from typing import Any, Final

import pyarrow as pa

from streamlic.decoder.scanner import PathStep
from streamlic.schema.values import MISFIT, SCALARS, TIMESTAMP

Place = tuple[int, tuple[PathStep, ...]]
"""A value's place: the number of its row in the batch, and the path within the record."""


class Source:
    """Where values come from.

    ``exactly`` reads the value at an index again, with its numbers as ints, Decimals and
    HugeNumbers. ``has_huge``: a HugeNumber may be among the values. At most ``most`` misfits of a
    record's list are listed, and one more, with which the record is rescued whole.
    """

    __slots__ = ("exactly", "has_huge", "most")

    def __init__(
        self, exactly: Callable[[int], Any], *, has_huge: bool, most: int = 1 << 20
    ) -> None:
        self.exactly = exactly
        self.has_huge = has_huge
        self.most = most

    def member(self, name: str) -> Source:
        """Return the source of a member of the values, which are objects."""
        return Source(
            lambda number: self.exactly(number)[name], has_huge=self.has_huge, most=self.most
        )

    def elements(self, ends: Sequence[int]) -> Source:
        """Return the source of the elements of the values, which are lists with these ends."""

        def exactly(element: int) -> Any:
            number = bisect_right(ends, element)
            return self.exactly(number)[
                element - ends[number]
            ]  # A negative index, from the list's end.

        return Source(exactly, has_huge=self.has_huge, most=self.most)


NONE: Final = type(None)
_USUAL_MOMENT: Final = (
    r"(?!000|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]++)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
"""A date-time that the standard library, if it accepts it, reads as ``schema`` does."""
_usual_lines = re.compile(rf"(?:{_USUAL_MOMENT}\n)*+").match


def scalar_column(kind: pa.DataType) -> ScalarColumn:
    """Return what builds columns of this type, which is one of ``SCALARS``."""
    if kind == TIMESTAMP:
        return _TimestampColumn(kind, {str})
    if kind == pa.float64():
        return _DoubleColumn(kind, {int, float, Decimal})
    if kind == pa.int64():
        return _IntegerColumn(kind, {int})
    return _WillingColumn(kind, {str if kind == pa.string() else bool})


def _numbers_of(kinds: Iterable[type], types: list[type]) -> list[int]:
    """Return the numbers of the values that are of these kinds, in no order."""
    numbers: list[int] = []
    for kind in kinds:
        number = -1
        for _ in range(types.count(kind)):
            number = types.index(kind, number + 1)
            numbers.append(number)
    return numbers


class ScalarColumn:
    """A column whose ``usual`` types Arrow converts itself."""

    def __init__(self, kind: pa.DataType, usual: set[type]) -> None:
        self.kind = kind
        self._usual = frozenset({*usual, NONE})
        self._convert = SCALARS[kind]

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        types = list(map(type, values))
        kinds = set(types)
        if kinds <= {NONE}:
            return pa.nulls(len(values), self.kind), []
        unusual = _numbers_of(kinds - self._usual, types)
        converted, misfits = self._converted(values, unusual, source)
        try:
            return self._array(converted), misfits
        except (OverflowError, ValueError):  # A value is out of range; the rules find it.
            return self._by_rule(values, source)

    def _by_rule(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values, each converted by the rules, which is slow."""
        filled = [number for number, value in enumerate(values) if value is not None]
        converted, misfits = self._converted(values, filled, source)
        return pa.array(converted, self.kind), misfits

    def _array(self, values: Sequence[Any]) -> pa.Array:
        """Return usual and converted values as an array; ValueError if one is out of range."""
        return pa.array(values, self.kind)

    def _converted(
        self, values: Sequence[Any], numbers: Collection[int], source: Source
    ) -> tuple[Sequence[Any], list[Place]]:
        """Convert the values of these numbers by the rules; return all values, and the misfits."""
        if not numbers:
            return values, []
        converted = list(values)
        misfits: list[Place] = []
        for number in numbers:
            fitted = self._fitted(values[number], number, source)
            if fitted is MISFIT:
                misfits.append((number, ()))
                fitted = None
            converted[number] = fitted
        return converted, misfits

    def _fitted(self, value: Any, number: int, source: Source) -> Any:  # noqa: ARG002
        """Convert a value by the rule. A float never fits, whatever its digits."""
        return self._convert(value)


class _WillingColumn(ScalarColumn):
    """A column of a type for which Arrow itself refuses all other values."""

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        if not source.has_huge:  # To Arrow it is a string.
            try:
                return pa.array(values, self.kind), []
            except (TypeError, ValueError):
                pass
        return super().build(values, source)


class _IntegerColumn(ScalarColumn):
    def _fitted(self, value: Any, number: int, source: Source) -> Any:
        if type(value) is not float:
            return self._convert(value)
        # A float with a fraction is not an integer; one without a fraction may have lost digits.
        return self._convert(source.exactly(number)) if value.is_integer() else MISFIT


class _DoubleColumn(ScalarColumn):
    def _array(self, values: Sequence[Any]) -> pa.Array:
        try:
            return pa.array(values, self.kind)
        except (
            OverflowError,
            ValueError,
        ):  # A Decimal, or an integer beyond the range of a double.
            pass
        doubles = [None if value is None else float(value) for value in values]
        if math.inf in doubles or -math.inf in doubles:
            raise ValueError("beyond double")
        return pa.array(doubles, self.kind)


class _TimestampColumn(ScalarColumn):
    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        texts = list(filter(None, values))
        is_text = len(texts) + values.count(None) == len(values)
        if not is_text or not {str}.issuperset(map(type, texts)):
            return self._without_others(values, source)
        if not texts:
            return pa.nulls(len(values), self.kind), []
        lines = "\n".join([*texts, ""])
        if lines.count("\n") > len(texts):
            return self._by_rule(values, source)
        converted = values
        misfits: list[Place] = []
        odd = _odd_moments(lines)
        if odd:
            numbers = list(compress(count(), map(odd.__contains__, values)))
            converted, misfits = self._converted(values, numbers, source)
            lines = "\n".join([*[value for value in converted if type(value) is str], ""])
        following = _moments(lines)
        try:
            moments = [next(following) if type(value) is str else value for value in converted]
            return pa.array(moments, self.kind), misfits
        except (OverflowError, ValueError):  # A day that does not exist; the rules find it.
            return self._by_rule(values, source)

    def _without_others(
        self, values: Sequence[Any], source: Source
    ) -> tuple[pa.Array, list[Place]]:
        """Build the column without the values that are not strings, and without empty ones."""
        texts = [value if type(value) is str and value else None for value in values]
        array, misfits = self.build(texts, source)
        pairs = enumerate(zip(values, texts, strict=True))
        others = [number for number, (value, text) in pairs if text is not value and value != ""]
        misfits += [(number, ()) for number in others]
        return array, misfits


def _odd_moments(lines: str) -> set[str]:
    """Return the lines, each with its line feed, that are not usual date-times."""
    odd: set[str] = set()
    at = 0
    while (at := _usual_lines(lines, at).end()) < len(lines):  # type: ignore[union-attr]
        end = lines.index("\n", at)
        odd.add(lines[at:end])
        at = end + 1
    return odd


def _moments(lines: str) -> Iterator[datetime]:
    """Read usual date-times. Without an offset Arrow takes them as UTC, which is much faster."""
    return map(datetime.fromisoformat, lines.replace("Z\n", "\n").split("\n")[:-1])
