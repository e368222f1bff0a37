"""The columns of a schema: JSON columns with their roles, and the types a decoder can fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from streamlic.errors import UsageError
from streamlic.schema.values import SCALARS

JSON_ROLE = b"streamlic.json"
"""The key of a field's metadata that makes a string column a JSON column."""


JSON_VALUE = b"value"
"""The column holds the JSON text of the record's own field of that name."""


JSON_RECORD = b"record"
"""The column holds the JSON text of the whole record."""


JSON_RESCUED = b"rescued"
"""The column holds what did not fit: an object from JSON Pointer (RFC 6901) to JSON value."""


def json_field(name: str, role: bytes) -> pa.Field:
    """Return a JSON column; ``role`` is JSON_VALUE, JSON_RECORD or JSON_RESCUED."""
    return pa.field(name, pa.string(), metadata={JSON_ROLE: role})


RAW_SCHEMA: Final[pa.Schema] = pa.schema(
    [pa.field("key", pa.string()), json_field("record", JSON_RECORD)]
)
"""The schema of ``raw`` bodies: the vendor's records, whole.

``key`` is the record's key if the rows are an object, null if they are an array.
"""


def json_role(field: pa.Field) -> bytes | None:
    """Return the field's role as a JSON column, None for any other column."""
    role: bytes | None = (field.metadata or {}).get(JSON_ROLE)
    return role


class ExactSchema:
    """A schema as the key of a cache. Arrow's own equality ignores metadata, and so the roles."""

    __slots__ = ("schema",)

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExactSchema) and self.schema.equals(
            other.schema, check_metadata=True
        )

    def __hash__(self) -> int:
        # Not Arrow's own hash: it writes out every type, which takes longer than a small body, as
        # does a list of the names. A cache has few schemas: equality tells them apart.
        return len(self.schema)


def check_schema(schema: pa.Schema) -> None:
    """Raise UsageError unless a decoder can fill every column of ``schema``."""
    names = schema.names
    if len(set(names)) != len(names):
        raise UsageError("two columns of the schema have the same name")
    if any("\0" in name for name in _all_names(schema)):
        raise UsageError("a column's name has a NUL, which Arrow's C data interface cannot carry")
    roles = [json_role(field) for field in schema]
    for field, role in zip(schema, roles, strict=True):
        if role is None:
            _check_type(field.type, field.name)
        elif role not in (JSON_VALUE, JSON_RECORD, JSON_RESCUED) or field.type != pa.string():
            raise UsageError(f"column {field.name} has an unknown JSON role or is not a string")
        if not field.nullable:
            raise UsageError(f"column {field.name} must be nullable")
    is_whole_record = JSON_RECORD in roles
    if roles.count(JSON_RESCUED) != (0 if is_whole_record else 1):
        raise UsageError(
            "the schema needs one column for rescued values, or one for the whole record"
        )
    if is_whole_record and not _is_whole_record(schema):
        raise UsageError(
            "a schema with the whole record may have one other column, of strings, for its key"
        )


def _is_whole_record(schema: pa.Schema) -> bool:
    others = [field for field in schema if json_role(field) != JSON_RECORD]
    is_key = [json_role(field) is None and field.type == pa.string() for field in others]
    return len(schema) == len(others) + 1 and is_key in ([], [True])


def _all_names(fields: Iterable[pa.Field]) -> Iterator[str]:
    for field in fields:
        yield field.name
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(kind):
            yield from _all_names(kind)


def _check_type(kind: pa.DataType, name: str) -> None:
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        if len(set(names)) != len(names):
            raise UsageError(f"column {name}: two fields of a struct have the same name")
        for field in kind:
            if json_role(field) is not None:
                raise UsageError(f"column {name}: a JSON column cannot be inside a struct")
            _check_type(field.type, f"{name}.{field.name}")
    elif kind not in SCALARS:
        raise UsageError(f"column {name}: JSON values cannot be converted to {kind}")
