"""The facts in a body's envelope, apart from its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamlic.decoder.failure_signs import (
    REPORT_MEMBERS,
    NoListing,
    Reported,
    next_link,
    reports_failure,
    value_of,
)
from streamlic.decoder.scanner import Malformed, mend_surrogates

if TYPE_CHECKING:
    from streamlic.decoder.body_rules import BodyRules
    from streamlic.decoder.options import DecoderOptions

_MAX_KEYS = 20


@dataclass(kw_only=True)
class Envelope:
    """The facts in a body's envelope, and counts of what was read.

    ``rows`` counts records, and ``rescued`` the values that did not fit. ``keys`` are the first
    keys of the envelope, at most 20. ``next_link`` is the dotted path to a member, other than
    ``next_cursor``, with which a vendor's body names a further page; None if there is none.
    ``counted_rows`` is the number of rows that ``result_count`` should equal; None if it is all
    rows. ``is_keyed``: the rows were an object, not an array (``truto_key_by``). ``ids_crc32`` is a
    checksum of all ids; the caller computes it, not the engine.
    """

    next_cursor: str | None = None
    prev_cursor: str | None = None
    result_count: int | None = None
    counted_rows: int | None = None
    is_partial_response: bool = False
    rows: int = 0
    rescued: int = 0
    keys: tuple[str, ...] = ()
    next_link: str | None = None
    is_keyed: bool = False
    ids_crc32: int = 0


class EnvelopeReader:
    """Reads the members of an envelope, except its rows, into ``envelope``.

    Each line of a newline-delimited body may be an envelope. Then the last cursor counts, a flag
    of any line counts, and each ``result_count`` is checked.
    """

    def __init__(self, options: DecoderOptions, rules: BodyRules) -> None:
        self.envelope = Envelope()
        self._rows_at = options.rows_at
        self._is_lines = options.ndjson
        self._is_trutos = rules.is_trutos
        self._said: dict[str, Any] = {}
        self._before: tuple[int | None, int | None, bool] = (None, None, False)

    def begin(self) -> None:
        """Start an envelope."""
        envelope = self.envelope
        self._said = {}
        self._before = (
            envelope.result_count,
            envelope.counted_rows,
            envelope.is_partial_response,
        )
        envelope.result_count, envelope.is_partial_response = None, False

    def key(self, key: str) -> None:
        """Note the key of a member whose value is read elsewhere."""
        if len(self.envelope.keys) < _MAX_KEYS:
            self.envelope.keys = (*self.envelope.keys, key[:60])

    def member(self, path: tuple[str, ...], text: bytes, index: int) -> None:
        """Read a member with its path and valid JSON; the last of a repeated key counts.

        ``shortened`` has cut a long ``text``. Raises Malformed, at ``index``, for a value of the
        wrong type, unless the envelope is a vendor's: there the member may mean anything.
        """
        key = path[-1]
        if len(path) == 1:
            self.key(key)
            if key in REPORT_MEMBERS:
                self._said[key] = value_of(text)
            if key in _READ and self._is_fact(key, text, index):
                return
        if not self._is_trutos and self.envelope.next_link is None:
            self.envelope.next_link = next_link(path, text)

    def end(self, index: int, *, rows: int, has_rows: bool) -> None:
        """End the envelope, with the brace at ``index``, after ``rows`` rows of its own.

        Raises Reported if it reports a failure, and NoListing or Malformed if it has no rows: then
        something other than Truto answered, or the path to a vendor's rows is wrong.
        """
        if reports_failure(self._said, is_trutos=self._is_trutos, has_rows=has_rows):
            raise Reported(self._said, index)
        if self._is_lines:
            self._add_up(rows if has_rows else self.envelope.rows)
        elif not has_rows:
            keys = ", ".join(self.envelope.keys) or "none"
            raise (NoListing if self._is_trutos else Malformed)(
                f"expected rows at {self._rows_at}, got an envelope with the keys: {keys},",
                index,
                parameter="rows_at",
            )

    def _is_fact(self, key: str, text: bytes, index: int) -> bool:
        """Read a fact; return whether its value is valid, or null."""
        if text == b"null":  # As most cursors are.
            setattr(self.envelope, key, getattr(Envelope, key))
            return True
        # A count or a flag of this length is invalid.
        given = _NUMBERS_AS_TEXT.decode(mend_surrogates(text).decode()) if text else {}
        value = _READ[key](given)
        if value is None:
            if self._is_trutos:
                got = _KINDS.get(text[:1], "a number")
                raise Malformed(f"expected {_EXPECTED[key]} or null, got {got}", index, (key,))
            return False
        setattr(self.envelope, key, value)
        return True

    def _add_up(self, rows: int) -> None:
        """Add a line's envelope to the earlier ones. The first wrong count is kept."""
        envelope, (count, counted, was_partial) = self.envelope, self._before
        envelope.is_partial_response |= was_partial
        if envelope.result_count is None or count != counted:
            envelope.result_count = count
        else:
            envelope.counted_rows = rows


class _Integer(str):
    """The digits of a JSON integer, which may be too many for an int."""

    __slots__ = ()


class _Fraction(str):
    """The text of a JSON number with a fraction or an exponent, which is never a valid fact."""

    __slots__ = ()


def _cursor(value: Any) -> str | None:
    return str(value) if isinstance(value, str) and not isinstance(value, _Fraction) else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, _Integer) and len(value) <= 18 else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_NUMBERS_AS_TEXT = json.JSONDecoder(parse_int=_Integer, parse_float=_Fraction)
_READ: dict[str, Callable[[Any], Any]] = {
    "next_cursor": _cursor,
    "prev_cursor": _cursor,
    "result_count": _count,
    "is_partial_response": _flag,
}
_EXPECTED = {
    "next_cursor": "a string",
    "prev_cursor": "a string",
    "result_count": "a whole number",
    "is_partial_response": "true or false",
}
_KINDS = {
    b"": "a very long value",
    b"{": "an object",
    b"[": "an array",
    b'"': "a string",
    b"t": "true",
    b"f": "false",
}
