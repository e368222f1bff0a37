"""The contract of all engines: bytes in, record batches out.

Every engine keeps these rules:

1. Chunk boundaries never change the result.
2. An invalid body raises DecodeError with byte position and path, nothing else. The position is
   that of the first byte that no valid body can have there; in invalid UTF-8 that of the first
   byte of the ill-formed sequence; in a truncated body its length. The first error in the body
   counts. Its message depends only on the bytes up to it. A decoder that failed stays failed.
3. JSON is RFC 8259, strictly. An unpaired surrogate escape becomes U+FFFD, but in a record's key a
   backslash and its digits, so that different keys stay different; a key with the same text is the
   same key repeated. The last value of a record's repeated key counts. The rows may occur once.
   Rows that are an object are all kept, with their keys. Null in place of the rows is an empty
   listing.
4. Columns, rescues and JSON text follow the rules of ``streamlic.schema.values``: JSON columns and
   rescued values keep their text unchanged. Rescues are in document order. A record in which more
   than ``max_rescued`` values do not fit is kept whole instead, which counts as one rescue.
5. A batch is full at ``batch_rows`` rows or ``batch_bytes`` bytes of records. So batches do not
   depend on chunk boundaries or on the engine.
6. A complete body that reports a failure raises ReportedFailure: at the end of its envelope, or at
   the record or line with the report (``streamlic.decoder.failure_signs``).
7. Each line of a newline-delimited body is a record or an envelope.

All engines give the same batches and errors. Only the time may differ: the call of ``feed`` that
returns a batch, or that raises an error.
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
"""The environment variable that disables the fast engine, as if it had not been built."""
ENGINES = ("auto", "reference", "fast")
"""The values of ``engine``; ``auto`` is the fastest engine of this installation."""


class Decoder(Protocol):
    """The interface of every engine. Feed every chunk, then close once."""

    @property
    def engine(self) -> str:
        """The engine's name."""

    @property
    def envelope(self) -> Envelope:
        """The facts in the body's envelope; complete once the decoder is closed."""

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed but not yet read: usually those of a partial record."""

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Decode the next bytes; return the batches that they filled, often none."""

    def close(self) -> list[pa.RecordBatch]:
        """End the body; return the last batches."""


def engine_named(engine: str) -> str:
    """Return the engine that ``engine`` selects; UsageError if it is unknown or was not built."""
    if engine not in ENGINES:
        raise UsageError(
            f"expected one of {', '.join(ENGINES)}, got {engine!r}", parameter="engine"
        )
    why_not = why_not_fast()
    if engine == "fast" and why_not:
        raise UsageError(
            f"the fast engine is not part of this installation ({why_not}): install a C++17 "
            "compiler and then streamlic again (pip install --force-reinstall --no-cache-dir . "
            "in the directory of its source), or use the engine auto or reference",
            parameter="engine",
        )
    return "reference" if engine == "reference" or why_not else "fast"


@cache
def why_not_fast() -> str | None:
    """Return why the fast engine is not available, None if it is."""
    if os.environ.get(NO_FAST):
        return f"{NO_FAST} is set"
    try:
        import streamlic.decoder._fast  # noqa: F401, PLC0415  (imported late, like ijson)
    except ImportError as error:
        return str(error)
    return None


@lru_cache(maxsize=16)
def _check_once(exact: ExactSchema) -> None:
    check_schema(exact.schema)


_checked = lru_cache(maxsize=64, typed=True)(DecoderOptions)
"""Options that are checked once: pages repeat them."""


def open_decoder(
    schema: pa.Schema = LICENSE_SCHEMA, *, engine: str = "auto", **options: Any
) -> Decoder:
    """Return a decoder of one body into batches of ``schema``, without network or event loop.

        decoder = streamlic.open_decoder(rows_at="data.items")
        for chunk in chunks:
            for batch in decoder.feed(chunk):
                ...
        for batch in decoder.close():
            ...
        decoder.envelope.next_cursor

    ``schema`` may have any columns of the types in LICENSE_SCHEMA, and needs a column ``_rescued``
    for values that do not fit. With RAW_SCHEMA each record is kept whole. ``options`` are those of
    DecoderOptions. Use a decoder for one body, from one thread at a time. It holds at most
    ``max_record_bytes`` and one batch.

    Raises UsageError for a schema that JSON cannot fill, an option out of range, or an engine that
    this installation lacks. ``feed`` and ``close`` raise DecodeError with byte and path for an
    invalid body, and again at every further call. Batches that were returned before belong to that
    invalid body.
    """
    _check_once(ExactSchema(schema))
    given = _checked(**options)
    if engine_named(engine) == "fast":
        from streamlic.decoder._fast import FastDecoder  # noqa: PLC0415

        return FastDecoder(schema, given)
    from streamlic.decoder.reference.engine import ReferenceDecoder  # noqa: PLC0415  (ijson is imported late)

    return ReferenceDecoder(schema, given)
