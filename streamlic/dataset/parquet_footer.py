"""The footer of a Parquet file, as bytes: joined with that of another file.

Rules:
1. A footer is a structure in Thrift's compact protocol. Offsets in the file, and counts of the
   whole file, are replaced. Every other byte is copied.
2. A footer with a field that is not listed here is refused with ``UnknownFooter``: the field may
   be an offset.

Sources: ``parquet.thrift`` of parquet-format 2.12, and Thrift's ``thrift-compact-protocol.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

MAGIC = b"PAR1"
TRAILER_BYTES = 8
"""What follows the footer in a file: its length, and the magic bytes."""
_MOST_ROW_GROUPS = 1 << 15  # A row group's ordinal has 16 bits.


class UnknownFooter(Exception):
    """A footer has a field that is not known here."""


_OFFSET, _INDEX_OFFSET, _INDEX_BYTES, _ORDINAL, _ROWS, _ROW_GROUPS = range(6)
"""The numbers that are replaced, and the list of row groups."""

# What is known of each structure: its fields by number. A field is a number that is replaced, a
# structure, a list of structures, or None: copied.
_Shape = dict[int, Any]
_COLUMN_META: _Shape = dict.fromkeys(range(1, 18)) | dict.fromkeys((9, 10, 11, 14), _OFFSET)
_COLUMN: _Shape = {
    1: None, 2: _OFFSET, 3: _COLUMN_META, 4: _INDEX_OFFSET, 5: _INDEX_BYTES, 6: _OFFSET, 7: None
}  # fmt: skip
_ROW_GROUP: _Shape = {1: [_COLUMN], 2: None, 3: None, 4: None, 5: _OFFSET, 6: None, 7: _ORDINAL}
_FOOTER: _Shape = {1: None, 2: None, 3: _ROWS, 4: _ROW_GROUPS, 5: None, 6: None, 7: None}
_OFFSET_INDEX: _Shape = {1: [{1: _OFFSET, 2: None, 3: None}], 2: None}

# Thrift's types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_VARINTS = (_I16, _I32, _I64)
_LONG_LIST = 15


class _Found(NamedTuple):
    """A number that may be replaced: which one, its bytes' place, and its value."""

    kind: int
    start: int
    end: int
    value: int


@dataclass
class Footer:
    """A footer in pieces. ``row_groups`` are the bytes of ``count`` structures."""

    before_rows: bytes
    rows: int
    before_list: bytes
    count: int
    row_groups: bytearray
    after: bytes

    @classmethod
    def parsed(cls, data: bytes) -> Footer:
        """Take a footer apart. Raises UnknownFooter."""
        walk = _Walk(data)
        walk.struct(_FOOTER)
        by_kind = {found.kind: found for found in walk.found}
        if by_kind.keys() != {_ROWS, _ROW_GROUPS}:
            raise UnknownFooter("it lacks its rows or row groups")
        rows, groups = by_kind[_ROWS], by_kind[_ROW_GROUPS]
        count, first = _list_header(data, groups.start)
        return cls(
            before_rows=data[: rows.start],
            rows=rows.value,
            before_list=data[rows.end : groups.start],
            count=count,
            row_groups=bytearray(data[first : groups.end]),
            after=data[groups.end :],
        )

    @property
    def size(self) -> int:
        """The bytes of the whole footer."""
        return sum(len(piece) for piece in self._pieces())

    def to_bytes(self) -> bytes:
        """Return the whole footer."""
        return b"".join(self._pieces())

    def _pieces(self) -> list[bytes | bytearray]:
        rows, header = _zigzag(self.rows), _list_of_structures(self.count)
        return [self.before_rows, rows, self.before_list, header, self.row_groups, self.after]

    def join(
        self, other: Footer, shift: int, read: Callable[[int, int], bytes], index_at: int
    ) -> bytes:
        """Take the row groups of another file of the same schema, whose bytes move by ``shift``.

        ``read`` returns bytes of the other file, by offset and size. Its offset indexes have
        offsets too: they are returned as they must be written at ``index_at``. Raises
        UnknownFooter, and is then as before.
        """
        if self.count + other.count > _MOST_ROW_GROUPS:
            raise UnknownFooter("it would have too many row groups")
        row_groups = bytes(other.row_groups)
        walk = _Walk(row_groups)
        moved, indexes = bytearray(), bytearray()
        for _ in range(other.count):  # Each for itself: the numbers of all take much memory.
            start, old_index_at = walk.at, 0
            walk.found.clear()
            walk.struct(_ROW_GROUP)
            numbers: list[tuple[_Found, int]] = []
            for found in walk.found:
                value = found.value
                if found.kind == _OFFSET:
                    value += shift if value else 0  # Zero is none.
                elif found.kind == _ORDINAL:
                    value += self.count
                elif found.kind == _INDEX_OFFSET:
                    old_index_at, value = value, index_at + len(indexes)
                else:
                    index = _moved_index(read(old_index_at, value), shift)
                    indexes += index
                    value = len(index)
                numbers.append((found, value))
            moved += _replaced(row_groups, numbers, start, walk.at)
        self.row_groups += moved
        self.rows += other.rows
        self.count += other.count
        return bytes(indexes)


def _moved_index(index: bytes, shift: int) -> bytes:
    walk = _Walk(index)
    walk.struct(_OFFSET_INDEX)
    return _replaced(index, [(found, found.value + shift) for found in walk.found], 0, len(index))


def _replaced(data: bytes, numbers: list[tuple[_Found, int]], start: int, end: int) -> bytes:
    pieces, at = [], start
    for found, value in numbers:
        pieces += [data[at : found.start], _zigzag(value)]
        at = found.end
    return b"".join([*pieces, data[at:end]])


class _Walk:
    """Finds numbers in structures, one structure after another."""

    def __init__(self, data: bytes) -> None:
        self.found: list[_Found] = []
        self._data = data
        self.at = 0

    def struct(self, shape: _Shape) -> None:
        """Read a structure of this shape."""
        data, field = self._data, 0
        while head := data[self.at]:
            self.at += 1
            kind = head & 15
            if not head >> 4:
                raise UnknownFooter("a field far from the one before it")
            field += head >> 4
            if field not in shape:
                raise UnknownFooter(f"field {field} is not known")
            known, start = shape[field], self.at
            if known is None:
                self.at = _skipped(data, start, kind)
            elif type(known) is int:
                self._number(known, kind)
            elif type(known) is dict:
                self.struct(known)
            else:
                size, self.at = _list_header(data, start)
                for _ in range(size):
                    self.struct(known[0])
        self.at += 1

    def _number(self, known: int, kind: int) -> None:
        start = self.at
        if known == _ROW_GROUPS:
            value, self.at = 0, _skipped(self._data, start, kind)
        elif kind in _VARINTS:
            number, self.at = _read_varint(self._data, start)
            value = number >> 1 ^ -(number & 1)
        else:
            raise UnknownFooter(f"expected a number, got type {kind}")
        self.found.append(_Found(known, start, self.at, value))


def _skipped(data: bytes, at: int, kind: int) -> int:
    """Return where a value ends that starts at ``at``."""
    if kind in _VARINTS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == _BINARY:
        size, at = _read_varint(data, at)
        return at + size
    if kind == _STRUCT:
        while head := data[at]:
            at = _skipped(data, at + 1 if head >> 4 else _read_varint(data, at + 1)[1], head & 15)
        return at + 1
    if kind in (_LIST, _SET):
        element = data[at] & 15
        size, at = _list_header(data, at)
        if element in (_TRUE, _FALSE, _BYTE):
            return at + size
        for _ in range(size):
            at = _skipped(data, at, element)
        return at
    if kind in (_TRUE, _FALSE):  # The field's type is the value.
        return at
    if kind in (_BYTE, _DOUBLE):
        return at + (1 if kind == _BYTE else 8)
    raise UnknownFooter(f"type {kind} is not known")


def _list_header(data: bytes, at: int) -> tuple[int, int]:
    """Return a list's size, and where its first element starts."""
    size = data[at] >> 4
    return _read_varint(data, at + 1) if size == _LONG_LIST else (size, at + 1)


def _list_of_structures(size: int) -> bytes:
    """Return the header of a list of so many structures."""
    short = min(size, _LONG_LIST)
    return bytes([short << 4 | _STRUCT]) + (_varint(size) if short == _LONG_LIST else b"")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 ^ value >> 63)
