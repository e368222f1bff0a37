"""Finds the end of a usual record at the speed of ``re``.

A pattern only finds the end: it pairs brackets and skips strings, up to a few levels deep, and
checks no grammar. ijson parses the record afterwards. Other records (partial, deep, not an object,
with control characters) are left to ``scanner``.
All quantifiers are possessive: the time is linear for any bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MAX_LEVELS = 6
_OTHERS = rb'[^\[\]{}"\x00-\x08\x0b\x0c\x0e-\x1f]*+'  # no bracket, no quote; ijson judges them
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_STRING = rb'"' + _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb')*+"'


class RecordPattern:
    """Finds the end of records whose values nest at most ``levels`` deep."""

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
        """Matches a record and its comma, if another record follows."""


@lru_cache
def record_pattern(levels: int) -> RecordPattern:
    """Return the pattern for records of this many levels, compiled once."""
    return RecordPattern(max(0, min(levels, _MAX_LEVELS)))
