"""Where an ordinary record ends, at the speed of ``re``.

A pattern only cuts: it takes brackets in pairs and strings as units, up to a few levels deep, and
checks no grammar inside. A record that it cuts is parsed by ijson afterwards. What it does not
cut (unfinished, deep, not an object, control characters) is left to ``strict``.
Possessive throughout: linear in time, whatever the bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MAX_LEVELS = 6
_OTHERS = rb'[^\[\]{}"\x00-\x08\x0b\x0c\x0e-\x1f]*+'  # no bracket, no quote; ijson judges them
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_STRING = rb'"' + _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb')*+"'


class RecordPattern:
    """Cuts records whose values nest at most ``levels`` deep."""

    def __init__(self, levels: int) -> None:
        inner = _STRING
        for _ in range(levels):
            inner = (
                _STRING + rb"|[\[{]" + _OTHERS + rb"(?:(?:" + inner + b")" + _OTHERS + rb")*+[\]}]"
            )
        record = rb"\{" + _OTHERS + rb"(?:(?:" + inner + b")" + _OTHERS + rb")*+\}"
        self.match = re.compile(record).match
        """Matches a record."""
        self.row_match = re.compile(record + rb",(?=\{)").match
        """Matches a record with its comma, before another."""


@lru_cache
def record_pattern(levels: int) -> RecordPattern:
    """Return the pattern for records with so many levels; compiled once."""
    return RecordPattern(max(0, min(levels, _MAX_LEVELS)))
