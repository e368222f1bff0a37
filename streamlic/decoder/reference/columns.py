"""Turns parsed records into Arrow columns, and lists the values that did not fit.

A value that does not fit becomes null; its place is listed. Types are slow to compare, so
everything that depends only on a column's type is decided once, when the decoder is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, islice, repeat
from operator import itemgetter
from typing import Any, Final, Protocol

import pyarrow as pa

from streamlic.decoder.reference.scalar_columns import NONE, Place, Source, scalar_column
from streamlic.schema.columns import JSON_VALUE, json_role

Row = tuple[Any, ...]
"""A record's values by column, None for missing ones, and the paths of its unknown fields."""

_MANY: Final = 10_000
_MISFITS: Final = "\ud800"
"""The key of an object's misfits among its members. Mended JSON text never has this key."""


class RecordColumns:
    """Builds the columns of a schema from parsed records, except JSON columns."""

    def __init__(self, schema: pa.Schema) -> None:
        fields = [field for field in schema if json_role(field) is None]
        json_columns = [field.name for field in schema if json_role(field) == JSON_VALUE]
        # A field with the name of the rescue column is an unknown field.
        self._members = _Members(fields, json_columns)

    def read(self, records: Iterable[Any]) -> list[Row]:
        """Return a row for each parsed record, whether it is an object or not."""
        return self._members.read(records)

    def build(self, rows: Sequence[Row], source: Source) -> tuple[dict[str, Any], list[Place]]:
        """Return the columns by name, and the places of what did not fit, in no order.

        A JSON column only shows which values are null. ``source`` has the records.
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
    return scalar_column(kind)


class _Members:
    """The members of objects that ``fields`` name, as columns; ``others`` are known, not columns.

    Of the others only whether they are null is kept: whole trees of values, held until the columns
    are built, would fill the processor's caches.
    """

    def __init__(self, fields: Iterable[pa.Field], others: Iterable[str] = ()) -> None:
        self._columns = {field.name: _column_of(field.type) for field in fields}
        self._others = tuple(others)
        self._blank: dict[str, Any] = dict.fromkeys((*self._columns, *self._others, _MISFITS))
        self._values_of = itemgetter(
            *self._blank, _MISFITS
        )  # Repeated, because itemgetter returns no tuple for one name.
        self._no_object = self._values_of(self._blank | {_MISFITS: ((),)})

    def read(self, objects: Iterable[Any]) -> list[Row]:
        """Return a row for each value, whether it is an object or not.

        Each object is read only here, just after it was parsed, while it is in the caches.
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


class _StructColumn:
    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._fields = list(kind)
        self._members = _Members(self._fields)

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        objects, misfits = _only(dict, values)
        if len(objects) > _MANY and objects.count(None) > len(objects) // 2:
            array, more = self._of_few(objects, source)
            return array, misfits + more
        is_null = None
        if None in objects:
            is_null = pa.array([one is None for one in objects], pa.bool_())
            objects = [{} if one is None else one for one in objects]
        columns, more = self._members.build(self._members.read(objects), source)
        children = [columns[field.name] for field in self._fields]
        array = pa.StructArray.from_arrays(children, fields=self._fields, mask=is_null)
        return array, misfits + more

    def _of_few(self, objects: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return a column of mostly nulls, without an object and a row for each null."""
        numbers = [number for number, one in enumerate(objects) if one is not None]
        few = [objects[number] for number in numbers]
        exactly = Source(
            lambda at: source.exactly(numbers[at]), has_huge=source.has_huge, most=source.most
        )
        array, misfits = self.build(few, exactly)
        places = pa.array(
            (None if one is None else at for one, at in _counted(objects)), pa.int32()
        )
        return array.take(places), [(numbers[at], path) for at, path in misfits]


class _ListColumn:
    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._elements = _column_of(kind.value_type)
        self._string_keys: frozenset[str] | None = None
        """The elements' fields, if they are structs of strings only."""
        if pa.types.is_struct(kind.value_type):
            fields = list(kind.value_type)
            if all(field.type == pa.string() for field in fields):
                self._string_keys = frozenset(field.name for field in fields)

    def build(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        """Return the values as a column, and the places of what did not fit."""
        is_plain = self._string_keys is not None and not source.has_huge
        usual = self._usual_structs(values, source.most) if is_plain else None
        return usual or self._any(values, source)

    def _usual_structs(
        self, values: Sequence[Any], most: int
    ) -> tuple[pa.Array, list[Place]] | None:
        """Return a column of lists of structs of strings, None if a value has another type."""
        if not {list, NONE}.issuperset(map(type, values)):
            return None
        objects = list(chain.from_iterable(filter(None, values)))
        if not {dict}.issuperset(map(type, objects)):
            return None
        try:  # Arrow accepts only strings as strings; a HugeNumber is a subclass of str.
            column = pa.array(values, self.kind)
        except TypeError:
            return None
        keys = set().union(*objects).difference(self._string_keys or ())
        places: list[Place] = []
        for number, one in enumerate(values if keys else ()):
            unknown = (
                (number, (index, key))
                for index, members in enumerate(one or ())
                if not keys.isdisjoint(members)
                for key in members
                if key in keys
            )
            places += islice(unknown, most + 1)
        return column, places

    def _any(self, values: Sequence[Any], source: Source) -> tuple[pa.Array, list[Place]]:
        lists, misfits = _only(list, values)
        is_null = None
        if None in lists:
            is_null = pa.array([one is None for one in lists], pa.bool_())
            lists = [one or () for one in lists]
        if any(len(one) > source.most for one in lists):
            lists, more = _without_many(lists, source.most)
            misfits += more
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


def _counted(objects: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    """Yield each object with the number of those before it that are not None."""
    before = 0
    for one in objects:
        yield one, before
        before += one is not None


def _without_many(
    lists: Sequence[Sequence[Any]], most: int
) -> tuple[list[Sequence[Any]], list[Place]]:
    """Return the lists; in one with too many misfits each element that is not an object is null.

    Also return enough places of such a list for its record to be rescued whole.
    """
    kept: list[Sequence[Any]] = []
    places: list[Place] = []
    for number, one in enumerate(lists):
        others = sum(type(element) not in (dict, NONE) for element in one)
        if others > most:
            kept.append([element if type(element) is dict else None for element in one])
            places += [(number, (index,)) for index in range(most + 1)]
        else:
            kept.append(one)
    return kept, places


def _only(kind: type, values: Sequence[Any]) -> tuple[Sequence[Any], list[Place]]:
    """Return the values with None for those of another type, and the places of the latter."""
    if {kind, NONE}.issuperset(map(type, values)):
        return values, []
    return (
        [value if type(value) is kind else None for value in values],
        [(number, ()) for number, value in enumerate(values) if type(value) not in (kind, NONE)],
    )
