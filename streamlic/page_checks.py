"""What a page must not contradict: its own count of rows, and the cursors before it."""

from __future__ import annotations

from collections import OrderedDict

from streamlic.decoder import Envelope
from streamlic.errors import PageMismatch

_REMEMBERED_CURSORS = 20_000


def check_count(envelope: Envelope) -> None:
    """Raise PageMismatch where the page has another number of rows than it says.

    A keyed result may hold fewer: of records with the same key the server keeps one.
    """
    count = envelope.result_count
    if count is None or envelope.rows == count or (envelope.is_keyed and envelope.rows < count):
        return
    raise PageMismatch(
        f"expected {count} rows, as the page's result_count says, got {envelope.rows}"
    )


class Cursors:
    """Notices a cursor that comes again, in bounded memory: by the last ones, and by Brent's way.

    Brent's way keeps one cursor, renewed at every power of two, which any cycle meets in the end.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._kept: str | None = None
        self._count = 0

    def check(self, asked: str | None, following: str | None) -> None:
        """Raise PageMismatch if the page asked for by ``asked`` leads back to one before it."""
        if asked and hash(asked) not in self._recent:  # Else it is asked for again.
            self._recent[hash(asked)] = None
            if len(self._recent) > _REMEMBERED_CURSORS:
                self._recent.popitem(last=False)
            self._count += 1
            if self._count & (self._count - 1) == 0:
                self._kept = asked
        if following and (hash(following) in self._recent or following == self._kept):
            raise PageMismatch(
                "the API gave a cursor for the second time, so that its pages go round in a "
                f"circle; the cursor ends in {following[-12:]!r}"
            )
