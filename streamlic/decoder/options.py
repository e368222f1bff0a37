"""How a body is read, and its bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamlic.errors import UsageError

_MIB = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")
DEFAULT_ROWS_AT = "result"
MAX_RESCUED = 10_000
"""Up to this many values of a record are rescued one by one."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """How a body is read, and its bounds.

    ``rows_at`` is the dotted path to the rows in an envelope. ``ndjson``: the body is
    newline-delimited. ``key_by`` is the field whose values are the keys of rows that are an object;
    without it such rows are an error, unless records are kept whole. A batch is full at
    ``batch_rows`` rows or ``batch_bytes`` bytes of JSON, whichever comes first.
    ``max_record_bytes`` bounds a record, or another member of the envelope; ``max_depth`` bounds
    the brackets that are open at once, the envelope's included. A record in which more than
    ``max_rescued`` values do not fit is rescued whole, under the pointer ``""``. ``strict`` makes
    the first misfit an error.
    """

    rows_at: str = DEFAULT_ROWS_AT
    ndjson: bool = False
    key_by: str | None = None
    strict: bool = False
    batch_rows: int = 8192
    batch_bytes: int = 2 * _MIB
    max_record_bytes: int = 64 * _MIB
    max_depth: int = 128
    max_rescued: int = MAX_RESCUED

    def __post_init__(self) -> None:
        # Invalid UTF-8 in an argument arrives as lone surrogates, which a key never contains.
        is_text = self.rows_at.isascii() or not _SURROGATE.search(self.rows_at)
        if not is_text or not all(self.rows_at.split(".")):
            raise UsageError(
                f"expected a dotted path such as data.items, got {self.rows_at!r}",
                parameter="rows_at",
            )
        if self.key_by is not None and (not self.key_by or _SURROGATE.search(self.key_by)):
            raise UsageError(
                f"expected the name of a field, got {self.key_by!r}", parameter="key_by"
            )
        for name, low, high in (
            ("batch_rows", 1, 1 << 20),
            ("batch_bytes", 1, 1 << 30),
            ("max_record_bytes", 2, 1 << 30),
            ("max_depth", 1, 512),
            ("max_rescued", 1, 1 << 20),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"expected {low} to {high}, got {value}", parameter=name)
