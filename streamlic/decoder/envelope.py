"""What a body says of itself beside its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamlic.decoder.strict import Malformed, mend_surrogates

_MAX_KEYS = 20
_NEXT = re.compile(r"next", re.IGNORECASE)


@dataclass(kw_only=True)
class Envelope:
    """What a body said of itself, and what was read from it.

    ``rows`` counts records and ``rescued`` the values that did not fit. ``keys`` are the first
    keys of the envelope, at most 20. ``next_link`` is the name of a member, other than
    ``next_cursor``, by which a vendor's own body names a further page; None where there is none.
    ``is_keyed`` says that the rows were an object, not an array (``truto_key_by``). ``ids_crc32``
    is a checksum of all ids, which no engine makes, but who listens to one.
    """

    next_cursor: str | None = None
    prev_cursor: str | None = None
    result_count: int | None = None
    is_partial_response: bool = False
    rows: int = 0
    rescued: int = 0
    keys: tuple[str, ...] = ()
    next_link: str | None = None
    is_keyed: bool = False
    ids_crc32: int = 0

    def note_key(self, key: str) -> None:
        """Remember that the envelope had this key, for the error that lists them."""
        if len(self.keys) < _MAX_KEYS:
            self.keys = (*self.keys, key[:60])

    def note(self, key: str, text: bytes, index: int, *, is_trutos: bool) -> None:
        """Take the member ``key`` whose valid JSON is ``text``; of a repeated key the last counts.

        Raises Malformed, at ``index``, for a value of the wrong type, unless the envelope is a
        vendor's own (``is_trutos`` false), whose members may mean anything.
        """
        self.note_key(key)
        if key in _FACTS:
            value = _FACTS[key](json.loads(mend_surrogates(text), **_NUMBERS_AS_TEXT))
            if value is not None:
                setattr(self, key, value)
            elif text == b"null":
                setattr(self, key, getattr(Envelope, key))
            elif is_trutos:
                raise Malformed(f"expected {_EXPECTED[key]} or null", index, (key,))
        elif not is_trutos and _NEXT.search(key) and text not in (b"null", b"false", b'""'):
            self.next_link = key[:60]


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
_FACTS: dict[str, Callable[[Any], Any]] = {
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
