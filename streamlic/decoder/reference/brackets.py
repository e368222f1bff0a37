"""The brackets of a JSON text without everything else: enough to see how the text nests.

Works on whole blocks at the speed of ``bytes.translate``. Strings are removed with their content.
NUL, which JSON never contains, is kept as a separator, so that one call handles many texts. A NUL
inside a string becomes ``[NUL]``: the open bracket distinguishes it from a separator.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"\0')
_ESCAPE = re.compile(rb'\\["\\]')
"""An escaped quote or backslash. Matched from the left, a run of backslashes pairs up."""
_STRING = re.compile(rb'"[^"]*+"')
_MARKS = re.compile(rb"[\0\1]*+")
_LEVELS = 8
_group = rb"[\[{]\0*+[\]}]"
for _ in range(_LEVELS):
    _group = rb"[\[{](?:\0|" + _group + rb")*+[\]}]"
_GROUP = re.compile(rb"(" + _group + rb")")
_WITHIN = bytes.maketrans(b"\0", b"\1")


def brackets_of(text: bytes) -> bytes:
    """Return the brackets outside of strings of a text that begins outside of a string.

    In invalid JSON the result is right up to the first invalid byte.
    """
    if b"\\" in text:
        text = _ESCAPE.sub(b"", text)
    # Removing two adjacent quotes does not change which other bytes are inside strings.
    brackets = text.translate(None, _NOT_STRUCTURE).replace(b'""""', b"").replace(b'""', b"")
    return _STRING.sub(_marks_within, brackets) if b'"' in brackets else brackets


def _marks_within(string: re.Match[bytes]) -> bytes:
    return b"[\0]" * string[0].count(b"\0")


def split_marks(brackets: bytes) -> tuple[bytes, bool]:
    """Return a byte for each NUL: 0 outside of brackets, 1 inside; and whether these are all NULs.

    They end before the first bracket that has no partner, or that nests too deep.
    """
    length = 0
    while length != len(brackets):
        length = len(brackets)
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    parts = _GROUP.split(brackets)
    parts[1::2] = [group.translate(_WITHIN, b"{}[]") for group in parts[1::2]]
    all_marks = b"".join(parts)
    marks = _MARKS.match(all_marks)[0]  # type: ignore[index]  # It always matches.
    return marks, len(marks) == len(all_marks)


def nests_within(brackets: bytes, levels: int) -> bool:
    """Return whether certainly no more than ``levels`` brackets are open at once.

    Each replacement removes at most one of the brackets that are open at the same time.
    """
    replacements = 0
    while replacements + len(brackets) > levels:
        shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return False
        brackets, replacements = shorter, replacements + 2
        if replacements > levels:
            return False
    return True


def is_one_unit(brackets: bytes) -> bool:
    """Return whether one outer pair of brackets encloses all others."""
    depth = 0
    for place, byte in enumerate(brackets, start=1):
        depth += 1 if byte in b"{[" else -1
        if depth == 0:
            return place == len(brackets)
    return False
