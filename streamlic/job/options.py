"""How a job decodes and writes, whatever its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlic.dataset.writer import WriteOptions
from streamlic.decoder import Decoder, engine_named, open_decoder
from streamlic.errors import UsageError
from streamlic.job.settings import JobSettings
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import RAW_SCHEMA
from streamlic.system.machine import MIN_MEMORY_BYTES
from streamlic.tables.carry_over import ABSENT_ACCOUNTS
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT

_MIB = 1 << 20
_PAGE_BYTES = 4 * _MIB
_LARGE_PAGE_BYTES = 64 * _MIB
_MOST_LARGE = 8
_COMFORTABLE_BYTES = 116 * _MIB
_MOST_PAGES = TOKEN_RATE_LIMIT.requests
_BASE_BYTES = 96 * _MIB  # Python with Arrow, and a small export.
_COPIES = {"fast": 12, "reference": 36}
_MOST_RECORD_BYTES = 64 * _MIB
_SMALL_BODY_BYTES = 128 * 1024
_MOST_BATCH_BYTES = 64 * _MIB  # More makes nothing faster.
_READ_BUFFER_BYTES = 256 * 1024


def default_record_bytes(memory_bytes: int, engine: str) -> int:
    """Return the most that one record may take where nothing else is said.

    With the fast engine a twelfth of what is left beside Python and Arrow: up to four copies of a
    record are in use at once, as it came and in columns; or in columns, in a Parquet page and in
    that page compressed. The allocators keep as much again for a time, and of each further page a
    part waits. With the reference engine a third of that: it holds the record as Python objects,
    up to 36 bytes for each byte of JSON.
    """
    return min((memory_bytes - _BASE_BYTES) // _COPIES[engine], _MOST_RECORD_BYTES)


@dataclass(frozen=True, kw_only=True)
class JobOptions(JobSettings):
    """How a job decodes and writes, whatever its source.

    ``concurrency`` is how many pages may be under way at once, each of another account; by default
    as many as memory allows. ``skip_failed`` ends a run though accounts failed.
    ``absent_accounts`` says what ``mode`` "overwrite" does with the rows of accounts that were not
    read: "keep" carries them over, "drop" lets them go.
    ``limits`` bound what a server may send.
    ``max_record_bytes`` bounds one record; by default it follows ``memory_bytes`` and the engine.
    ``memory_bytes`` is the whole process's aim: by default 256 MiB, or three quarters of the
    container's limit where that is less, but at least 128 MiB. Row groups, held pages, pages under
    way and the queues between network, decoding and encoding take their shares of it.
    """

    def __post_init__(self) -> None:
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise UsageError(
                f"expected at least {MIN_MEMORY_BYTES >> 20}MiB of memory, "
                f"got {self.memory_bytes >> 20}MiB (--memory)"
            )
        if self.concurrency is not None and not 1 <= self.concurrency <= _MOST_PAGES:
            raise UsageError(f"expected 1 to {_MOST_PAGES}, got {self.concurrency} (--concurrency)")
        if not self.commit_seconds >= 0:  # Nor is it no number at all.
            raise UsageError(f"expected 0 or more, got {self.commit_seconds} (--commit-seconds)")
        if self.absent_accounts not in ABSENT_ACCOUNTS:
            raise UsageError(
                f"expected one of {', '.join(ABSENT_ACCOUNTS)}, got {self.absent_accounts!r} "
                "(--absent-accounts)"
            )
        engine_named(self.engine)
        _ = self.write_options
        self.open_decoder()

    @property
    def carries_over(self) -> bool:
        """Whether an overwriting run keeps the rows of accounts that it does not read."""
        return self.absent_accounts == "keep"

    @property
    def carried_batch_bytes(self) -> int:
        """The bytes of a batch of rows that are carried over."""
        return self.memory_bytes // 128

    @property
    def schema(self) -> pa.Schema:
        """What the decoder yields."""
        return RAW_SCHEMA if self.raw else LICENSE_SCHEMA

    @property
    def write_options(self) -> WriteOptions:
        """How part files are written within the memory given."""
        return WriteOptions(
            part_bytes=self.part_bytes,
            row_group_bytes=self.memory_bytes // 16,
            page_row_group_bytes=self.memory_bytes // 16,
            page_buffer_bytes=self.memory_bytes // 32,
            compression=self.compression,
        )

    @property
    def record_bytes(self) -> int:
        """The most that one record may take: what was given, or what memory and engine allow."""
        if self.max_record_bytes is not None:
            return self.max_record_bytes
        return default_record_bytes(self.memory_bytes, engine_named(self.engine))

    @property
    def large_record_bytes(self) -> int:
        """The size from which on a record waits until no other page has one as large."""
        return self.memory_bytes // 64

    @property
    def chunk_queue_bytes(self) -> int:
        """The bytes of chunks that may wait to be decoded; as many again are being decoded."""
        return self.memory_bytes // 256

    def pages_at_once(self, accounts: int) -> int:
        """Return how many pages may be under way at once, of so many accounts."""
        most = self.concurrency or min(self.memory_bytes // _PAGE_BYTES, _MOST_PAGES)
        return max(min(most, accounts), 1)

    def large_pages_at_once(self, accounts: int) -> int:
        """Return how many large pages are decoded at once: each is held, or gathers row groups."""
        room = self.memory_bytes - MIN_MEMORY_BYTES // 2
        return max(min(room // _LARGE_PAGE_BYTES, self.pages_at_once(accounts), _MOST_LARGE), 1)

    def small_body_bytes(self, accounts: int) -> int:
        """Return up to what size a body waits in memory to be whole before it is decoded."""
        return min(_SMALL_BODY_BYTES, self.memory_bytes // 16 // self.pages_at_once(accounts))

    def read_buffer_bytes(self, accounts: int) -> int:
        """Return how much of each page may wait to be read; twice as much may have come."""
        return min(_READ_BUFFER_BYTES, self.memory_bytes // 32 // self.pages_at_once(accounts))

    @property
    def batch_queue_bytes(self) -> int:
        """The bytes of record batches that may wait to be encoded.

        Up to a row group's, as there is memory: so one is decoded while another is encoded. Less
        where Python and Arrow need most.
        """
        room = (self.memory_bytes - _COMFORTABLE_BYTES) // 12
        return min(max(room, self.memory_bytes // 128), self.memory_bytes // 16)

    def open_decoder(self, *, ndjson: bool = False, key_by: str | None = None) -> Decoder:
        """Open a decoder for one body; ``key_by`` is the field by which its rows are keyed."""
        return open_decoder(
            self.schema,
            engine=self.engine,
            rows_at=self.rows_at,
            ndjson=ndjson if self.ndjson is None else self.ndjson,
            key_by=key_by,
            strict=self.strict,
            batch_bytes=min(self.memory_bytes // 128, _MOST_BATCH_BYTES),
            max_record_bytes=self.record_bytes,
            max_depth=self.max_depth,
        )

    def settings(self) -> dict[str, Any]:
        """Return what decides how a run ends; another process may go on with other settings."""
        return {"skip_failed": self.skip_failed, "absent_accounts": self.absent_accounts}

    def identity(self) -> dict[str, Any]:
        """Return what makes the rows what they are, for the run's request."""
        return {"rows_at": self.rows_at, "ndjson": self.ndjson, "raw": self.raw}
