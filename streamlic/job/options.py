"""How a job decodes and writes, whatever its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.records import WantedFormat
from streamlic.dataset.writer import WriteOptions
from streamlic.decoder import Decoder, engine_named, open_decoder
from streamlic.errors import UsageError
from streamlic.job.limits import MostAbsent
from streamlic.job.settings import JobSettings
from streamlic.resources.licenses import LICENSES
from streamlic.schema.columns import RAW_SCHEMA
from streamlic.share import Share
from streamlic.storage.base import Store
from streamlic.storage.dest_urls import is_url
from streamlic.storage.open_store import StoreSettings, open_store
from streamlic.system.machine import MIN_MEMORY_BYTES
from streamlic.tables.kept_accounts import ABSENT_ACCOUNTS
from streamlic.tables.table_options import check_table_options, format_for, needs_lake
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT
from streamlic.validation import check_text

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
# A footer may have one row group for each of these bytes: at up to 60 kB, 1.5 % of the memory.
_MEMORY_OF_ROW_GROUP = 4 << 20
_READ_BUFFER_BYTES = 256 * 1024
_MOST_KEY_CHARACTERS = 200
MOST_OBJECT_BYTES = 3 << 30
"""The largest ``part_bytes`` in an object store: S3 copies 5 GiB, and some files become larger."""
_MOST_UPLOAD_BYTES = 64 * _MIB  # More makes nothing faster.


def check_run_key(key: str) -> None:
    """Raise UsageError for a run key that is empty, long, or not valid Unicode on one line."""
    check_text(key, "run_key")
    if not key.isprintable() or not 1 <= len(key) <= _MOST_KEY_CHARACTERS:
        raise UsageError(
            f"expected 1 to {_MOST_KEY_CHARACTERS} printable characters, got {key[:50]!r}",
            parameter="run_key",
        )


def default_record_bytes(memory_bytes: int, engine: str) -> int:
    """Return the default of ``max_record_bytes``.

    With the fast engine it is a twelfth of the memory that Python and Arrow leave. Up to four
    copies of a record exist at once: as JSON and in columns, or in columns, in a Parquet page and
    in that page compressed. The allocators keep as much again for a time, and each further page has
    a part of it queued. With the reference engine it is a third of that: it holds a record as
    Python objects, up to 36 bytes for each byte of JSON.
    """
    return min((memory_bytes - _BASE_BYTES) // _COPIES[engine], _MOST_RECORD_BYTES)


@dataclass(frozen=True, kw_only=True)
class JobOptions(JobSettings):
    """How a job decodes and writes, whatever its source.

    ``concurrency`` is how many pages may be requested at once, each of another account; by default
    as many as memory allows. ``skip_failed`` completes a run without the accounts that failed.
    ``absent_accounts`` says what a run that replaces others does with the rows of accounts that
    were not read: "keep" carries them over, "drop" removes them. Such are ``mode`` "overwrite", and
    another run of a day that has a partition.
    ``max_absent`` is how many accounts may be skipped or fail, as a number or a percentage such as
    "5%": with more a run is not completed, so that nothing is published and nothing replaced.
    ``publish`` says when readers see a run's rows: when it is "complete", or as it "commits".
    ``run_key`` names the run, so that a job may be repeated: a run with this key that is complete
    is not repeated, and one that is unfinished is resumed.
    ``shard`` is the share of the accounts that this process reads, such as "2/4", of a run that
    others read, too: it needs a ``run_key``, and the run is complete when all shards are.
    ``account_details`` requests the integration and the tenant of each account of which they are
    not known: one request an account.
    ``format`` is how readers see the tables of a new lake: "parquet" (the default), "delta" or
    "iceberg". ``partition_by`` "export_date" gives each day's licenses a partition of their own,
    which a later run of that day replaces; "none" asks for none. ``catalog`` is the name of the
    Iceberg catalog, and after a dot that of the namespace. A lake that exists keeps all three: what
    is given must be the same.
    ``scratch`` is the local directory for part files that are not yet in the object store, by
    default the system's temporary one. ``take_over`` takes the lake from another writer at once.
    ``limits`` bounds what a server may send.
    ``max_record_bytes`` bounds one record; its default depends on ``memory_bytes`` and the engine.
    ``memory_bytes`` is the target of the whole process: by default 256 MiB, or three quarters of
    the container's limit if that is less, but at least 128 MiB. Row groups, buffered pages, pages
    in progress and the queues between network, decoding and encoding each get a share of it.
    """

    def __post_init__(self) -> None:
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise UsageError(
                f"expected at least {MIN_MEMORY_BYTES >> 20}MiB of memory, "
                f"got {self.memory_bytes >> 20}MiB",
                parameter="memory_bytes",
            )
        if self.concurrency is not None and not 1 <= self.concurrency <= _MOST_PAGES:
            raise UsageError(
                f"expected 1 to {_MOST_PAGES}, got {self.concurrency}", parameter="concurrency"
            )
        if not self.commit_seconds >= 0:  # False for NaN, too.
            raise UsageError(
                f"expected 0 or more, got {self.commit_seconds}", parameter="commit_seconds"
            )
        if self.absent_accounts not in ABSENT_ACCOUNTS:
            raise UsageError(
                f"expected one of {', '.join(ABSENT_ACCOUNTS)}, got {self.absent_accounts!r}",
                parameter="absent_accounts",
            )
        if self.run_key is not None:
            check_run_key(self.run_key)
        if self.own_shard:
            self._check_shard()
        check_table_options(self.table_format, memory_bytes=self.memory_bytes)
        _ = self.most_absent
        engine_named(self.engine)
        _ = self.write_options
        self.open_decoder()

    @property
    def most_absent(self) -> MostAbsent | None:
        """How many accounts may be skipped or fail; None is any number."""
        return None if self.max_absent is None else MostAbsent(str(self.max_absent))

    @property
    def own_shard(self) -> Share | None:
        """The share of the accounts that this process reads; None is all of them."""
        return Share.parse(self.shard, "shard") if isinstance(self.shard, str) else self.shard

    @property
    def carries_over(self) -> bool:
        """Whether an overwriting run keeps the rows of accounts that it does not read."""
        return self.absent_accounts == "keep"

    @property
    def carried_batch_bytes(self) -> int:
        """The size of a batch of rows that are carried over."""
        return self.memory_bytes // 128

    @property
    def schema(self) -> pa.Schema:
        """The schema of the decoder's batches."""
        return RAW_SCHEMA if self.raw else LICENSES.schema

    @property
    def write_options(self) -> WriteOptions:
        """How part files are written within ``memory_bytes``."""
        return WriteOptions(
            part_bytes=self.part_bytes,
            row_group_bytes=self.memory_bytes // 20,
            page_row_group_bytes=self.memory_bytes // 20,
            page_buffer_bytes=self.memory_bytes // 32 // self._engine_share,
            row_groups_at_once=self.memory_bytes // _MEMORY_OF_ROW_GROUP,
            compression=self.compression,
            long_text_columns=LICENSES.long_text_columns,
            unique_columns=LICENSES.unique_columns,
        )

    @property
    def _engine_share(self) -> int:
        """By how much smaller batches and held pages are with the engine: 2 for the reference one.

        It holds a batch as Python objects, too.
        """
        return 2 if engine_named(self.engine) == "reference" else 1

    @property
    def record_bytes(self) -> int:
        """The maximum size of one record: as given, or as memory and engine allow."""
        if self.max_record_bytes is not None:
            return self.max_record_bytes
        return default_record_bytes(self.memory_bytes, engine_named(self.engine))

    @property
    def large_record_bytes(self) -> int:
        """A larger record waits until no other page has one that large."""
        return self.memory_bytes // 64

    @property
    def chunk_queue_bytes(self) -> int:
        """The size of the queue of chunks before decoding. As many again are in decoding."""
        return self.memory_bytes // 256

    @property
    def table_format(self) -> WantedFormat:
        """What was asked of the lake's format."""
        return WantedFormat(name=self.format, partition_by=self.partition_by, catalog=self.catalog)

    @property
    def _upload_bytes(self) -> int:
        """A share of what Python and Arrow leave, and at least what three small chunks take."""
        return max((self.memory_bytes - _BASE_BYTES) * 3 // 10, self.memory_bytes // 8)

    @property
    def store_settings(self) -> StoreSettings:
        """How an object store is used within ``memory_bytes``."""
        return StoreSettings(
            scratch=self.scratch,
            upload_bytes=min(self._upload_bytes, _MOST_UPLOAD_BYTES),
            takes_over=self.take_over,
        )

    def scratch_bytes(self, accounts: int) -> int:
        """Return how much room in scratch a run of so many accounts takes at most.

        A part file of small pages, one of each large page, and one that is being uploaded.
        """
        return (self.large_pages_at_once(accounts) + 2) * self.part_bytes

    def open_store(self, dest: str) -> Store:
        """Open the store of ``dest``; UsageError if there can be none, or options do not fit it."""
        if self.take_over and not is_url(dest):
            raise UsageError(
                "a lake on a local disk needs no takeover: its lock ends with the writer's process",
                parameter="take_over",
            )
        if is_url(dest) and self.part_bytes > MOST_OBJECT_BYTES:
            raise UsageError(
                f"expected at most {MOST_OBJECT_BYTES >> 30}GiB for {dest}, "
                f"got {self.part_bytes / (1 << 30):.4g}GiB: object stores copy no larger file in "
                "one request",
                parameter="part_bytes",
            )
        store = open_store(dest, self.store_settings)
        if needs_lake(self.table_format):
            format_for(store.where(), self.table_format, load_lake(store).format)
        return store

    def pages_at_once(self, accounts: int) -> int:
        """Return how many pages of so many accounts may be requested at once."""
        most = self.concurrency or min(self.memory_bytes // _PAGE_BYTES, _MOST_PAGES)
        return max(min(most, accounts), 1)

    def large_pages_at_once(self, accounts: int) -> int:
        """Return how many large pages are decoded at once. Each has buffers of its own."""
        room = self.memory_bytes - MIN_MEMORY_BYTES // 2
        return max(min(room // _LARGE_PAGE_BYTES, self.pages_at_once(accounts), _MOST_LARGE), 1)

    def small_body_bytes(self, accounts: int) -> int:
        """Return the maximum size of a small page: its whole body is read before it is decoded."""
        return min(_SMALL_BODY_BYTES, self.memory_bytes // 16 // self.pages_at_once(accounts))

    def read_buffer_bytes(self, accounts: int) -> int:
        """Return the read buffer of each connection. Twice as much may have arrived."""
        return min(_READ_BUFFER_BYTES, self.memory_bytes // 32 // self.pages_at_once(accounts))

    @property
    def batch_queue_bytes(self) -> int:
        """The size of the queue of record batches before encoding.

        A row group's size, if memory allows: then one is decoded while another is encoded. Less
        where Python and Arrow need most of the memory.
        """
        room = (self.memory_bytes - _COMFORTABLE_BYTES) // 12
        return min(max(room, self.memory_bytes // 128), self.memory_bytes // 16)

    def open_decoder(self, *, ndjson: bool = False, key_by: str | None = None) -> Decoder:
        """Open a decoder for one body. ``key_by`` is the field that takes its rows' keys."""
        return open_decoder(
            self.schema,
            engine=self.engine,
            rows_at=self.rows_at,
            ndjson=ndjson if self.ndjson is None else self.ndjson,
            key_by=key_by,
            strict=self.strict,
            batch_bytes=min(self.memory_bytes // 128 // self._engine_share, _MOST_BATCH_BYTES),
            max_record_bytes=self.record_bytes,
            max_depth=self.max_depth,
        )

    def _check_shard(self) -> None:
        """Raise UsageError for options that one shard cannot decide for the others."""
        if self.run_key is None:
            raise UsageError(
                "shards of one run need its key, the same for all of them", parameter="run_key"
            )
        if self.restart:
            raise UsageError(
                "a shard cannot discard what the others read: give the run another key",
                parameter="restart",
            )
        if self.publish == "commits":
            raise UsageError(
                "a run of several shards can only be published when it is complete",
                parameter="publish",
            )

    def settings(self) -> dict[str, Any]:
        """Return what decides how a run ends. A later process may resume it with other settings."""
        return {"skip_failed": self.skip_failed, "absent_accounts": self.absent_accounts}

    def identity(self) -> dict[str, Any]:
        """Return the options that decide the rows, for the run's request."""
        return {"rows_at": self.rows_at, "ndjson": self.ndjson, "raw": self.raw}
