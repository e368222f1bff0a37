"""Notices pages that lead round in a circle."""

from __future__ import annotations

from collections import OrderedDict

from streamlic.errors import PageMismatch

_REMEMBERED_CURSORS = 20_000


class RecentCursors:
    """The last cursors of all accounts, in bounded memory."""

    def __init__(self, most: int = _REMEMBERED_CURSORS) -> None:
        self._most = most
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def has(self, account: str | None, cursor: str) -> bool:
        """Return whether an account's cursor is remembered."""
        return hash((account, cursor)) in self._hashes

    def add(self, account: str | None, cursor: str) -> None:
        """Remember an account's cursor; the oldest of all may be forgotten for it."""
        self._hashes[hash((account, cursor))] = None
        if len(self._hashes) > self._most:
            self._hashes.popitem(last=False)


class CursorLoopDetector:
    """Notices an account's cursor that comes again: by the last ones of all, and by Brent's way.

    Brent's way keeps one cursor, renewed at every power of two, which any cycle meets in the end.
    """

    __slots__ = ("_account", "_count", "_kept", "_recent")

    def __init__(self, recent: RecentCursors | None = None, account: str | None = None) -> None:
        self._recent = recent or RecentCursors()
        self._account = account
        self._kept: str | None = None
        self._count = 0

    def check(self, asked: str | None, following: str | None) -> None:
        """Raise PageMismatch if the page asked for by ``asked`` leads back to one before it."""
        if asked and not self._recent.has(self._account, asked):  # Else it is asked for again.
            self._recent.add(self._account, asked)
            self._count += 1
            if self._count & (self._count - 1) == 0:
                self._kept = asked
        if following and (self._recent.has(self._account, following) or following == self._kept):
            raise PageMismatch(
                "the API gave a cursor for the second time, so that its pages go round in a "
                f"circle; the cursor ends in {following[-12:]!r}"
            )
