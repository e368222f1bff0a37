"""Checks of one page: against its own row count, the page before it, and the caller's limits."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pyarrow as pa

from streamlic.decoder import Decoder, Envelope
from streamlic.errors import PageMismatch
from streamlic.formatting import counted
from streamlic.job.limits import Limits


def check_count(envelope: Envelope) -> None:
    """Raise PageMismatch if the page has another number of rows than its ``result_count``.

    A keyed result may have fewer: the server keeps one of several records with the same key.
    """
    count = envelope.result_count
    rows = envelope.rows if envelope.counted_rows is None else envelope.counted_rows
    if count is None or rows == count or (envelope.is_keyed and rows < count):
        return
    raise PageMismatch(
        f"expected {counted(count, 'row')}, as the page's result_count says, got {rows:,}"
    )


class ChecksummingDecoder:
    """A decoder that computes a checksum of a page's ids, and counts the account's records.

    ``records`` is the account's count before this page. ``next_link`` is what names a further page
    besides the body.
    """

    def __init__(
        self, decoder: Decoder, limits: Limits, records: int, *, next_link: str | None = None
    ) -> None:
        self._decoder = decoder
        self._limits = limits
        self._records = records
        self._next_link = next_link
        self._ids_crc32 = 0
        self.engine = decoder.engine

    @property
    def envelope(self) -> Envelope:
        """The envelope of the body, with the checksum of its ids."""
        envelope = self._decoder.envelope
        return replace(
            envelope,
            ids_crc32=self._ids_crc32,
            next_link=envelope.next_link or self._next_link,
        )

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed and are not decoded yet."""
        return self._decoder.held_bytes

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Feed the next bytes; return the batches that they filled."""
        return self._update(self._decoder.feed(chunk))

    def close(self) -> list[pa.RecordBatch]:
        """End the body; return the last batches."""
        return self._update(self._decoder.close())

    def _update(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        for batch in batches:
            self._records += batch.num_rows
            self._limits.check_records(self._records)
            at = batch.schema.get_field_index("id")
            if at >= 0 and batch.num_rows:
                _, offsets, text = batch.column(at).buffers()
                size = memoryview(offsets).cast("i")[batch.num_rows]
                self._ids_crc32 = zlib.crc32(memoryview(text or b"")[:size], self._ids_crc32)
        return batches


class DuplicatePageDetector:
    """Detects a page with the same rows as the page before it, by their number and their ids.

    A page of one row is never a duplicate: some vendors' ids are not quite unique.
    """

    __slots__ = ("_before",)

    def __init__(self, before: tuple[int, int] = (0, 0)) -> None:
        self._before = before

    def check(self, envelope: Envelope) -> None:
        """Raise PageMismatch if this page has the rows of the page before it."""
        page = (envelope.rows, envelope.ids_crc32)
        if envelope.ids_crc32 and envelope.rows > 1 and page == self._before:
            raise PageMismatch(
                f"expected the next page, got the same {envelope.rows} ids as on the page before; "
                "if this happens again, fetch every page again",
                parameter="restart",
            )
        self._before = page
