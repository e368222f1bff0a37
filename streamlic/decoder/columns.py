"""Parsed records to Arrow columns, and which of their values did not fit.

Values of the usual Python type are built at once; any other is converted on its own with the rules
of ``schema``. What does not fit is null, and listed by its place. All that can be said of a column
before there are values (types are slow to compare) is said once, when the decoder is made.

A number that has a fraction or an exponent may come as a float, which is all that a column of
doubles makes of it. An integer that is written so may have lost digits: it is read again.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import accumulate, chain, compress, count, repeat
from operator import itemgetter
from typing import Any, Final, Protocol

import pyarrow as pa

from streamlic.decoder.strict import PathStep
from streamlic.schema import JSON_VALUE, MISFIT, SCALARS, TIMESTAMP, json_role

Place = tuple[int, tuple[PathStep, ...]]
"""A value's place: the number of its row in the batch, and the path within the record."""

Row = tuple[Any, ...]
"""A record's values by column, None for what it has not, and the paths of what it has beside."""


class Source:
    """Where values come from, and what may be asked there beside them.

    ``exactly`` reads the value of a number again, with its numbers as ints, Decimals and
    HugeNumbers. ``has_huge`` says that a HugeNumber may be among the values already.
    """

    __slots__ = ("exactly", "has_huge")

    def __init__(self, exactly: Callable[[int], Any], *, has_huge: bool) -> None:
        self.exactly = exactly
        self.has_huge = has_huge

    def member(self, name: str) -> Source:
        """Return the source of a member of the values, which are objects."""
        return Source(lambda number: self.exactly(number)[name], has_huge=self.has_huge)

    def elements(self, ends: Sequence[int]) -> Source:
        """Return the source of the elements of the values, which are lists with these ends."""

        def exactly(element: int) -> Any:
            number = bisect_right(ends, element)
            return self.exactly(number)[element - ends[number]]  # Counted from the list's end.

        return Source(exactly, has_huge=self.has_huge)


_NONE: Final = type(None)
_MISFITS: Final = "\ud800"
"""Among an object's members, what did not fit: no JSON text has such a key by now."""
_USUAL_MOMENT: Final = (
    r"(?!000|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]++)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
"""A date-time which the standard library, if it takes it at all, reads as ``schema`` does."""
_usual_lines = re.compile(rf"(?:{_USUAL_MOMENT}\n)*+").match


class RecordColumns:
    """Builds the columns of a schema from parsed records. JSON columns are left to the caller."""

    def __init__(self, schema: pa.Schema) -> None:
        fields = [field for field in schema if json_role(field) is None]
        json_columns = [field.name for field in schema if json_role(field) == JSON_VALUE]
        # A field of a record that is named like the column of what is rescued is unknown, too.
        self._members = _Members(fields, json_columns)

    def read(self, records: Iterable[Any]) -> list[Row]:
        """Return a row for each parsed record, which need not be an object."""
        return self._members.read(records)

    def build(self, rows: Sequence[Row], source: Source) -> tuple[dict[str, Any], list[Place]]:
        """Return the columns by name, and the places of what did not fit, in no order.

        Of a JSON column that is no more than which values are null. ``source`` has the records.
        """
        return self._members.build(rows, source)


class _Column(Protocol):
    kind: pa.DataType

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""


def _column_of(kind: pa.DataType) -> _Column:
    if pa.types.is_list(kind):
        return _ListColumn(kind)
    if pa.types.is_struct(kind):
        return _StructColumn(kind)
    if kind == TIMESTAMP:
        return _TimestampColumn(kind, {str})
    if kind == pa.float64():
        return _DoubleColumn(kind, {int, float, Decimal})
    if kind == pa.int64():
        return _IntegerColumn(kind, {int})
    return _WillingColumn(kind, {str if kind == pa.string() else bool})


class _Members:
    """The members of objects that ``fields`` name, as columns; ``others`` are known, but none.

    Of these only is kept whether they are null: to hold whole trees of values until the columns
    are built would drive all else out of the processor's caches.
    """

    def __init__(self, fields: Iterable[pa.Field], others: Iterable[str] = ()) -> None:
        self._columns = {field.name: _column_of(field.type) for field in fields}
        self._others = tuple(others)
        self._blank: dict[str, Any] = dict.fromkeys((*self._columns, *self._others, _MISFITS))
        self._values_of = itemgetter(*self._blank, _MISFITS)  # Of one alone, it makes no row.
        self._no_object = self._values_of(self._blank | {_MISFITS: ((),)})

    def read(self, objects: Iterable[Any]) -> list[Row]:
        """Return a row for each object, and for what is none.

        Objects that are only now parsed are at hand: here each is looked at for the only time.
        """
        blank, width, values_of = self._blank, len(self._blank), self._values_of
        rows: list[Row] = []
        for one in objects:
            if type(one) is dict:
                members = blank | one
                if len(members) > width:
                    members[_MISFITS] = [(key,) for key in one if key not in blank]
                for name in self._others:
                    if members[name] is not None:
                        members[name] = True
                rows.append(values_of(members))
            else:
                rows.append(self._no_object)
        return rows

    def build(self, rows: Sequence[Row], source: Source) -> tuple[dict[str, Any], list[Place]]:
        """Return the members as columns by name, and the places of what did not fit."""
        by_name = zip(self._blank, zip(*rows, strict=True) if rows else repeat(()), strict=False)
        values = dict(by_name)
        places = _places(values.pop(_MISFITS))
        columns: dict[str, Any] = {name: values[name] for name in self._others}
        for name, column in self._columns.items():
            columns[name], misfits = column.build(values[name], source.member(name))
            if misfits:
                places += [(number, (name, *path)) for number, path in misfits]
        return columns, places


def _places(misfits: Sequence[Any]) -> list[Place]:
    some = compress(enumerate(misfits), misfits)
    return [(number, path) for number, paths in some for path in paths]


def _numbers_of(kinds: Iterable[type], types: list[type]) -> list[int]:
    """Return the numbers of the values that are of these kinds, in no order."""
    numbers: list[int] = []
    for kind in kinds:
        number = -1
        for _ in range(types.count(kind)):
            number = types.index(kind, number + 1)
            numbers.append(number)
    return numbers


class _ScalarColumn:
    """Values of which Arrow takes the ``usual`` ones as they are."""

    def __init__(self, kind: pa.DataType, usual: set[type]) -> None:
        self.kind = kind
        self._usual = frozenset({*usual, _NONE})
        self._convert = SCALARS[kind]

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        types = list(map(type, values))
        kinds = set(types)
        if kinds <= {_NONE}:
            return pa.nulls(len(values), self.kind), []
        unusual = _numbers_of(kinds - self._usual, types)
        converted, misfits = self._converted(values, unusual, source)
        try:
            return self._array(converted), misfits
        except (OverflowError, ValueError):  # One value is out of range: the rules find which.
            return self._by_rule(values, source)

    def _by_rule(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return what the rules make of each value, at whatever cost."""
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
        """Return what the rule makes of a value. A float never fits, whatever its digits."""
        return self._convert(value)


class _WillingColumn(_ScalarColumn):
    """Values of which Arrow itself refuses those of any other type."""

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        if not source.has_huge:  # To Arrow it is a string.
            try:
                return pa.array(values, self.kind), []
            except (TypeError, ValueError):
                pass
        return super().build(values, source)


class _IntegerColumn(_ScalarColumn):
    def _fitted(self, value: Any, number: int, source: Source) -> Any:
        if type(value) is not float:
            return self._convert(value)
        # A float with a fraction was no integer; one without may have been no integer, either.
        return self._convert(source.exactly(number)) if value.is_integer() else MISFIT


class _DoubleColumn(_ScalarColumn):
    def _array(self, values: Sequence[Any]) -> pa.Array:
        try:
            return pa.array(values, self.kind)
        except (OverflowError, ValueError):  # A Decimal, or an integer that is no double.
            pass
        doubles = [None if value is None else float(value) for value in values]
        if math.inf in doubles or -math.inf in doubles:
            raise ValueError("beyond double")
        return pa.array(doubles, self.kind)


class _TimestampColumn(_ScalarColumn):
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
        except (OverflowError, ValueError):  # No such day: the rules find which.
            return self._by_rule(values, source)

    def _without_others(
        self, values: Sequence[Any], source: Source
    ) -> tuple[pa.Array, list[Place]]:
        """Build the column without the values that are no texts, or empty: none of them fits."""
        texts = [value if type(value) is str and value else None for value in values]
        array, misfits = self.build(texts, source)
        pairs = enumerate(zip(values, texts, strict=True))
        misfits += [(number, ()) for number, (value, text) in pairs if text is not value]
        return array, misfits


def _odd_moments(lines: str) -> set[str]:
    """Return the lines, each with its end, that are no usual date-times."""
    odd: set[str] = set()
    at = 0
    while (at := _usual_lines(lines, at).end()) < len(lines):  # type: ignore[union-attr]
        end = lines.index("\n", at)
        odd.add(lines[at:end])
        at = end + 1
    return odd


def _moments(lines: str) -> Iterator[datetime]:
    """Read usual date-times. To Arrow, one without an offset is in UTC, and much less work."""
    return map(datetime.fromisoformat, lines.replace("Z\n", "\n").split("\n")[:-1])


class _StructColumn:
    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._fields = list(kind)
        self._members = _Members(self._fields)

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        objects, misfits = _only(dict, values)
        is_null = None
        if None in objects:
            is_null = pa.array([one is None for one in objects], pa.bool_())
            objects = [{} if one is None else one for one in objects]
        columns, more = self._members.build(self._members.read(objects), source)
        children = [columns[field.name] for field in self._fields]
        array = pa.StructArray.from_arrays(children, fields=self._fields, mask=is_null)
        return array, misfits + more


class _ListColumn:
    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._elements = _column_of(kind.value_type)
        self._string_keys: frozenset[str] | None = None
        """The elements' fields, where these are structs of nothing but strings."""
        if pa.types.is_struct(kind.value_type):
            fields = list(kind.value_type)
            if all(field.type == pa.string() for field in fields):
                self._string_keys = frozenset(field.name for field in fields)

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        is_plain = self._string_keys is not None and not source.has_huge
        usual = self._usual_structs(values) if is_plain else None
        return usual or self._any(values, source)

    def _usual_structs(self, values: Sequence[Any]) -> tuple[pa.Array, list[Place]] | None:
        """Return a column of lists of structs of strings, if all is of these types; else None."""
        if not {list, _NONE}.issuperset(map(type, values)):
            return None
        objects = list(chain.from_iterable(filter(None, values)))
        if not {dict}.issuperset(map(type, objects)):
            return None
        try:  # Arrow takes nothing else for a string, but that a HugeNumber is one to it.
            column = pa.array(values, self.kind)
        except TypeError:
            return None
        keys = set().union(*objects).difference(self._string_keys or ())
        places: list[Place] = []
        if keys:
            places = [
                (number, (index, key))
                for number, one in enumerate(values)
                if one
                for index, members in enumerate(one)
                if not keys.isdisjoint(members)
                for key in members
                if key in keys
            ]
        return column, places

    def _any(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        lists, misfits = _only(list, values)
        is_null = None
        if None in lists:
            is_null = pa.array([one is None for one in lists], pa.bool_())
            lists = [one or () for one in lists]
        inner = list(chain.from_iterable(lists))
        ends = list(accumulate(map(len, lists)))
        child, child_misfits = self._elements.build(inner, source.elements(ends))
        offsets = pa.array([0, *ends], pa.int32())
        if child_misfits:
            owners = [(number, at) for number, one in enumerate(lists) for at in range(len(one))]
            for element, path in child_misfits:
                number, index = owners[element]
                misfits.append((number, (index, *path)))
        return pa.ListArray.from_arrays(offsets, child, type=self.kind, mask=is_null), misfits


def _only(kind: type, values: Sequence[Any]) -> tuple[Sequence[Any], list[Place]]:
    """Return the values with None for those of another type, and the places of the latter."""
    if {kind, _NONE}.issuperset(map(type, values)):
        return values, []
    return (
        [value if type(value) is kind else None for value in values],
        [(number, ()) for number, value in enumerate(values) if type(value) not in (kind, _NONE)],
    )
