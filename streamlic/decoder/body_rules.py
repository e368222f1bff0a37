"""The rules for a body, derived from its schema and options."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from streamlic.decoder.failure_signs import ENVELOPE_KEYS, RECORD_SIGNS
from streamlic.decoder.options import DEFAULT_ROWS_AT, DecoderOptions
from streamlic.schema.columns import JSON_RECORD, JSON_RESCUED, ExactSchema, json_role


@dataclass(frozen=True, kw_only=True)
class BodyRules:
    """How both engines read one kind of body.

    ``is_trutos``: the envelope is Truto's own, not a vendor's. ``takes_keyed``: the rows may be an
    object. ``has_envelope_lines``: a line may be an envelope. ``has_reports``: a record may be an
    error report; a column with the name of a sign rules that out. ``columns`` are the fields of a
    data record; None if records are kept whole, with any fields.
    """

    is_trutos: bool
    takes_keyed: bool
    has_envelope_lines: bool
    has_reports: bool
    columns: frozenset[str] | None

    @classmethod
    def of(cls, schema: pa.Schema, options: DecoderOptions) -> BodyRules:
        """Return the rules for bodies that are decoded to ``schema``."""
        return _rules(
            ExactSchema(schema), options.rows_at, options.ndjson, options.key_by is not None
        )


@lru_cache(maxsize=16)  # Small bodies come by the thousand, with the same rules.
def _rules(exact: ExactSchema, rows_at: str, is_lines: bool, is_keyed: bool) -> BodyRules:
    roles = {field.name: json_role(field) for field in exact.schema}
    is_raw = JSON_RECORD in roles.values()
    is_trutos = rows_at == DEFAULT_ROWS_AT and not is_raw
    return BodyRules(
        is_trutos=is_trutos,
        takes_keyed=is_raw or is_keyed,
        has_envelope_lines=is_lines and is_trutos and not roles.keys() & ENVELOPE_KEYS,
        has_reports=is_raw or not roles.keys() & RECORD_SIGNS,
        columns=None
        if is_raw
        else frozenset(name for name, role in roles.items() if role != JSON_RESCUED),
    )
