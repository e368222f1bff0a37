"""Bytes in, record batches out: one contract, and the engines that keep it.

The contract, for every engine:

1. Where the body is cut into chunks never changes what comes out.
2. A bad body raises DecodeError with byte position and path, never anything else. The position is
   that of the first byte at which the body stops being the beginning of any valid one; for bytes
   that are no UTF-8, of the first byte of the ill-formed sequence; for a body that is cut, its
   length. The first error in the body counts. What came is told by the bytes up to there alone. A
   decoder that failed stays failed.
3. JSON is RFC 8259, strictly. An unpaired surrogate escape becomes U+FFFD, and in a record's key a
   backslash and its digits, so that keys that differ stay different; a key that has this very text
   is the same key repeated. Of a repeated key of a record the last counts; the rows may stand only
   once; rows that are an object are all kept, and so are their keys. Null in place of the rows is
   an empty listing.
4. Columns, rescues and JSON text follow the rules of ``streamlic.schema.values``: JSON columns and
   rescued values keep their text as it came. Rescues stand in document order. A record of which
   more than ``max_rescued`` values do not fit is kept whole instead, which counts as one.
5. A batch is full at ``batch_rows`` rows or ``batch_bytes`` bytes of records, so that batches, too,
   are the same however the body is cut and whichever engine reads it.

6. A complete body that says that the listing failed raises ReportedFailure: at the end of its
   envelope, or at the record or line that says so (``streamlic.decoder.failure_signs``).
7. Each line of a newline-delimited body is a record or an envelope.

The engines differ in nothing that is handed over. What may differ is when: which call of ``feed``
returns a batch, or raises an error, is each engine's own affair.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from typing import Any, Protocol

import pyarrow as pa

from streamlic.decoder.envelope import Envelope
from streamlic.decoder.options import DecoderOptions
from streamlic.errors import UsageError
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import ExactSchema, check_schema

__all__ = [
    "ENGINES",
    "Decoder",
    "DecoderOptions",
    "Envelope",
    "engine_named",
    "open_decoder",
    "why_not_fast",
]

NO_FAST = "STREAMLIC_NO_FAST"
"""The environment variable that leaves the fast engine out, as if it had not been built."""
ENGINES = ("auto", "reference", "fast")
"""What ``engine`` may be; ``auto`` is the fastest that this installation has."""


class Decoder(Protocol):
    """What every engine offers. Feed every chunk, then close once."""

    @property
    def engine(self) -> str:
        """The engine's name."""

    @property
    def envelope(self) -> Envelope:
        """What the body said of itself; complete once the decoder is closed."""

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed and not read yet: of a record that has not ended, most often."""

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Take the next bytes; return the batches they filled, often none."""

    def close(self) -> list[pa.RecordBatch]:
        """Say that the body has ended; return what was left."""


def engine_named(engine: str) -> str:
    """Return which engine ``engine`` means here; UsageError if it is unknown or was not built."""
    if engine not in ENGINES:
        raise UsageError(f"expected one of {', '.join(ENGINES)}, got {engine!r} (--engine)")
    why_not = why_not_fast()
    if engine == "fast" and why_not:
        raise UsageError(
            f"the fast engine is not part of this installation ({why_not}): install a C++17 "
            "compiler and then streamlic again (pip install --force-reinstall --no-cache-dir "
            "streamlic), or use --engine auto or reference"
        )
    return "reference" if engine == "reference" or why_not else "fast"


@cache
def why_not_fast() -> str | None:
    """Return why the fast engine cannot be had, None if it can."""
    if os.environ.get(NO_FAST):
        return f"{NO_FAST} is set"
    try:
        import streamlic.decoder._fast  # noqa: F401, PLC0415  (it comes late, like ijson)
    except ImportError as error:
        return str(error)
    return None


@lru_cache(maxsize=16)
def _check_once(exact: ExactSchema) -> None:
    check_schema(exact.schema)


def open_decoder(
    schema: pa.Schema = LICENSE_SCHEMA, *, engine: str = "auto", **options: Any
) -> Decoder:
    """Return a decoder of one body into batches of ``schema``; it needs no network and no loop.

        decoder = streamlic.open_decoder(rows_at="data.items")
        for chunk in chunks:
            for batch in decoder.feed(chunk):
                ...
        for batch in decoder.close():
            ...
        decoder.envelope.next_cursor

    ``schema`` may have any columns of the types in LICENSE_SCHEMA, beside its ``_rescued``, which
    keeps what does not fit; with RAW_SCHEMA each record is kept whole. ``options`` are those of
    DecoderOptions. A decoder is for one body, and for one thread at a time; what it holds is
    bounded by ``max_record_bytes`` and a batch.

    Raises UsageError for a schema that no JSON can fill, an option out of its range, and an engine
    that this installation does not have. ``feed`` and ``close`` raise DecodeError, with the byte
    and the path, for a body that is not what it must be (RFC 8259), and again each time; batches
    that were returned before are then part of a body that is bad.
    """
    _check_once(ExactSchema(schema))
    given = DecoderOptions(**options)
    if engine_named(engine) == "fast":
        from streamlic.decoder._fast import FastDecoder  # noqa: PLC0415

        return FastDecoder(schema, given)
    from streamlic.decoder.reference.engine import ReferenceDecoder  # noqa: PLC0415  (ijson comes late)

    return ReferenceDecoder(schema, given)
