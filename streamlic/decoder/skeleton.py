"""What is left of JSON when all but brackets is taken away: enough to see how it nests.

Works on whole blocks at the speed of ``bytes.translate``. Strings, whatever they hold, leave
nothing; NUL, which no JSON has, is kept, so that many texts can be looked at in one.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"\0')
_ESCAPE = re.compile(rb'\\["\\]')
"""What hides a quote, or what hides that. A run of backslashes always begins with an escape."""
_STRING = re.compile(rb'"[^"]*+"')


def skeleton(text: bytes) -> bytes:
    """Return the brackets outside of strings of a text that begins outside of a string.

    Of a text that is no JSON, that holds up to where it stops being any.
    """
    if b"\\" in text:
        text = _ESCAPE.sub(b"", text)
    # To take out two quotes side by side changes what is inside of strings for no other byte.
    bare = text.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    return _STRING.sub(b"", bare) if b'"' in bare else bare


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
