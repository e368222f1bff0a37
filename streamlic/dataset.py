"""Record batches to staged part files, in bounded row groups.

Rules:
1. A page's batches join the open part file only when the page is whole.
2. A page in progress waits in memory up to ``hold_bytes``; a larger one streams into part files of
   its own, which go if the page is abandoned.
3. A row group is gathered up to ``row_group_bytes`` and written at once.
4. A part file counts only when it was closed, fsynced and returned by ``finish``: one that an
   exception left behind is a valid Parquet file all the same, and must not be believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.errors import StoreError, UsageError
from streamlic.schema import TIMESTAMP, json_role
from streamlic.store import LocalStore

ACCOUNT_COLUMN = "integrated_account_id"
EXPORTED_AT_COLUMN = "_exported_at"
COMPRESSIONS = ("zstd", "snappy", "none")
_MIB = 1 << 20
_LONG_TEXTS = frozenset({"description"})
_UNIQUE = frozenset({"id"})


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How part files are written. All sizes are bytes: of files, and of Arrow data in memory."""

    part_bytes: int = 128 * _MIB
    row_group_bytes: int = 16 * _MIB
    hold_bytes: int = 8 * _MIB
    compression: str = "zstd"

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise UsageError(
                f"expected one of {', '.join(COMPRESSIONS)}, got {self.compression!r} "
                "(--compression)"
            )
        for name in ("part_bytes", "row_group_bytes", "hold_bytes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class PartFile:
    """A part file that is closed and fsynced, in staging."""

    name: str
    rows: int
    bytes: int
    sha256: str


def dataset_schema(schema: pa.Schema, *, has_account: bool) -> pa.Schema:
    """Return the dataset's schema: the decoder's, the account before it, the time after it."""
    account = [pa.field(ACCOUNT_COLUMN, pa.string())] if has_account else []
    return pa.schema([*account, *schema, pa.field(EXPORTED_AT_COLUMN, TIMESTAMP)])


class DatasetWriter:
    """Writes pages of one run into ``staging``, a directory of the store.

    ``prefix`` and a number make a part file's name. ``begin_page``, ``write`` for each batch, then
    ``end_page`` or ``abandon_page``; ``finish`` when a commit is due.
    """

    def __init__(
        self,
        store: LocalStore,
        staging: str,
        prefix: str,
        *,
        schema: pa.Schema,
        has_account: bool,
        exported_at: datetime,
        first_number: int = 1,
        options: WriteOptions | None = None,
    ) -> None:
        self._store = store
        self._staging = staging
        self._prefix = prefix
        self._number = first_number
        self._has_account = has_account
        self._exported_at = exported_at
        self._options = options or WriteOptions()
        self._schema = dataset_schema(schema, has_account=has_account)
        self._account: str | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._own: list[_Part] = []
        self._shared: _Part | None = None
        self._closed: list[PartFile] = []
        self.bytes_written = 0

    @property
    def is_full(self) -> bool:
        """Whether a part file is complete, so that a commit should follow."""
        return bool(self._closed)

    def begin_page(self, account: str | None) -> None:
        """Begin a page of this account's rows."""
        self.abandon_page()
        self._account = account

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch of the page in progress."""
        if not batch.num_rows:
            return
        whole = self._completed(batch)
        if self._own:
            self._write_own(whole)
            return
        self._held.append(whole)
        self._held_bytes += whole.nbytes
        if self._held_bytes > self._options.hold_bytes:
            held, self._held, self._held_bytes = self._held, [], 0
            for one in held:
                self._write_own(one)

    def end_page(self) -> None:
        """Say that the page is whole: from now on its rows belong to the next commit."""
        for part in self._own:
            part.close()
            self._take(part)
        self._own = []
        for batch in self._held:
            if self._shared is None:
                self._shared = self._open()
            self._shared.write(batch)
        self._held, self._held_bytes = [], 0
        if self._shared and self._shared.file_bytes >= self._options.part_bytes:
            self._close_shared()

    def abandon_page(self) -> None:
        """Forget the page in progress; it will be fetched again."""
        self._held, self._held_bytes = [], 0
        own, self._own = self._own, []
        for part in own:
            part.discard()

    def finish(self, *, with_empty: bool = False) -> list[PartFile]:
        """Close what is open and return the part files since the last time, durably staged.

        ``with_empty`` gives one file without rows where there would be none.
        """
        if with_empty and not self._shared and not self._closed:
            self._shared = self._open()
        self._close_shared()
        closed, self._closed = self._closed, []
        return closed

    def discard(self) -> None:
        """Forget everything that was not returned by ``finish``, and delete its files."""
        self.abandon_page()
        shared, self._shared = self._shared, None
        if shared:
            shared.discard()
        closed, self._closed = self._closed, []
        for file in closed:
            self._store.delete(f"{self._staging}/{file.name}")

    def _completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.num_rows
        account = [pa.repeat(pa.scalar(self._account, pa.string()), rows)]
        columns = [
            *(account if self._has_account else []),
            *batch.columns,
            pa.repeat(pa.scalar(self._exported_at, TIMESTAMP), rows),
        ]
        return pa.record_batch(columns, schema=self._schema)

    def _write_own(self, batch: pa.RecordBatch) -> None:
        """Write a batch into the page's own part files; a full one is followed by another."""
        if not self._own or self._own[-1].file_bytes >= self._options.part_bytes:
            for part in self._own[-1:]:
                part.close()
            self._own.append(self._open())
        self._own[-1].write(batch)

    def _open(self) -> _Part:
        name = f"{self._prefix}{self._number:06d}.parquet"
        self._number += 1
        return _Part(self._store, f"{self._staging}/{name}", self._schema, self._options)

    def _close_shared(self) -> None:
        if self._shared:
            self._shared.close()
            self._take(self._shared)
            self._shared = None

    def _take(self, part: _Part) -> None:
        name = part.name.rpartition("/")[2]
        size = self._store.size(part.name)
        self._closed.append(PartFile(name, part.rows, size, self._store.sha256(part.name)))
        self.bytes_written += size


class _Part:
    """One Parquet file in the making."""

    def __init__(
        self, store: LocalStore, name: str, schema: pa.Schema, options: WriteOptions
    ) -> None:
        self.name = name
        self.rows = 0
        self._store = store
        self._row_group_bytes = options.row_group_bytes
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_bytes = 0
        try:
            with _translated(name):
                self._sink = pa.OSFile(str(store.path(name)), "wb")
                self._writer = pq.ParquetWriter(
                    self._sink,
                    schema,
                    version="2.6",
                    compression=options.compression,
                    use_dictionary=_leaves(schema, _LONG_TEXTS | _UNIQUE),
                    write_statistics=_leaves(schema, _LONG_TEXTS),
                    write_page_index=True,
                    write_page_checksum=True,
                )
        except StoreError:
            store.delete(name)
            raise

    @property
    def file_bytes(self) -> int:
        """The bytes in the file so far, without the row group that is being gathered."""
        size: int = self._sink.tell()
        return size

    def write(self, batch: pa.RecordBatch) -> None:
        self._gathered.append(batch)
        self._gathered_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._gathered_bytes >= self._row_group_bytes:
            self._write_row_group()

    def close(self) -> None:
        """Write what is gathered and the footer, and make the file durable."""
        if self._writer is None:
            return
        self._write_row_group()
        with _translated(self.name):
            self._writer.close()
            self._sink.close()
        self._writer = None
        self._store.sync(self.name)
        pa.default_memory_pool().release_unused()

    def discard(self) -> None:
        """Delete the file, finished or not."""
        self._gathered = []
        # Its last bytes may not find room: all the more reason to delete it.
        for unfinished in (self._writer, self._sink) if self._writer is not None else ():
            with suppress(StoreError), _translated(self.name):
                unfinished.close()
        self._writer = None
        self._store.delete(self.name)

    def _write_row_group(self) -> None:
        if not self._gathered:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        table = pa.Table.from_batches(gathered)
        with _translated(self.name):
            self._writer.write_table(table, row_group_size=table.num_rows)


def _leaves(schema: pa.Schema, without: frozenset[str]) -> list[str]:
    """Return the Parquet paths of the columns, but for JSON columns and those named."""
    return [
        leaf
        for field in schema
        if json_role(field) is None and field.name not in without
        for leaf in _leaf_paths(field.name, field.type)
    ]


def _leaf_paths(name: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_list(kind):
        yield from _leaf_paths(f"{name}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaf_paths(f"{name}.{field.name}", field.type)
    else:
        yield name


@contextmanager
def _translated(name: str) -> Iterator[Any]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{name}: {error} (has the disk room?)") from error
