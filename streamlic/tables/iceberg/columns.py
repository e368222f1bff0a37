"""The columns of an Iceberg table and those of part files: which fit, and which must be added."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.exceptions import ResolveError
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
from pyiceberg.schema import promote
from pyiceberg.table import Table, Transaction
from pyiceberg.types import IcebergType, ListType, StructType

from streamlic.dataset.column_meanings import MEANINGS
from streamlic.errors import DatasetConflict


def check_names(found: Table, table: str, name: str) -> None:
    """Raise DatasetConflict if another program has renamed or dropped a column of streamlic's.

    The table's name mapping, by which readers find the columns of part files, has all names that a
    column ever had.
    """
    mapping = found.name_mapping()
    present = {*found.schema().column_names}
    known = [one for field in mapping.root for one in field.names] if mapping else []
    if gone := [one for one in known if one in MEANINGS[table] and one not in present]:
        raise DatasetConflict(
            f"another program has renamed or dropped the column {gone[0]} of the Iceberg table "
            f"{name}",
            advice="give it its name back, or export into another {dest}",
        )


def check_types(found: Table, schema: pa.Schema, name: str) -> None:
    """Raise DatasetConflict if a column of part files has a type that the table's cannot take.

    pyiceberg would say so, too: in a box on standard output.
    """
    present = {field.name: field.field_type for field in found.schema().fields}
    for field in _pyarrow_to_schema_without_ids(schema).fields:
        if field.name in present and not _fits(field.field_type, present[field.name]):
            raise DatasetConflict(
                f"column {field.name} of the Iceberg table {name} is {present[field.name]}, and "
                f"its new rows have {field.field_type}",
                advice="choose another {dest}",
            )


def add_columns(work: Transaction, schema: pa.Schema) -> None:
    """Add the columns that a later version of streamlic has."""
    known = work.table_metadata.schema()
    if set(schema.names) - set(known.column_names):
        with work.update_schema() as update:
            update.union_by_name(schema)


def _fits(ours: IcebergType, theirs: IcebergType) -> bool:
    """Return whether a column of a file can be read as the table's type."""
    if isinstance(ours, ListType) and isinstance(theirs, ListType):
        return _fits(ours.element_type, theirs.element_type)
    if isinstance(ours, StructType) and isinstance(theirs, StructType):
        types = {field.name: field.field_type for field in theirs.fields}
        return all(
            _fits(one.field_type, types.get(one.name, one.field_type)) for one in ours.fields
        )
    try:
        return ours == theirs or promote(ours, theirs) == theirs
    except ResolveError:
        return False
