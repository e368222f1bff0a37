"""The loop that one writes by hand: ijson.items and RecordBatch.from_pylist."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO

import ijson
import pyarrow as pa

_BATCH_ROWS = 8192
_json_text = json.JSONEncoder(default=str).encode  # Once: ``json.dumps`` makes one for each call.
_NAMED = [("id", pa.string()), ("name", pa.string())]
SCHEMA = pa.schema(
    [
        *_NAMED,
        ("description", pa.string()),
        ("available_quantity", pa.int64()),
        ("assigned_quantity", pa.int64()),
        ("unit_amount", pa.float64()),
        ("currency", pa.string()),
        ("is_paid", pa.bool_()),
        ("status", pa.string()),
        ("products", pa.list_(pa.struct([*_NAMED, ("status", pa.string())]))),
        ("roles", pa.list_(pa.struct(_NAMED))),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("updated_at", pa.timestamp("us", tz="UTC")),
        ("remote_data", pa.string()),
    ]
)


def decode(body: BinaryIO, *, is_clean: bool = False) -> int:
    """Decode a body into record batches as a competent user would; return the rows.

    It converts only what ``from_pylist`` would refuse: a value of a wrong type becomes null.
    ``is_clean`` says that no number is beyond 64 bits, so that ijson may make floats.
    """
    batches = []
    held: list[dict[str, Any]] = []
    for record in ijson.items(body, "result.item", buf_size=1 << 20, use_float=is_clean):
        held.append(row(record))
        if len(held) == _BATCH_ROWS:
            batches.append(pa.RecordBatch.from_pylist(held, schema=SCHEMA).num_rows)
            held = []
    batches.append(pa.RecordBatch.from_pylist(held, schema=SCHEMA).num_rows)
    return sum(batches)


def row(record: dict[str, Any]) -> dict[str, Any]:
    """Convert a record's values to what ``from_pylist`` takes."""
    for name in ("available_quantity", "assigned_quantity"):
        if isinstance(record.get(name), Decimal | float | str):
            record[name] = int(float(record[name]))
    if "unit_amount" in record:
        record["unit_amount"] = float(record["unit_amount"])
    if isinstance(record.get("is_paid"), str):
        record["is_paid"] = None
    for name in ("created_at", "updated_at"):
        if name in record:
            record[name] = moment(record[name])
    if "remote_data" in record:
        record["remote_data"] = _json_text(record["remote_data"])
    return record


def moment(text: str) -> datetime | None:
    """Return a time; None if it is not one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
