"""Ordinary rows of an array, cut and parsed at once: a guess that ijson proves.

Rules:
1. Wherever ``},{`` stands with no bracket open, one row may end and the next begin. The comma there
   becomes a mark that yajl takes for white space between values, and nowhere within a string: if
   ijson then reads as many values as there are pieces, each piece is one row.
2. Nothing else is as many values: a mark within a string is an error, and so is a value that ends
   before one inside of an array or an object, for want of its comma.
3. Where all rows of a block begin alike, and nothing else does behind ``},``, those of the next
   blocks are taken to begin so, too, until they do not: the proof is the same, the way shorter.
4. What ijson gets wrong, and what would cost it time or memory, does not reach it. Brackets that
   are open at once are open in one piece: at a mark in the midst of a value ijson stops.
5. Nothing here finds fault with a body: what is not proved is left to be cut and judged exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import DecimalException
from io import BytesIO
from itertools import takewhile
from locale import localeconv
from typing import Any, Final, NamedTuple

from ijson.backends import yajl2_c
from ijson.common import JSONError

from streamlic.decoder.reference.brackets import cuts, nests_within, skeleton

MANY_DIGITS: Final = 300
"""From so many digits in a row on, a number is none for ijson."""

_MARK: Final = b"\x0b"
_CUT: Final = b"},{"
_MARKED_CUT: Final = b"}" + _MARK + b"{"
_DIGIT = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_SAMPLED_BYTES: Final = 30
_NO_OPENER: Final = bytes(byte for byte in range(256) if byte not in b"{[" + _MARK)
_WRONG_STARTS: Final = 3
"""So often how rows begin is learnt in vain, before it is left alone."""


ReadRows = Callable[[Iterable[Any]], list[Any]]
"""Makes a row of each parsed record as it comes: sooner than all of them are parsed."""


class OrdinaryRows(NamedTuple):
    """Rows that follow each other from a block's beginning, a comma behind each of them."""

    rows: list[Any]
    """What ``read`` made of each."""
    texts: list[bytes]


class RowCutter:
    """Cuts the ordinary rows of one body, and has ``read`` make rows of them.

    Numbers with a fraction or an exponent are read as floats, until one cannot be.
    """

    def __init__(self, read: ReadRows) -> None:
        self._read = read
        self._takes_floats = True
        self._start = b""
        """With which all rows of an earlier block began, and nothing else behind ``},`` did."""
        self._wrong_starts = 0

    def cut(self, block: bytes, levels: int) -> OrdinaryRows:
        """Return the rows from the beginning of ``block`` on that are surely whole, maybe none.

        The block begins with a row; no row may nest deeper than ``levels``.
        """
        end = block.rfind(_CUT) + 1
        if end and _IS_PROVEN and not has_many_digits(block) and not _is_strange(block):
            return self._cut_by_start(block, levels) or self._cut_by_brackets(block[:end], levels)
        return OrdinaryRows([], [])

    def _cut_by_start(self, block: bytes, levels: int) -> OrdinaryRows | None:
        """Return rows that begin as those of an earlier block did; None if they do not."""
        cut = b"}," + self._start
        end = block.rfind(cut) + 1 if self._start else 0
        if not end:
            return None
        marked = block[:end].replace(cut, b"}" + _MARK + self._start)
        if _opens_at_most(levels, marked):
            texts = marked.split(_MARK)
            try:
                rows = self._read(parsed(marked, use_float=self._may_use_floats()))
            except (JSONError, ValueError, DecimalException):
                rows = []
            if len(rows) == len(texts):
                return OrdinaryRows(rows, texts)
        self._start = b""
        self._wrong_starts += 1
        return None

    def _cut_by_brackets(self, block: bytes, levels: int) -> OrdinaryRows:
        marked = _marked(block, levels)
        texts = marked.split(_MARK) if marked else []
        try:
            rows = self._rows(marked)
        except (JSONError, ValueError, DecimalException):
            rows = []
        if not texts or len(rows) != len(texts):
            return OrdinaryRows([], [])
        if self._wrong_starts < _WRONG_STARTS:
            self._start = _common_start(marked, texts)
        return OrdinaryRows(rows, texts)

    def _may_use_floats(self) -> bool:
        return self._takes_floats and _point() == "."

    def _rows(self, marked: bytes) -> list[Any]:
        if self._may_use_floats():
            try:
                return self._read(parsed(marked, use_float=True))
            except JSONError:  # Most often an integer beyond 64 bits: such a body has many.
                self._takes_floats = False
        return self._read(parsed(marked))


def _point() -> str:
    """Return what the C library, by the locale of now, takes for the point in a float."""
    return str(localeconv()["decimal_point"])


def _is_strange(block: bytes) -> bool:
    """Return whether there are bytes that yajl takes for white space, or our own marks."""
    return b"\0" in block or b"\x0b" in block or b"\x0c" in block


def parsed(texts: bytes, *, use_float: bool = False) -> Iterator[Any]:
    """Yield what ijson reads, values with white space between; may raise whatever it raises.

    With ``use_float`` it reads faster, but neither integers of more than 64 bits nor huge floats.
    """
    # At once: of a string that ends in a later piece yajl reads all again with each piece.
    values: Iterator[Any] = yajl2_c.items(
        BytesIO(texts), "", multiple_values=True, use_float=use_float, buf_size=len(texts) + 1
    )
    return values


def has_many_digits(text: bytes) -> bool:
    """Return whether a number may be too long for ijson, which would end the whole process."""
    sampled = text[::_SAMPLED_BYTES].translate(_DIGIT)
    return b"0" * (
        MANY_DIGITS // _SAMPLED_BYTES
    ) in sampled and b"0" * MANY_DIGITS in text.translate(_DIGIT)


def _opens_at_most(levels: int, marked: bytes) -> bool:
    """Return whether between marks there are so few opening brackets, those in strings included."""
    return max(map(len, marked.translate(None, _NO_OPENER).split(_MARK))) <= levels


def _common_start(marked: bytes, texts: list[bytes]) -> bytes:
    """Return bytes with which these rows begin, and nothing else does behind a ``},``; or none.

    Best is the first key, as long as all that they have in common is seldom common for long.
    """
    lowest, highest = min(texts), max(texts)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(lowest, highest, strict=False))
    common = lowest[: sum(1 for _ in alike)].rstrip(b"0123456789")
    for start in (common[: common.find(b":") + 1], common):
        if start[:1] == b"{" and b"}," + start not in marked:
            return start
    return b""


def _marked(block: bytes, levels: int) -> bytes:
    """Return the block with marks where rows seem to end; nothing if they may nest too deep."""
    pieces = block.split(_CUT)
    bare = skeleton(b"\0".join(pieces)[1:-1])
    whole = bare.replace(b"[\0]", b"").replace(b"\0", b"}{")
    if not nests_within(b"{%b}" % whole, levels):
        return b""
    marks, is_whole = cuts(bare)
    if is_whole and b"\1" not in marks:
        return _MARKED_CUT.join(pieces)
    if not is_whole:
        last = marks.rfind(b"\0")
        if last == -1:
            return b""
        pieces[last:], marks = [pieces[last] + b"}"], marks[:last]
    parts = [_CUT] * (2 * len(pieces) - 1)
    parts[::2] = pieces
    parts[1::2] = [_CUT if is_within else _MARKED_CUT for is_within in marks]
    return b"".join(parts)


def _is_error(text: bytes) -> bool:
    try:
        list(parsed(text))
    except JSONError:
        return True
    return False


_IS_PROVEN: Final = (
    list(parsed(b"{}" + _MARK + b"{}")) == [{}, {}]
    and _is_error(b"{},{}")
    and _is_error(b'{"":"' + _MARK + b'"}')
    and _is_error(b"[{}" + _MARK + b"{}]")
    and _is_error(b'{"":{}' + _MARK + b"{}}")
)
"""The rules hold for this ijson, which promises nothing of the kind."""
