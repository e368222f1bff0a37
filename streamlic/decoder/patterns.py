"""Where an ordinary record ends, and where its JSON columns lie in it, at the speed of ``re``.

A pattern only cuts: it takes brackets in pairs and strings as units, up to a few levels deep, and
checks no grammar inside. A record that it cuts is parsed by ijson afterwards. What it does not
cut (unfinished, deep, not an object, control characters) is left to ``strict``. A key written
with escapes is not seen to be a JSON column's: whoever parses the record has to look for that.
Possessive throughout: linear in time, whatever the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from streamlic.decoder.strict import after_white_space

_MAX_LEVELS = 6
_OTHERS = rb'[^\[\]{}"\x00-\x08\x0b\x0c\x0e-\x1f]*+'  # no bracket, no quote; ijson judges them
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_STRING = rb'"' + _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb')*+"'
_SCALAR = rb"[-+.0-9A-Za-z]++"

Span = tuple[str, int, int]
"""A JSON column's name, and from where to where in the record its text lies."""


_NOTHING = re.compile(rb"(?!)")
_NO_SPANS: Sequence[Span] = ()


class RecordPattern:
    """Cuts records whose values nest at most ``levels`` deep; knows the JSON columns' names."""

    def __init__(self, json_columns: tuple[str, ...], levels: int) -> None:
        inner = _STRING
        for _ in range(levels):
            inner = (
                _STRING + rb"|[\[{]" + _OTHERS + rb"(?:(?:" + inner + b")" + _OTHERS + rb")*+[\]}]"
            )
        names = b"|".join(re.escape(name.encode()) for name in json_columns)
        stop = b'(?!"(?:' + names + b')")' if names else b""
        rest = _OTHERS + rb"(?:" + stop + rb"(?:" + inner + rb")" + _OTHERS + rb")*+"
        self._open = re.compile(rb"\{" + rest)
        self._rest = re.compile(rest)
        plain = _OTHERS + rb"(?:(?:" + inner + rb")" + _OTHERS + rb")*+"
        self._plain_row = re.compile(rb"\{" + plain + rb"\},(?=\{)")
        self._quoted = [b'"%b"' % name.encode() for name in json_columns]
        self._name = re.compile(rb'"(' + names + rb')"')
        self._value = re.compile(inner + b"|" + _SCALAR)

    def plain_match(self, buffer: bytes) -> Callable[[bytes, int], re.Match[bytes] | None]:
        """Return what matches a row with its comma, before another row.

        Where a JSON column stands anywhere in the buffer it matches nothing.
        """
        if any(name in buffer for name in self._quoted):
            return _NOTHING.match
        return self._plain_row.match

    def match(self, buffer: bytes, start: int) -> tuple[int, Sequence[Span]] | None:
        """Return the end of the record at ``start`` and its JSON spans, counted from ``start``.

        None where the pattern does not fit. Of a repeated key the last span counts, so the list
        may hold a name twice.
        """
        here = self._open.match(buffer, start)
        if here is None:
            return None
        index = here.end()
        if buffer[index : index + 1] == b"}":
            return index + 1, _NO_SPANS
        spans: list[Span] = []
        while buffer[index : index + 1] == b'"':
            name = self._name.match(buffer, index)
            if name is None:  # A string that does not end here.
                return None
            index = after_white_space(buffer, name.end())
            if buffer[index : index + 1] == b":":  # A key; else it is a value of that text.
                value = self._value.match(buffer, after_white_space(buffer, index + 1))
                if value is None:
                    return None
                index = value.end()
                spans.append((name[1].decode(), value.start() - start, index - start))
            rest = self._rest.match(buffer, index)
            if rest is None:
                return None
            index = rest.end()
        return (index + 1, spans) if buffer[index : index + 1] == b"}" else None


@lru_cache
def record_pattern(json_columns: tuple[str, ...], levels: int) -> RecordPattern:
    """Return the pattern for records with these JSON columns; compiled once."""
    return RecordPattern(json_columns, max(0, min(levels, _MAX_LEVELS)))
