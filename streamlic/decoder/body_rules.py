"""The rules for a body, derived from its schema and options."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from streamlic.decoder.failure_signs import ENVELOPE_KEYS, RECORD_SIGNS
from streamlic.decoder.options import DEFAULT_ROWS_AT, DecoderOptions
from streamlic.schema.columns import JSON_RECORD, JSON_RESCUED, json_role


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
        is_raw = any(json_role(field) == JSON_RECORD for field in schema)
        is_trutos = options.rows_at == DEFAULT_ROWS_AT and not is_raw
        names = frozenset(schema.names)
        return cls(
            is_trutos=is_trutos,
            takes_keyed=is_raw or options.key_by is not None,
            has_envelope_lines=options.ndjson and is_trutos and not names & ENVELOPE_KEYS,
            has_reports=is_raw or not names & RECORD_SIGNS,
            columns=None
            if is_raw
            else frozenset(field.name for field in schema if json_role(field) != JSON_RESCUED),
        )
