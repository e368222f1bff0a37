"""The columns of a license."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from streamlic.schema.columns import JSON_RESCUED, JSON_VALUE, json_field
from streamlic.schema.values import TIMESTAMP

LICENSE_SCHEMA: Final[pa.Schema] = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("description", pa.string()),
        pa.field("available_quantity", pa.int64()),
        pa.field("assigned_quantity", pa.int64()),
        pa.field("unit_amount", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("is_paid", pa.bool_()),
        pa.field("status", pa.string()),
        pa.field(
            "products",
            pa.list_(
                pa.struct([("id", pa.string()), ("name", pa.string()), ("status", pa.string())])
            ),
        ),
        pa.field("roles", pa.list_(pa.struct([("id", pa.string()), ("name", pa.string())]))),
        pa.field("created_at", TIMESTAMP),
        pa.field("updated_at", TIMESTAMP),
        json_field("remote_data", JSON_VALUE),
        json_field("_rescued", JSON_RESCUED),
    ]
)
"""What the decoder yields for licenses. Source: the response body on the endpoint's own page."""
