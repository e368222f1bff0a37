"""Whose turn it is, of the accounts that wait for their next page. Pure.

Accounts stand in line by how far they have come: those of no page yet, of one, of two or three, of
four to seven, and so on; those whose pages are large have a line of their own, and may not be all
that is under way. The lines take turns. So a small account waits for others like it and for one
page of each other line, however huge the accounts in it; and the few that have come far go on as
fast as their own limits allow, for what they need longest is time.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
_LARGE = -1


class Turns(Generic[T]):
    """The lines, and which is next."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[T]] = {}
        self._next: deque[int] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waits: T, pages: int, *, is_large: bool = False) -> None:
        """Put at the end of its line who has had so many pages."""
        line = _LARGE if is_large else pages.bit_length()
        if not self._lines.get(line):
            self._lines[line] = deque()
            self._next.append(line)
        self._lines[line].append(waits)
        self._count += 1

    def take(self, *, has_room_for_large: bool = True) -> T | None:
        """Take who is next; None where nobody waits, or only large pages that have no room."""
        for _ in range(len(self._next)):
            line = self._next.popleft()
            if line == _LARGE and not has_room_for_large:
                self._next.append(line)
                continue
            taken = self._lines[line].popleft()
            if self._lines[line]:
                self._next.append(line)
            self._count -= 1
            return taken
        return None
