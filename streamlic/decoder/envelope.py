"""What a body says of itself beside its rows."""

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
    """What a body said of itself, and what was read from it.

    ``rows`` counts records and ``rescued`` the values that did not fit. ``keys`` are the first
    keys of the envelope, at most 20. ``next_link`` is the dotted path to a member, other
    than ``next_cursor``, by which a vendor's own body names a further page; None where there is
    none. ``counted_rows`` are the rows that ``result_count`` is about; None where it is all.
    ``is_keyed`` says that the rows were an object, not an array (``truto_key_by``). ``ids_crc32``
    is a checksum of all ids, which no engine makes, but who listens to one.
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
    """Takes what an envelope says beside its rows, member by member, into ``envelope``.

    Each line of a newline-delimited body may be an envelope: their cursors follow each other, a
    flag of any counts, and each ``result_count`` is checked.
    """

    def __init__(self, options: DecoderOptions, rules: BodyRules) -> None:
        self.envelope = Envelope()
        self._rows_at = options.rows_at
        self._is_lines = options.ndjson
        self._is_trutos = rules.is_trutos
        self._said: dict[str, Any] = {}
        self._before: tuple[int | None, int | None, bool] = (None, None, False)

    def begin(self) -> None:
        """Say that an envelope begins."""
        envelope = self.envelope
        self._said = {}
        self._before = (
            envelope.result_count,
            envelope.counted_rows,
            envelope.is_partial_response,
        )
        envelope.result_count, envelope.is_partial_response = None, False

    def key(self, key: str) -> None:
        """Take the key of a member whose value is read elsewhere."""
        if len(self.envelope.keys) < _MAX_KEYS:
            self.envelope.keys = (*self.envelope.keys, key[:60])

    def member(self, path: tuple[str, ...], text: bytes, index: int) -> None:
        """Take the member at ``path`` whose valid JSON is ``text``; of a repeated key the last.

        ``text`` is what ``shortened`` leaves of one that is long. Raises Malformed, at ``index``,
        for a value of the wrong type, unless the envelope is a vendor's own, whose members may mean
        anything.
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
        """Say that the envelope ends, with the brace at ``index``, after ``rows`` rows of its own.

        Raises Reported where it says that the listing failed. One without rows is no listing: an
        answer of something else than Truto may pass; at a vendor's own the path to them is wrong.
        """
        if reports_failure(self._said, is_trutos=self._is_trutos, has_rows=has_rows):
            raise Reported(self._said, index)
        if self._is_lines:
            self._add_up(rows if has_rows else self.envelope.rows)
        elif not has_rows:
            keys = ", ".join(self.envelope.keys) or "none"
            raise (NoListing if self._is_trutos else Malformed)(
                f"expected rows at {self._rows_at}, got an envelope with the keys: {keys},", index
            )

    def _is_fact(self, key: str, text: bytes, index: int) -> bool:
        """Take a fact; return whether its value is one, or null."""
        # A count or a flag that is so long is none.
        given = json.loads(mend_surrogates(text), **_NUMBERS_AS_TEXT) if text else {}
        value = _READ[key](given)
        if value is None and text != b"null":
            if self._is_trutos:
                got = _KINDS.get(text[:1], "a number")
                raise Malformed(f"expected {_EXPECTED[key]} or null, got {got}", index, (key,))
            return False
        setattr(self.envelope, key, getattr(Envelope, key) if value is None else value)
        return True

    def _add_up(self, rows: int) -> None:
        """Add a line's envelope to those before it. The first count that is wrong stays."""
        envelope, (count, counted, was_partial) = self.envelope, self._before
        envelope.is_partial_response |= was_partial
        if envelope.result_count is None or count != counted:
            envelope.result_count = count
        else:
            envelope.counted_rows = rows


class _Integer(str):
    """A JSON integer's digits: they may be too many for an int."""

    __slots__ = ()


class _Fraction(str):
    """The text of a JSON number with a fraction or an exponent: no fact is one."""

    __slots__ = ()


def _cursor(value: Any) -> str | None:
    return str(value) if isinstance(value, str) and not isinstance(value, _Fraction) else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, _Integer) and len(value) <= 18 else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_NUMBERS_AS_TEXT: dict[str, Any] = {"parse_int": _Integer, "parse_float": _Fraction}
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
