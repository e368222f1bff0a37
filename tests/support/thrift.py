"""Thrift's compact protocol, read into dictionaries: a second reader of Parquet's footers."""

from __future__ import annotations

import io
import struct
from typing import Any

Struct = dict[int, Any]


def read_struct(data: bytes) -> Struct:
    """Return a structure's fields by number; it takes all of ``data``."""
    file = io.BytesIO(data)
    fields = _struct(file)
    assert not file.read(), "bytes after the structure"
    return fields


def read_footer(data: bytes) -> Struct:
    """Return the footer of a Parquet file."""
    assert data[:4] == data[-4:] == b"PAR1"
    [size] = struct.unpack("<I", data[-8:-4])
    return read_struct(data[-8 - size : -8])


def write_varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + write_varint(rest) if rest else bytes([low])


def _struct(file: io.BytesIO) -> Struct:
    fields: Struct = {}
    number = 0
    while head := file.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _signed(file)
        fields[number] = head & 15 == 1 if head & 15 in (1, 2) else _value(file, head & 15)
    return fields


def _value(file: io.BytesIO, kind: int) -> Any:
    match kind:
        case 1 | 2:
            return file.read(1) == b"\1"
        case 3:
            return file.read(1)[0]
        case 4 | 5 | 6:
            return _signed(file)
        case 7:
            return struct.unpack("<d", file.read(8))[0]
        case 8:
            return file.read(_unsigned(file))
        case 9 | 10:
            [head] = file.read(1)
            size = head >> 4 if head >> 4 < 15 else _unsigned(file)
            return [_value(file, head & 15) for _ in range(size)]
        case 12:
            return _struct(file)
        case _:
            raise AssertionError(f"type {kind}")


def _unsigned(file: io.BytesIO) -> int:
    [byte] = file.read(1)
    return byte if byte < 128 else byte - 128 + (_unsigned(file) << 7)


def _signed(file: io.BytesIO) -> int:
    number = _unsigned(file)
    return -(number + 1) // 2 if number % 2 else number // 2
