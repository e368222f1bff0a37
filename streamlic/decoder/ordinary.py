"""Ordinary rows of an array, cut and parsed at once: a guess that ijson proves.

Rules:
1. Wherever ``},{`` stands, one row may end and the next begin. ijson reads the block in pieces cut
   there, and gives each row before it asks for more: the row ended in the piece read last. A cut
   inside a string, or an array of a row, is no end: no row came with its piece.
2. A row could end within a piece only before a row that is no object, or where the comma stands
   otherwise (``} , {``). The rows before such a place are taken, but for the last of them.
3. What ijson gets wrong, and what would cost it time or memory, does not reach it.
4. Nothing here finds fault with a body: what is not proved is left to be cut and judged exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import DecimalException
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from ijson.backends import yajl2_c
from ijson.common import JSONError

from streamlic.decoder.skeleton import nests_within, skeleton

MANY_DIGITS: Final = 300
"""From so many digits in a row on, a number is none for ijson."""

_CUT = re.compile(rb"\},(?=\{)")
_OTHER_CUT = re.compile(rb"\}(?!,\{)[ \t\r\n]*+,[ \t\r\n]*+\{")
_DIGIT = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_SAMPLED_BYTES: Final = 30


class OrdinaryRows(NamedTuple):
    """Rows that follow each other from a block's beginning, commas between them."""

    rows: list[dict[str, Any]]
    texts: list[bytes]
    ends: list[int]
    """Where each row's comma ends."""


class _Pieces:
    """What ijson takes for a file: each read gives one piece, in C (the size is no matter)."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        # ijson first reads nothing, to see that it gets bytes; the last piece is the file's end.
        left: Any = iter([b"", *pieces, b""])
        self.read = partial(next, left)
        self.count_left = left.__length_hint__


def ordinary_rows(block: bytes, levels: int) -> OrdinaryRows:
    """Return the rows from the beginning of ``block`` on that are surely whole, maybe none.

    The block begins with a row; no row may nest deeper than ``levels``.
    """
    other = _OTHER_CUT.search(block)
    end = block.rfind(b"},{", 0, other.start() if other else len(block))
    block = block[:end]
    if end == -1 or not _may_be_read(block) or not nests_within(skeleton(block), levels):
        return OrdinaryRows([], [], [])
    pieces = [piece + b"}," for piece in _CUT.split(block)]
    rows, counts = _read(pieces)
    if set(map(type, rows)) != {dict}:
        first = next((at for at, row in enumerate(rows) if type(row) is not dict), 0)
        rows, counts = rows[:first], counts[:first]
    edges = list(accumulate(map(len, pieces), initial=0))
    ends = [edges[count] for count in counts[:-1]]
    texts = [block[start : end - 1] for start, end in pairwise([0, *ends])]
    return OrdinaryRows(rows[:-1], texts, ends)


def has_many_digits(text: bytes) -> bool:
    """Return whether a number may be too long for ijson, which would end the whole process."""
    sampled = text[::_SAMPLED_BYTES].translate(_DIGIT)
    return b"0" * (
        MANY_DIGITS // _SAMPLED_BYTES
    ) in sampled and b"0" * MANY_DIGITS in text.translate(_DIGIT)


def _may_be_read(block: bytes) -> bool:
    """Return whether ijson is known to judge the block rightly: it takes some bytes for blanks."""
    is_strange = b"\0" in block or b"\x0b" in block or b"\x0c" in block
    return _IS_PROMPT and not is_strange and not has_many_digits(block)


def _read(pieces: Sequence[bytes]) -> tuple[list[Any], list[int]]:
    """Return the rows that come before the end, or the first fault, and the pieces each took."""
    file = _Pieces([b"[", *pieces])
    count_left, total = file.count_left, len(pieces) + 1
    rows: list[Any] = []
    counts: list[int] = []
    try:
        for row in yajl2_c.items(file, "item"):
            rows.append(row)
            counts.append(total - count_left())
    except (JSONError, ValueError, DecimalException):
        pass
    return rows, counts


_IS_PROMPT: Final = _read([b"{},", b"{},", b"{},"]) == ([{}, {}, {}], [1, 2, 3])
"""Rule 1 holds for this ijson. It is nothing that ijson promises."""
