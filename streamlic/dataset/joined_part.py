"""Part files that ended early, joined into one without encoding their rows again.

Rules:
1. The first file stays where it is. The bytes of each further one are copied to its end, and the
   one footer at the end lists the row groups of all.
2. Copied offset indexes are written again, because they hold offsets in the file. The old ones stay
   as bytes that nothing refers to: a few hundred for each row group.
3. The file lacks its footer until ``end`` or ``close``, which hands it over to the store.
4. Of two files that would be too large together, the larger one is closed, and the smaller one
   waits for more.
"""

from __future__ import annotations

from io import SEEK_END
from typing import BinaryIO

from streamlic.dataset.parquet_footer import MAGIC, TRAILER_BYTES, Footer, UnknownFooter
from streamlic.dataset.part_file import Part

_COPY_BYTES = 1 << 20
_MOST_JOINED = 1.25
"""How large a joined file may be, in ``part_bytes``."""


class JoinedParts:
    """Files of about ``part_bytes``, joined from part files that ended early.

    ``closed`` are handed over to the store. The others wait for more rows, until ``close``.
    """

    def __init__(self, part_bytes: int) -> None:
        self.closed: list[Part] = []
        self._part_bytes = part_bytes
        self._unfilled: list[JoinedPart] = []  # One at most, but while two are joined.

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(part.bytes for part in self.closed) + sum(part.bytes for part in self._unfilled)

    def add(self, part: Part) -> None:
        """End a part file, unless it has ended; join it with the one that waits if both fit."""
        new = JoinedPart(part)
        unfilled = [*self._unfilled]
        self._unfilled.append(new)  # At once, for ``discard``.
        part.end()
        for joined in unfilled:
            room = self._part_bytes * _MOST_JOINED - joined.bytes
            if new.bytes <= room and joined.append(part):
                self._unfilled.remove(new)
            else:
                self._close(max(joined, new, key=lambda one: one.bytes))
        for joined in [*self._unfilled]:
            if joined.bytes >= self._part_bytes:
                self._close(joined)

    def take(self, other: JoinedParts) -> None:
        """Take the files of another one; join those that wait. It has none then."""
        closed, other.closed = other.closed, []
        self.closed += closed
        while other._unfilled:
            other._unfilled[-1].end()
            self.add(other._unfilled.pop().part)

    def close(self) -> None:
        """Close the file that waits, too."""
        for joined in [*self._unfilled]:
            self._close(joined)

    def discard(self) -> None:
        """Delete all files."""
        parts = [*self.closed, *(joined.part for joined in self._unfilled)]
        self.closed, self._unfilled = [], []
        for part in parts:
            part.discard()

    def _close(self, joined: JoinedPart) -> None:
        self.closed.append(joined.close())
        self._unfilled.remove(joined)


class JoinedPart:
    """A part file that takes the row groups of others. It starts as ``first``, which has ended."""

    def __init__(self, first: Part) -> None:
        self.part = first
        self._footer: Footer | None = None
        self._end = 0
        """Where the next bytes go: the footer was read from here, or is not written yet."""

    @property
    def bytes(self) -> int:
        """The size of the file that ``close`` would leave."""
        if self._footer is None:
            return self.part.bytes
        return self._end + self._footer.size + TRAILER_BYTES

    def append(self, other: Part) -> bool:
        """Take the rows of another part, which has ended, and delete its file.

        Returns False, and does nothing, if the files cannot be joined.
        """
        with self.part.translated(), self.part.path.open("r+b") as target:
            try:
                if self._footer is None:
                    self._footer, self._end = _footer_of(target)
                with other.path.open("rb") as source:
                    self._end = _append(target, source, self._footer, self._end)
            except UnknownFooter:
                return False
        self.part.rows += other.rows
        other.discard()
        return True

    def end(self) -> None:
        """Write the footer, unless the file has it."""
        if self._footer is None:
            return
        footer = self._footer.to_bytes()
        with self.part.translated(), self.part.path.open("r+b") as target:
            target.seek(self._end)
            target.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
            target.truncate()
            self.part.bytes = target.tell()
        self._footer = None

    def close(self) -> Part:
        """Write the footer, and hand the file over to the store."""
        self.end()
        self.part.keep()
        return self.part


def _append(target: BinaryIO, source: BinaryIO, footer: Footer, end: int) -> int:
    """Copy a file to ``end`` of another one, whose footer takes its row groups; return the end."""
    other, size = _footer_of(source)

    def read(at: int, count: int) -> bytes:
        source.seek(at)
        return source.read(count)

    indexes = footer.join(other, end, read, end + size)
    target.seek(end)
    source.seek(0)
    left = size
    while left:
        copied = source.read(min(left, _COPY_BYTES))
        if not copied:
            raise OSError("the file ends too early")
        target.write(copied)
        left -= len(copied)
    target.write(indexes)
    return target.tell()


def _footer_of(file: BinaryIO) -> tuple[Footer, int]:
    """Return the footer of a Parquet file, and where it starts."""
    end = file.seek(-TRAILER_BYTES, SEEK_END)
    start = end - int.from_bytes(file.read(4), "little")
    file.seek(start)
    return Footer.parsed(file.read(end - start)), start
