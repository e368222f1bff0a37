"""An object as a file: read piece by piece, at any position."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 4 << 20
_MOST_BYTES = 8 << 20
"""The longest piece: it is in memory twice, for an instant."""

ReadRange = Callable[[int, int], memoryview]
"""Returns the bytes from a start to an end."""


class RangeReader(io.RawIOBase):
    """A file whose pieces ``read`` gets. Wrap it in a BufferedReader: each piece is a request."""

    def __init__(self, read: ReadRange, size: int) -> None:
        self._read = read
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which may be past the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"expected a position from 0, got {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes, as many as one request may return."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), _MOST_BYTES, self._size - self._position))
        if count:
            target[:count] = self._read(self._position, self._position + count)
            self._position += count
        return count


def buffered(read: ReadRange, size: int) -> io.BufferedReader:
    """Return a file of ``size`` bytes whose pieces ``read`` gets."""
    return io.BufferedReader(RangeReader(read, size), BUFFER_BYTES)
