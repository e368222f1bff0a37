"""What a page must not contradict, and what it must not go beyond.

It contradicts its own count of rows, or the page and the cursors before it. A server without end is
stopped by guards, which the caller sets.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import pyarrow as pa

from streamlic.decoder import Decoder, Envelope
from streamlic.errors import GuardExceeded, PageMismatch, UsageError
from streamlic.formatting import counted

_REMEMBERED_CURSORS = 20_000


def check_count(envelope: Envelope) -> None:
    """Raise PageMismatch where the page has another number of rows than it says.

    A keyed result may hold fewer: of records with the same key the server keeps one.
    """
    count = envelope.result_count
    rows = envelope.rows if envelope.counted_rows is None else envelope.counted_rows
    if count is None or rows == count or (envelope.is_keyed and rows < count):
        return
    raise PageMismatch(
        f"expected {counted(count, 'row')}, as the page's result_count says, got {rows:,}"
    )


@dataclass(frozen=True, kw_only=True)
class Guards:
    """The most that a server may send: pages and records of an account, bytes of one body.

    Bytes are those of JSON, after decompression. None is no bound.
    """

    max_pages: int = 1_000_000
    max_records: int | None = None
    max_body_bytes: int = 1 << 40

    def __post_init__(self) -> None:
        for name in ("max_pages", "max_records", "max_body_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                option = name.replace("_", "-")
                raise UsageError(f"expected 1 or more, got {value} (--{option})")

    def check_pages(self, pages: int) -> None:
        """Raise GuardExceeded where an account that goes on has had all its pages."""
        if pages >= self.max_pages:
            raise GuardExceeded(
                f"expected at most {counted(self.max_pages, 'page')} of the account, and there are "
                "more (--max-pages)"
            )

    def check_records(self, records: int) -> None:
        """Raise GuardExceeded where an account has too many records."""
        if self.max_records is not None and records > self.max_records:
            raise GuardExceeded(
                f"expected at most {counted(self.max_records, 'record')} of the account, and there "
                "are more (--max-records)"
            )

    async def bounded(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield a body's chunks; GuardExceeded where it is too long."""
        size = 0
        async with aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if size > self.max_body_bytes:
                    raise GuardExceeded(
                        f"expected a body of at most {self.max_body_bytes} bytes, and there are "
                        "more (--max-body-bytes)"
                    )
                yield chunk


class Watched:
    """A decoder that adds up the ids of a page: two pages of the same rows have the same sum.

    ``records`` are those of its account before it. ``next_link`` is by what, other than the body,
    a further page is named.
    """

    def __init__(
        self, decoder: Decoder, guards: Guards, records: int, *, next_link: str | None = None
    ) -> None:
        self._decoder = decoder
        self._guards = guards
        self._records = records
        self._next_link = next_link
        self._ids_crc32 = 0
        self.engine = decoder.engine

    @property
    def envelope(self) -> Envelope:
        """What the body said of itself, and the sum of its ids."""
        envelope = self._decoder.envelope
        return replace(
            envelope,
            ids_crc32=self._ids_crc32,
            next_link=envelope.next_link or self._next_link,
        )

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed and not read yet."""
        return self._decoder.held_bytes

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Take the next bytes; return the batches they filled."""
        return self._heard(self._decoder.feed(chunk))

    def close(self) -> list[pa.RecordBatch]:
        """Say that the body has ended; return what was left."""
        return self._heard(self._decoder.close())

    def _heard(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        for batch in batches:
            self._records += batch.num_rows
            self._guards.check_records(self._records)
            at = batch.schema.get_field_index("id")
            if at >= 0 and batch.num_rows:
                _, offsets, text = batch.column(at).buffers()
                size = memoryview(offsets).cast("i")[batch.num_rows]
                self._ids_crc32 = zlib.crc32(memoryview(text or b"")[:size], self._ids_crc32)
        return batches


class Repeats:
    """Notices a page that has the rows of the page before it, by their number and their ids.

    Of a page of one row that is not believed: some vendors' ids are not quite unique.
    """

    __slots__ = ("_before",)

    def __init__(self, before: tuple[int, int] = (0, 0)) -> None:
        self._before = before

    def check(self, envelope: Envelope) -> None:
        """Raise PageMismatch if the page that was decoded is the one before it."""
        page = (envelope.rows, envelope.ids_crc32)
        if envelope.ids_crc32 and envelope.rows > 1 and page == self._before:
            raise PageMismatch(
                f"expected the next page, got the same {envelope.rows} ids as on the page before; "
                "should it stay so, --restart begins anew"
            )
        self._before = page


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


class Cursors:
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
