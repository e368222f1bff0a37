"""Parsed records to Arrow columns, and which of their values did not fit.

Values of the usual Python type are built at once; any other is converted on its own with the rules
of ``schema``. What does not fit is null, and listed by its place. All that can be said of a column
before there are values (types are slow to compare) is said once, when the decoder is made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import accumulate, chain, repeat
from operator import itemgetter
from typing import Any, Final, Protocol

import pyarrow as pa

from streamlic.decoder.strict import PathStep
from streamlic.schema import JSON_VALUE, MISFIT, SCALARS, TIMESTAMP, json_role

Place = tuple[int, tuple[PathStep, ...]]
"""A value's place: the number of its row in the batch, and the path within the record."""

Row = tuple[Any, ...]
"""A record's values by column, None for what it has not, and the paths of what it has beside."""

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

    def build(
        self, rows: Sequence[Row], *, has_huge: bool = False
    ) -> tuple[dict[str, Any], list[Place]]:
        """Return the columns by name, and the places of what did not fit, in no order.

        Of a JSON column that is the values as they were parsed. ``has_huge`` says that a HugeNumber
        may be among the values.
        """
        return self._members.build(rows, has_huge=has_huge)


class _Column(Protocol):
    kind: pa.DataType

    def build(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""


def _column_of(kind: pa.DataType) -> _Column:
    if pa.types.is_list(kind):
        return _ListColumn(kind)
    if pa.types.is_struct(kind):
        return _StructColumn(kind)
    if kind == TIMESTAMP:
        return _TimestampColumn(kind, {str})
    if kind == pa.float64():
        return _DoubleColumn(kind, {int, Decimal})
    if kind == pa.string():
        return _StringColumn(kind, {str})
    return _ScalarColumn(kind, {int if kind == pa.int64() else bool})


class _Members:
    """The members of objects that ``fields`` name, as columns; ``others`` are known, but none."""

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
                rows.append(values_of(members))
            else:
                rows.append(self._no_object)
        return rows

    def build(self, rows: Sequence[Row], *, has_huge: bool) -> tuple[dict[str, Any], list[Place]]:
        """Return the members as columns by name, and the places of what did not fit."""
        by_name = zip(self._blank, zip(*rows, strict=True) if rows else repeat(()), strict=False)
        values = dict(by_name)
        places = _places(values.pop(_MISFITS))
        columns: dict[str, Any] = {name: values[name] for name in self._others}
        for name, column in self._columns.items():
            columns[name], misfits = column.build(values[name], has_huge=has_huge)
            if misfits:
                places += [(number, (name, *path)) for number, path in misfits]
        return columns, places


def _places(misfits: Sequence[Any]) -> list[Place]:
    if misfits.count(None) == len(misfits):
        return []
    return [(number, path) for number, paths in enumerate(misfits) for path in paths or ()]


class _ScalarColumn:
    """Values of which Arrow takes the ``usual`` ones as they are."""

    def __init__(self, kind: pa.DataType, usual: set[type]) -> None:
        self.kind = kind
        self._usual = frozenset({*usual, _NONE})
        self._convert = SCALARS[kind]

    def build(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:  # noqa: ARG002
        """Return the values as a column, and the places of what did not fit."""
        if values.count(None) == len(values):
            return pa.nulls(len(values), self.kind), []
        converted, misfits = self._converted(values, self._unusual(values))
        try:
            return self._array(converted), misfits
        except (OverflowError, ValueError):  # One value is out of range: the rules find which.
            filled = [number for number, value in enumerate(values) if value is not None]
            converted, misfits = self._converted(values, filled)
            return pa.array(converted, self.kind), misfits

    def _unusual(self, values: Sequence[Any]) -> list[int]:
        """Return the numbers of the values that have to be converted one by one."""
        usual = self._usual
        if usual.issuperset(map(type, values)):
            return []
        return [number for number, value in enumerate(values) if type(value) not in usual]

    def _array(self, values: Sequence[Any]) -> pa.Array:
        """Return usual and converted values as an array; ValueError if one is out of range."""
        return pa.array(values, self.kind)

    def _converted(
        self, values: Sequence[Any], numbers: Collection[int]
    ) -> tuple[Sequence[Any], list[Place]]:
        """Convert the values of these numbers by the rules; return all values, and the misfits."""
        if not numbers:
            return values, []
        convert = self._convert
        converted = list(values)
        misfits: list[Place] = []
        for number in numbers:
            fitted = convert(values[number])
            if fitted is MISFIT:
                misfits.append((number, ()))
                fitted = None
            converted[number] = fitted
        return converted, misfits


class _StringColumn(_ScalarColumn):
    def build(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        if not has_huge:
            try:  # Arrow takes nothing else for a string, but that a HugeNumber is one to it.
                return pa.array(values, self.kind), []
            except TypeError:
                pass
        return super().build(values, has_huge=has_huge)


class _DoubleColumn(_ScalarColumn):
    def _array(self, values: Sequence[Any]) -> pa.Array:
        doubles = [None if value is None else float(value) for value in values]
        if math.inf in doubles or -math.inf in doubles:
            raise ValueError("beyond double")
        return pa.array(doubles, self.kind)


class _TimestampColumn(_ScalarColumn):
    def _unusual(self, values: Sequence[Any]) -> list[int]:
        unusual = super()._unusual(values)
        texts = [value if type(value) is str else None for value in values] if unusual else values
        odd = _odd_moments("\n".join([*filter(None, texts), ""]))
        if odd or "" in texts:
            odd.add("")
            unusual += [number for number, text in enumerate(texts) if text in odd]
        return unusual

    def _array(self, values: Sequence[Any]) -> pa.Array:
        read = datetime.fromisoformat
        moments = [read(value) if type(value) is str else value for value in values]
        return pa.array(moments, self.kind)


def _odd_moments(lines: str) -> set[str]:
    """Return the lines, each with its end, that are no usual date-times."""
    odd: set[str] = set()
    at = 0
    while (at := _usual_lines(lines, at).end()) < len(lines):  # type: ignore[union-attr]
        end = lines.index("\n", at)
        odd.add(lines[at:end])
        at = end + 1
    return odd


class _StructColumn:
    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._fields = list(kind)
        self._members = _Members(self._fields)

    def build(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        objects, misfits = _only(dict, values)
        is_null = None
        if None in objects:
            is_null = pa.array([one is None for one in objects], pa.bool_())
            objects = [{} if one is None else one for one in objects]
        columns, more = self._members.build(self._members.read(objects), has_huge=has_huge)
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

    def build(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        usual = None if has_huge or self._string_keys is None else self._usual_structs(values)
        return usual or self._any(values, has_huge=has_huge)

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
                for key in members
                if key in keys
            ]
        return column, places

    def _any(self, values: Sequence[Any], *, has_huge: bool) -> tuple[pa.Array, list[Place]]:
        lists, misfits = _only(list, values)
        is_null = None
        if None in lists:
            is_null = pa.array([one is None for one in lists], pa.bool_())
            lists = [one or () for one in lists]
        inner = list(chain.from_iterable(lists))
        child, child_misfits = self._elements.build(inner, has_huge=has_huge)
        offsets = pa.array(accumulate(map(len, lists), initial=0), pa.int32())
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
