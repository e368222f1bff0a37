"""Parsed records to Arrow columns, and which of their values did not fit.

Values of the usual Python type are built at once; any other is converted on its own with the rules
of ``schema``. What does not fit is null, and listed by its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, chain, repeat
from typing import Any, Final

import pyarrow as pa

from streamlic.decoder.strict import PathStep
from streamlic.schema import JSON_RESCUED, MISFIT, SCALARS, TIMESTAMP, json_role

Place = tuple[int, tuple[PathStep, ...]]
"""A value's place: the number of its row in the batch, and the path within the record."""

_NONE: Final = type(None)
_USUAL: Final[dict[pa.DataType, frozenset[type]]] = {
    pa.string(): frozenset({str, _NONE}),
    pa.int64(): frozenset({int, _NONE}),
    pa.float64(): frozenset({int, Decimal, _NONE}),
    pa.bool_(): frozenset({bool, _NONE}),
    TIMESTAMP: frozenset({str, _NONE}),
}
_FEW_KEYS: Final = 8
_USUAL_MOMENT: Final = (
    r"(?!000|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]++)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
"""A date-time which the standard library, if it takes it at all, reads as ``schema`` does."""
_is_usual_moment = re.compile(_USUAL_MOMENT).fullmatch
_are_usual_moments = re.compile(rf"(?:{_USUAL_MOMENT}(?:\n|\Z))*+").fullmatch


class RecordColumns:
    """Builds the columns of a schema from parsed records. JSON columns are left to the caller."""

    def __init__(self, schema: pa.Schema) -> None:
        self._fields = [field for field in schema if json_role(field) is None]
        # A field of a record that is named like the column of what is rescued is unknown, too.
        self._known = frozenset(f.name for f in schema if json_role(f) != JSON_RESCUED)
        strings = [field for field in self._fields if field.type == pa.string()]
        self._strings = pa.struct(strings)
        self._others = [field for field in self._fields if field.type != pa.string()]

    def build(
        self, rows: list[Any], *, has_huge: bool = False
    ) -> tuple[dict[str, pa.Array], list[Place]]:
        """Return the columns by name, and the places of what did not fit, in no order.

        ``has_huge`` says that a HugeNumber may be among the values.
        """
        places: list[Place] = []
        objects = rows
        if not {dict}.issuperset(map(type, rows)):
            places = [(number, ()) for number, row in enumerate(rows) if type(row) is not dict]
            objects = [row if type(row) is dict else {} for row in rows]
        columns = {} if has_huge else self._string_columns(objects)
        fields = self._others if columns else self._fields
        others, misfits = _members(fields, self._known, objects, has_huge=has_huge)
        return columns | others, places + misfits

    def _string_columns(self, objects: list[dict[str, Any]]) -> dict[str, pa.Array]:
        """Return the columns of strings, read in one go; none if one of them has another value."""
        try:  # Arrow takes nothing else for a string, but that a HugeNumber is one to it.
            columns = pa.array(objects, self._strings).flatten()
        except TypeError:
            return {}
        return dict(zip((field.name for field in self._strings), columns, strict=True))


def _members(
    fields: Iterable[pa.Field],
    known: frozenset[str],
    objects: Sequence[dict[str, Any]],
    *,
    has_huge: bool,
) -> tuple[dict[str, pa.Array], list[Place]]:
    """Return the objects' members that ``fields`` name as columns, and what did not fit."""
    keys: set[str] = set().union(*objects)
    places = _places_of(keys - known, objects)
    columns = {}
    for field in fields:
        name = field.name
        if name in keys:
            # The loop of ``one.get(name)``, in C.
            values = list(map(dict.get, objects, repeat(name)))
            columns[name], misfits = _column(field.type, values, has_huge=has_huge)
            places += [(number, (name, *path)) for number, path in misfits]
        else:
            columns[name] = pa.nulls(len(objects), field.type)
    return columns, places


def _places_of(keys: Collection[str], objects: Iterable[dict[str, Any]]) -> list[Place]:
    if len(keys) <= _FEW_KEYS:
        return [
            (number, (key,)) for key in keys for number, one in enumerate(objects) if key in one
        ]
    return [(number, (key,)) for number, one in enumerate(objects) for key in one if key in keys]


def _column(
    kind: pa.DataType, values: list[Any], *, has_huge: bool
) -> tuple[pa.Array, list[Place]]:
    if pa.types.is_list(kind):
        usual = None if has_huge else _usual_structs(kind, values)
        return usual or _list_column(kind, values, has_huge=has_huge)
    if pa.types.is_struct(kind):
        return _struct_column(kind, values, has_huge=has_huge)
    return _scalar_column(kind, values)


def _scalar_column(kind: pa.DataType, values: list[Any]) -> tuple[pa.Array, list[Place]]:
    if values.count(None) == len(values):
        return pa.nulls(len(values), kind), []
    converted, misfits = _converted(kind, values, _unusual(kind, values))
    try:
        return pa.array(_prepared(kind, converted), kind), misfits
    except (OverflowError, ValueError):  # One value is out of range: the rules find which.
        filled = [number for number, value in enumerate(values) if value is not None]
        converted, misfits = _converted(kind, values, filled)
        return pa.array(converted, kind), misfits


def _unusual(kind: pa.DataType, values: list[Any]) -> list[int]:
    """Return the numbers of the values that have to be converted one by one."""
    usual = _USUAL[kind]
    if not usual.issuperset(map(type, values)):
        unusual = [number for number, value in enumerate(values) if type(value) not in usual]
        if kind != TIMESTAMP:
            return unusual
    elif kind != TIMESTAMP or _are_usual_moments("\n".join(filter(None, values))):
        return []
    return [
        number
        for number, value in enumerate(values)
        if value is not None and not (type(value) is str and _is_usual_moment(value))
    ]


def _converted(
    kind: pa.DataType, values: list[Any], numbers: Iterable[int]
) -> tuple[list[Any], list[Place]]:
    """Convert the values of these numbers by the rules; return all values, and the misfits."""
    convert = SCALARS[kind]
    converted = list(values)
    misfits: list[Place] = []
    for number in numbers:
        fitted = convert(values[number])
        if fitted is MISFIT:
            misfits.append((number, ()))
            fitted = None
        converted[number] = fitted
    return converted, misfits


def _prepared(kind: pa.DataType, values: list[Any]) -> list[Any]:
    """Return what Arrow takes for usual and converted values; ValueError if one is out of range."""
    if kind == TIMESTAMP:
        read = datetime.fromisoformat
        return [read(value) if type(value) is str else value for value in values]
    if kind == pa.float64():
        doubles = [None if value is None else float(value) for value in values]
        if math.inf in doubles or -math.inf in doubles:
            raise ValueError("beyond double")
        return doubles
    return values


def _usual_structs(kind: pa.DataType, values: list[Any]) -> tuple[pa.Array, list[Place]] | None:
    """Return a column of lists of structs of strings, if all is of these types; None if not."""
    if not {list, _NONE}.issuperset(map(type, values)):
        return None
    if not _has_only_strings(kind.value_type):
        return None
    objects = list(chain.from_iterable(filter(None, values)))
    if not {dict}.issuperset(map(type, objects)):
        return None
    try:  # Arrow takes nothing else for a string, but that a HugeNumber is one to it.
        column = pa.array(values, kind)
    except TypeError:
        return None
    keys: set[str] = set().union(*objects).difference(field.name for field in kind.value_type)
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


@lru_cache
def _has_only_strings(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and all(field.type == pa.string() for field in kind)


def _struct_column(
    kind: pa.DataType, values: list[Any], *, has_huge: bool
) -> tuple[pa.Array, list[Place]]:
    objects, misfits = _only(dict, values)
    is_null = None
    if None in objects:
        is_null = pa.array([one is None for one in objects], pa.bool_())
        objects = [{} if one is None else one for one in objects]
    fields = list(kind)
    known = frozenset(field.name for field in fields)
    columns, more = _members(fields, known, objects, has_huge=has_huge)
    children = [columns[field.name] for field in fields]
    return pa.StructArray.from_arrays(children, fields=fields, mask=is_null), misfits + more


def _list_column(
    kind: pa.DataType, values: list[Any], *, has_huge: bool
) -> tuple[pa.Array, list[Place]]:
    lists, misfits = _only(list, values)
    is_null = None
    if None in lists:
        is_null = pa.array([one is None for one in lists], pa.bool_())
        lists = [one or () for one in lists]
    inner = list(chain.from_iterable(lists))
    child, child_misfits = _column(kind.value_type, inner, has_huge=has_huge)
    offsets = list(accumulate(map(len, lists), initial=0))
    if child_misfits:
        owners = [(number, index) for number, one in enumerate(lists) for index in range(len(one))]
        for element, path in child_misfits:
            number, index = owners[element]
            misfits.append((number, (index, *path)))
    array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), child, type=kind, mask=is_null)
    return array, misfits


def _only(kind: type, values: list[Any]) -> tuple[list[Any], list[Place]]:
    """Return the values with None for those of another type, and the places of the latter."""
    if {kind, _NONE}.issuperset(map(type, values)):
        return values, []
    return (
        [value if type(value) is kind else None for value in values],
        [(number, ()) for number, value in enumerate(values) if type(value) not in (kind, _NONE)],
    )
