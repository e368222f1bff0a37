"""Records that are split off, held by column until they become arrays."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final

from streamlic.decoder.scanner import PathStep

UNREAD: Final = object()
"""The row of a record that is split off, but neither parsed nor checked."""


class Records:
    """Consecutive records, by column.

    Each has its bytes, with unpaired surrogate escapes mended, and its row, or UNREAD. Positions
    are seldom needed: stored is only where each run starts, whose records a single comma separates.
    """

    __slots__ = ("_ends", "_runs", "rows", "size", "texts")

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.rows: list[Any] = []
        self.size = 0
        """The bytes of all records."""
        self._runs: list[tuple[int, int, PathStep]] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self.texts)

    def append(self, text: bytes, position: int, step: PathStep) -> None:
        """Add one record that is neither parsed nor checked."""
        self.append_run([text], [UNREAD], position, step)

    def append_run(
        self, texts: list[bytes], rows: list[Any], position: int, step: PathStep
    ) -> None:
        """Add records that a comma separates; the first began at ``position`` in the body.

        Its step is its index among the rows, or its key if the rows are an object.
        """
        self._runs.append((len(self.texts), position, step))
        self.texts += texts
        self.rows += rows
        self.size += sum(map(len, texts))

    def extend(self, others: Records) -> None:
        """Append the records of ``others``."""
        held = len(self)
        self._runs += [(held + first, position, step) for first, position, step in others._runs]
        self.texts += others.texts
        self.rows += others.rows
        self.size += others.size

    def between(self, start: int, stop: int) -> Records:
        """Return the records from ``start`` up to ``stop``."""
        some = Records()
        if start < stop:
            some.append_run(self.texts[start:stop], self.rows[start:stop], *self.place(start))
            runs = self._runs[self._run(start) + 1 : self._run(stop - 1) + 1]
            some._runs += [(first - start, position, step) for first, position, step in runs]
        return some

    def place(self, number: int) -> tuple[int, PathStep]:
        """Return a record's position in the body, and its step."""
        first, position, step = self._runs[self._run(number)]
        if number == first:
            return position, step
        ends, skipped = self.ends(), number - first
        size = ends[number - 1] - (ends[first - 1] if first else 0)
        return position + size + skipped, step + skipped  # type: ignore[operator]  # It is an index.

    def ends(self) -> list[int]:
        """Return for each record the number of bytes up to its end."""
        if len(self._ends) != len(self.texts):
            self._ends = list(accumulate(map(len, self.texts)))
        return self._ends

    def _run(self, number: int) -> int:
        return bisect_right(self._runs, number, key=itemgetter(0)) - 1
