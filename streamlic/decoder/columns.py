"""Parsed records to Arrow columns, and which of their values did not fit.

A column whose values all have the usual Python type is built at once; any other is converted value
by value with the rules of ``schema``. What does not fit is null, and listed by its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, Final

import pyarrow as pa

from streamlic.decoder.strict import PathStep
from streamlic.schema import JSON_RESCUED, MISFIT, SCALARS, TIMESTAMP, json_role

Place = tuple[int, tuple[PathStep, ...]]
"""A value's place: the number of its row in the batch, and the path within the record."""

_NONE: Final = type(None)
_NO_NAME: Final = object()
"""A key that no record has: itemgetter gives a tuple only where it is asked for two."""
_USUAL: Final[dict[pa.DataType, frozenset[type]]] = {
    pa.string(): frozenset({str, _NONE}),
    pa.int64(): frozenset({int, _NONE}),
    pa.bool_(): frozenset({bool, _NONE}),
}
_USUAL_MOMENTS = re.compile(
    r"(?:(?!000|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]++)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?(?:\n|\Z))*+"
)
"""Date-times, one a line, which the standard library reads as ``schema`` does."""


class RecordColumns:
    """Builds the columns of a schema from parsed records. JSON columns are left to the caller."""

    def __init__(self, schema: pa.Schema) -> None:
        self._fields = [field for field in schema if json_role(field) is None]
        # A field of a record that is named like the column of what is rescued is unknown, too.
        names = [field.name for field in schema if json_role(field) != JSON_RESCUED]
        self._known = frozenset(names)
        self._nothing: dict[Any, Any] = dict.fromkeys([*names, _NO_NAME])
        names = [field.name for field in self._fields]
        self._values_of = itemgetter(*names, _NO_NAME, _NO_NAME)

    def build(self, rows: list[Any]) -> tuple[dict[str, pa.Array], list[Place]]:
        """Return the columns by name, and the places of what did not fit, in no order."""
        if set(map(type, rows)) <= {dict}:
            places: list[Place] = []
            objects = rows
        else:
            places = [(number, ()) for number, row in enumerate(rows) if type(row) is not dict]
            objects = [row if type(row) is dict else {} for row in rows]
        nothing = self._nothing
        whole = [nothing | row for row in objects]
        if max(map(len, whole), default=0) > len(nothing):
            places.extend(_unknown(objects, self._known))
        columns = {}
        by_column = list(zip(*map(self._values_of, whole), strict=True)) or [()] * len(nothing)
        for field, values in zip(self._fields, by_column, strict=False):
            columns[field.name], misfits = _column(field.type, values)
            places.extend((number, (field.name, *path)) for number, path in misfits)
        return columns, places


def _unknown(objects: Iterable[dict[str, Any] | None], known: frozenset[str]) -> list[Place]:
    return [
        (number, (key,))
        for number, one in enumerate(objects)
        if one and not known.issuperset(one)
        for key in one
        if key not in known
    ]


def _column(kind: pa.DataType, values: Sequence[Any]) -> tuple[pa.Array, list[Place]]:
    if pa.types.is_list(kind):
        return _list_column(kind, values)
    if pa.types.is_struct(kind):
        return _struct_column(kind, values)
    return _scalar_column(kind, values)


def _scalar_column(kind: pa.DataType, values: Sequence[Any]) -> tuple[pa.Array, list[Place]]:
    if values.count(None) == len(values):
        return pa.nulls(len(values), kind), []
    if kind == TIMESTAMP:
        moments = _usual_moments(values)
        if moments is not None:
            return pa.array(moments, kind), []
    if kind in _USUAL and _USUAL[kind].issuperset(map(type, values)):
        try:
            return pa.array(values, kind), []
        except OverflowError:  # An integer beyond int64; the loop below finds which.
            pass
    convert = SCALARS[kind]
    misfits: list[Place] = []
    converted = []
    for number, value in enumerate(values):
        fitted = None if value is None else convert(value)
        if fitted is MISFIT:
            misfits.append((number, ()))
            fitted = None
        converted.append(fitted)
    return pa.array(converted, kind), misfits


def _usual_moments(values: Sequence[Any]) -> list[datetime | None] | None:
    """Return date-times of the usual form, read by the standard library; None for any other."""
    texts = [text for text in values if text is not None]
    if not {str}.issuperset(map(type, texts)) or not _USUAL_MOMENTS.fullmatch("\n".join(texts)):
        return None
    try:
        moments = [None if text is None else datetime.fromisoformat(text) for text in values]
    except ValueError:  # The thirtieth of February, say; ``schema`` finds which.
        return None
    return moments


def _struct_column(kind: pa.DataType, values: Sequence[Any]) -> tuple[pa.Array, list[Place]]:
    objects, misfits = _only(dict, values)
    misfits.extend(_unknown(objects, frozenset(field.name for field in kind)))
    is_null = None
    if None in objects:
        is_null = pa.array([one is None for one in objects], pa.bool_())
        objects = [{} if one is None else one for one in objects]
    children = []
    for field in kind:
        name = field.name
        child, child_misfits = _column(field.type, [one.get(name) for one in objects])
        children.append(child)
        misfits.extend((number, (name, *path)) for number, path in child_misfits)
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=is_null), misfits


def _list_column(kind: pa.DataType, values: Sequence[Any]) -> tuple[pa.Array, list[Place]]:
    lists, misfits = _only(list, values)
    is_null = None
    if None in lists:
        is_null = pa.array([one is None for one in lists], pa.bool_())
        lists = [one or () for one in lists]
    child, child_misfits = _column(kind.value_type, list(chain.from_iterable(lists)))
    offsets = list(accumulate(map(len, lists), initial=0))
    if child_misfits:
        owners = [(number, index) for number, one in enumerate(lists) for index in range(len(one))]
        for element, path in child_misfits:
            number, index = owners[element]
            misfits.append((number, (index, *path)))
    array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), child, type=kind, mask=is_null)
    return array, misfits


def _only(kind: type, values: Sequence[Any]) -> tuple[Sequence[Any], list[Place]]:
    """Return the values with None for those of another type, and the places of the latter."""
    if {kind, _NONE}.issuperset(map(type, values)):
        return values, []
    return (
        [value if type(value) is kind else None for value in values],
        [(number, ()) for number, value in enumerate(values) if type(value) not in (kind, _NONE)],
    )
