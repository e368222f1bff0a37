"""The columns of ``spark.read.format("truto")``, and what a narrower schema saves.

They are those of ``read_licenses``: the account, its integration and tenant, and the license's.
``_exported_at`` and ``_run`` belong to a lake's runs, and a read is none.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
from pyarrow import Schema
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from streamlic.api.accounts_table import ACCOUNT_FIELDS
from streamlic.errors import UsageError
from streamlic.resources.licenses import LICENSES
from streamlic.schema.columns import RAW_SCHEMA
from streamlic.truto.request import LicensesRequest
from streamlic.validation import shown

_REMOTE_DATA = "remote_data"
_ID = "id"


def arrow_schema(*, raw: bool) -> Schema:
    """Return all columns, as the decoder fills them."""
    return pa.schema([*ACCOUNT_FIELDS, *(RAW_SCHEMA if raw else LICENSES.schema)])


def spark_schema(*, raw: bool) -> StructType:
    """Return all columns, as Spark names their types."""
    return from_arrow_schema(arrow_schema(raw=raw))


def column_names(schema: StructType, *, raw: bool) -> tuple[str, ...]:
    """Return the names of the columns that a schema of the user asks for, in its order.

    Raises UsageError for a column that does not exist, has another type, or must not be null.
    """
    known = {field.name: field for field in spark_schema(raw=raw)}
    for field in schema:
        if field.name not in known:
            near = difflib.get_close_matches(field.name.lower(), known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(
                f"there is no column {shown(field.name)}{meant}: the columns are {', '.join(known)}"
            )
        _check_type(field, known[field.name])
    names = tuple(schema.fieldNames())
    if not names or len(set(names)) != len(names):
        raise UsageError(f"expected columns, each once, got {shown(', '.join(names))}")
    return names


def _check_type(given: StructField, known: StructField) -> None:
    expected = known.dataType.simpleString()
    if given.dataType != known.dataType:
        raise UsageError(
            f"the column {given.name} is {expected}, got {shown(given.dataType.simpleString())}: "
            "read it as it is, and cast it afterwards"
        )
    if not given.nullable:
        raise UsageError(f"the column {given.name} may be null: leave out NOT NULL")


def narrowed(request: LicensesRequest, names: Sequence[str]) -> LicensesRequest:
    """Return the request that leaves out what none of the columns needs.

    ``id`` is always requested: by it a repeated page is detected.
    """
    if request.response_format == "raw":
        return request
    needed = {*names, _ID, _REMOTE_DATA, request.key_by, *request.exclude_fields}
    left_out = tuple(field for field in LICENSES.fields if field not in needed)
    return replace(
        request,
        exclude_fields=request.exclude_fields + left_out,
        ignore_remote_data=request.ignore_remote_data or _REMOTE_DATA not in names,
    )
