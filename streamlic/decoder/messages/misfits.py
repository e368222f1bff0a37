"""The message for a value that does not fit: what was expected, and what came. Pure."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from streamlic.decoder.scanner import PathStep

_SHOWN_CHARACTERS = 60


_KINDS = {
    "{": "object",
    "[": "array",
    '"': "string",
    "t": "boolean",
    "f": "boolean",
    "n": "null",
}


class Rescued(NamedTuple):
    """One value that did not fit: its path, and where its text is in the record."""

    path: tuple[PathStep, ...]
    start: int
    end: int


def why(schema: pa.Schema, text: bytes, one: Rescued, most: int) -> str:
    """Return what was expected at the path, and what came; at most ``most`` values may not fit."""
    # A character has at most four bytes, and later ones are not shown.
    start = text[one.start : min(one.end, one.start + 4 * _SHOWN_CHARACTERS + 4)]
    value = start.decode(errors="ignore")
    shown = value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 3] + "..."
    expected = _expected(schema, one.path)
    if not one.path and value[0] == "{":
        expected = f"at most {most} values that do not fit"
    return f"expected {expected}, got {_KINDS.get(value[0], 'number')} {shown}"


def _expected(schema: pa.Schema, path: tuple[PathStep, ...]) -> str:
    if not path:
        return "an object"
    kind: pa.DataType = pa.struct(list(schema))
    for step in path:
        if isinstance(step, int):
            kind = kind.value_type
        elif kind.get_field_index(step) < 0:
            return "no such field"
        else:
            kind = kind.field(step).type
    return str(kind)
