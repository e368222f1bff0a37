"""Rows that are an object: the key of each is never lost.

Rules:
1. A record without the field that the rows are keyed by, or with null in it, takes it from its key:
   into the field's column, if that is one of strings, else among what is rescued.
2. A member that is not an object becomes a row with its key in that column; its value is rescued
   under the key.
3. Records that are kept whole get their key in a column of its own.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Any, NamedTuple

import pyarrow as pa

from streamlic.decoder.reference.columns import Row
from streamlic.decoder.reference.record_buffer import Records
from streamlic.decoder.reference.rescue import pointer
from streamlic.decoder.scanner import children
from streamlic.schema.columns import JSON_VALUE, json_role


class KeyFill(NamedTuple):
    """Rows whose keys are filled in, and the keys to rescue in addition to their misfits."""

    rows: list[Row]
    unplaced_keys: dict[int, str]
    """By row: a key that fits no column."""
    members: dict[int, str]
    """By row: the key of a member that is not an object."""


class KeyedRows:
    """Fills in the keys of rows that are an object, keyed by ``field``."""

    def __init__(self, schema: pa.Schema, field: str) -> None:
        plain = [one for one in schema if json_role(one) is None]
        columns = [*plain, *(one for one in schema if json_role(one) == JSON_VALUE)]
        self._field = field
        self._at = next((at for at, one in enumerate(columns) if one.name == field), None)
        self._is_text = any(one.name == field and one.type == pa.string() for one in plain)

    def fill(self, rows: list[Row], records: Records) -> KeyFill:
        """Return the rows with their keys filled in."""
        filled, unplaced_keys, members = list(rows), {}, {}
        for number, row in enumerate(rows):
            key = records.place(number)[1]
            if not isinstance(key, str):  # The rows of a line, or of another line's array.
                continue
            text = records.texts[number]
            is_object = text[:1] == b"{"
            if not is_object:
                members[number] = key
            if self._at is not None and self._is_text:
                if row[self._at] is None:
                    filled[number] = (*row[: self._at], key, *row[self._at + 1 :])
            elif is_object and self._lacks_field(row, text):
                unplaced_keys[number] = key
                filled[number] = self._without_null(row)
        return KeyFill(filled, unplaced_keys, members)

    def rescued(self, texts: list[str | None], fill: KeyFill, records: Records) -> None:
        """Add the keys that fit no column to the rescued values of their rows."""
        for number, key in fill.members.items():
            name = encode_basestring(pointer([key]))
            texts[number] = f"{{{name}:{records.texts[number].decode()}}}"
        for number, key in fill.unplaced_keys.items():
            others = texts[number]
            member = f"{encode_basestring(pointer([self._field]))}:{encode_basestring(key)}"
            texts[number] = f"{{{member}}}" if others is None else f"{{{member},{others[1:]}"

    def _lacks_field(self, row: Row, text: bytes) -> bool:
        if self._at is not None:
            return row[self._at] is None
        found = b"null"
        if (self._field,) in (row[-1] or ()):
            for key, start, end in children(text, 0):
                if key == self._field:
                    found = text[start:end]
        return found == b"null"

    def _without_null(self, row: Row) -> Row:
        """Return the row without its own field's null among its misfits."""
        misfits: Any = [path for path in row[-1] or () if path != (self._field,)]
        # The last value is repeated, so that a row is never a single value.
        return (*row[:-2], misfits or None, misfits or None)
