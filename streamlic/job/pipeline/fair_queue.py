"""A fair queue of the accounts that wait for their next page. Pure.

Accounts wait in lines by the number of pages they have: none, one, two or three, four to seven, and
so on. Accounts with large pages have a line of their own, and may not take every place. The lines
take turns. A small account thus waits for its equals and for one page of each other line, however
large the accounts in it. The few accounts that have come far proceed as fast as their rate limit
allows, because time is what they need most.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
_LARGE = -1


class FairQueue(Generic[T]):
    """Lines of waiting items, which take turns."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[T]] = {}
        self._next: deque[int] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: T, pages: int, *, is_large: bool = False) -> None:
        """Add an item to the end of the line for accounts with so many pages."""
        line = _LARGE if is_large else pages.bit_length()
        if not self._lines.get(line):
            self._lines[line] = deque()
            self._next.append(line)
        self._lines[line].append(item)
        self._count += 1

    def pop(self, *, has_room_for_large: bool = True) -> T | None:
        """Remove and return the next item; None if there is none, or no room for the large ones."""
        for _ in range(len(self._next)):
            line = self._next.popleft()
            if line == _LARGE and not has_room_for_large:
                self._next.append(line)
                continue
            item = self._lines[line].popleft()
            if self._lines[line]:
                self._next.append(line)
            self._count -= 1
            return item
        return None
