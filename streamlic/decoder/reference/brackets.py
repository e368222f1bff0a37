"""What is left of JSON when all but brackets is taken away: enough to see how it nests.

Works on whole blocks at the speed of ``bytes.translate``. Strings, whatever they hold, leave
nothing; NUL, which no JSON has, is kept, so that many texts can be looked at in one. A NUL in a
string becomes ``[NUL]``: with a bracket open, it tells itself from one that stands between texts.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"\0')
_ESCAPE = re.compile(rb'\\["\\]')
"""What hides a quote, or what hides that. A run of backslashes always begins with an escape."""
_STRING = re.compile(rb'"[^"]*+"')
_MARKS = re.compile(rb"[\0\1]*+")
_LEVELS = 8
_group = rb"[\[{]\0*+[\]}]"
for _ in range(_LEVELS):
    _group = rb"[\[{](?:\0|" + _group + rb")*+[\]}]"
_GROUP = re.compile(rb"(" + _group + rb")")
_WITHIN = bytes.maketrans(b"\0", b"\1")


def skeleton(text: bytes) -> bytes:
    """Return the brackets outside of strings of a text that begins outside of a string.

    Of a text that is no JSON, that holds up to where it stops being any.
    """
    if b"\\" in text:
        text = _ESCAPE.sub(b"", text)
    # To take out two quotes side by side changes what is inside of strings for no other byte.
    bare = text.translate(None, _NOT_STRUCTURE).replace(b'""""', b"").replace(b'""', b"")
    return _STRING.sub(_marks_within, bare) if b'"' in bare else bare


def _marks_within(string: re.Match[bytes]) -> bytes:
    return b"[\0]" * string[0].count(b"\0")


def cuts(bare: bytes) -> tuple[bytes, bool]:
    """Return a byte for each NUL of a skeleton: 0 for one outside of brackets, 1 for one within.

    And whether that is all: they end before the first bracket that has no other, or nests too deep.
    """
    length = 0
    while length != len(bare):
        length = len(bare)
        bare = bare.replace(b"{}", b"").replace(b"[]", b"")
    parts = _GROUP.split(bare)
    parts[1::2] = [group.translate(_WITHIN, b"{}[]") for group in parts[1::2]]
    all_marks = b"".join(parts)
    marks = _MARKS.match(all_marks)[0]  # type: ignore[index]  # It always matches.
    return marks, len(marks) == len(all_marks)


def nests_within(bare: bytes, levels: int) -> bool:
    """Return whether a skeleton surely never has more than ``levels`` brackets open at once.

    Of brackets that are open at once, each replacement takes away one at the most.
    """
    replacements = 0
    while replacements + len(bare) > levels:
        shorter = bare.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(bare):
            return False
        bare, replacements = shorter, replacements + 2
        if replacements > levels:
            return False
    return True


def is_one_unit(bare: bytes) -> bool:
    """Return whether a skeleton is one pair of brackets with all else between."""
    depth = 0
    for place, byte in enumerate(bare, start=1):
        depth += 1 if byte in b"{[" else -1
        if depth == 0:
            return place == len(bare)
    return False
