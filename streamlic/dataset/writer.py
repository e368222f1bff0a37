"""Record batches to staged part files.

Rules:
1. A page's batches join the open part file only when the page is complete. Small pages arrive
   complete, many at a time: those of all accounts share part files.
2. A page in progress waits in memory up to ``page_buffer_bytes``; a larger one streams into
   part files of its own, deleted if the page is abandoned. Several may be in progress. When the
   page is complete, its last file, which is not full, is joined with those of other pages.
3. Row groups are gathered up to ``row_group_bytes``; in a page's own part files to
   ``page_row_group_bytes``, since each page in progress may have one open.
4. Until a footer is written, Arrow keeps 20 to 60 kB of each row group. So a file ends after
   ``row_groups_at_once``, whatever its size, and is joined with the next one.
5. A part file counts only when ``finish`` returned it: it was closed then, and is durable. The next
   one is written while a store that is far away takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from streamlic.dataset.joined_part import JoinedParts
from streamlic.dataset.lake import REPEATED_COLUMNS, licenses_schema, with_dictionaries
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import UNKNOWN, AccountDetails, PartFile
from streamlic.dataset.run_state import RunState
from streamlic.errors import UsageError
from streamlic.schema.values import TIMESTAMP
from streamlic.storage.base import Store

COMPRESSIONS = ("zstd", "snappy", "none")
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How part files are written. All sizes are bytes: of files, and of Arrow data in memory."""

    part_bytes: int = 128 * _MIB
    row_group_bytes: int = 16 * _MIB
    page_row_group_bytes: int = 16 * _MIB
    page_buffer_bytes: int = 8 * _MIB
    row_groups_at_once: int = 64
    """How many row groups are written before a footer."""
    compression: str = "zstd"
    long_text_columns: frozenset[str] = frozenset()
    """Columns of long texts: a dictionary or statistics of them do not pay."""
    unique_columns: frozenset[str] = frozenset()
    """Columns whose values are all different: a dictionary of them does not pay."""

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise UsageError(
                f"expected one of {', '.join(COMPRESSIONS)}, got {self.compression!r}",
                parameter="compression",
            )
        for name in (
            "part_bytes", "row_group_bytes", "page_row_group_bytes", "page_buffer_bytes",
            "row_groups_at_once",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"expected 1 or more, got {getattr(self, name)}", parameter=name)


class DatasetWriter:
    """Writes pages of one run into its staging.

    ``write_whole`` takes small pages, ``open_page`` opens a large one, and ``finish`` returns the
    part files for a commit. ``details`` are those of the accounts; they may come in later, before
    an account's first page.
    """

    def __init__(
        self,
        store: Store,
        run: RunState,
        *,
        schema: pa.Schema,
        options: WriteOptions | None = None,
        details: Mapping[str | None, AccountDetails] | None = None,
    ) -> None:
        self.options = options or WriteOptions()
        self._store = store
        self._run = run
        self._number = run.next_part_number()
        self._details = run.details if details is None else details
        self._schema = licenses_schema(schema)
        self._batch_schema = with_dictionaries(self._schema, REPEATED_COLUMNS)
        self._in_progress: list[PageWriter] = []
        self._shared: Part | None = None
        self._ended = JoinedParts(self.options.part_bytes)
        self._finished_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether a part file's size was written, so that a commit is due."""
        shared_bytes = self._shared.file_bytes if self._shared else 0
        return self._ended.bytes + shared_bytes >= self.options.part_bytes

    @property
    def bytes_written(self) -> int:
        """The bytes of all part files that have ended, but for pages in progress."""
        return self._finished_bytes + self._ended.bytes

    def write_whole(self, batch: pa.RecordBatch, rows_of: Sequence[tuple[str | None, int]]) -> None:
        """Take complete pages in one batch: each account with its number of rows, in order."""
        self._share([self._completed(batch, rows_of)])

    def write_rows(self, batch: pa.RecordBatch) -> None:
        """Take rows of another part file unchanged, with their accounts and times."""
        columns = [
            column.dictionary_encode() if field.name in REPEATED_COLUMNS else column
            for field, column in zip(self._schema, batch.columns, strict=True)
        ]
        self._share([pa.record_batch(columns, schema=self._batch_schema)])

    def open_page(self, account: str | None) -> PageWriter:
        """Open a page of this account's rows. Other pages may be in progress."""
        page = PageWriter(self, account)
        self._in_progress.append(page)
        return page

    def finish(self, *, with_empty: bool = False) -> list[PartFile]:
        """Close the open part files; return the files since the last call, durably staged.

        ``with_empty`` returns one file without rows instead of none. Pages in progress
        are not affected.
        """
        if with_empty and not (self._shared or self._ended.bytes):
            self._shared = self.open_part(self.options.row_group_bytes)
        self._end_shared()
        self._ended.close()
        for part in self._ended.closed:
            part.wait()
        closed, self._ended.closed = self._ended.closed, []
        self._finished_bytes += sum(part.bytes for part in closed)
        return [PartFile(part.name, part.rows, part.bytes, part.sha256) for part in closed]

    def discard(self) -> None:
        """Drop everything that ``finish`` did not return, and delete its files."""
        for page in [*self._in_progress]:
            page.abandon()
        shared, self._shared = self._shared, None
        if shared:
            shared.discard()
        self._ended.discard()

    # For pages

    def completed(self, batch: pa.RecordBatch, account: str | None) -> pa.RecordBatch:
        """Put the account before a batch's columns, and the run after them."""
        return self._completed(batch, [(account, batch.num_rows)])

    def open_part(self, row_group_bytes: int) -> Part:
        """Open the next part file."""
        name = self._run.part_name(self._number)
        self._number += 1
        return Part(
            self._store,
            name,
            self._schema,
            staged=self._run.staged(name),
            row_group_bytes=row_group_bytes,
            compression=self.options.compression,
            long_text_columns=self.options.long_text_columns,
            unique_columns=self.options.unique_columns,
            dictionary_columns=REPEATED_COLUMNS,
        )

    def take_page(self, page: PageWriter, own: JoinedParts, held: list[pa.RecordBatch]) -> None:
        """Take a complete page: the part files that it filled, or the batches that waited."""
        self._ended.take(own)
        self._share(held)
        self._in_progress.remove(page)

    def is_part_full(self, part: Part) -> bool:
        """Whether a part file is to be ended, and the next one opened."""
        options = self.options
        return (
            part.file_bytes >= options.part_bytes or part.row_groups >= options.row_groups_at_once
        )

    def forget_page(self, page: PageWriter) -> None:
        """Drop a page that was abandoned."""
        if page in self._in_progress:
            self._in_progress.remove(page)

    def _share(self, batches: list[pa.RecordBatch]) -> None:
        for batch in batches:
            if batch.num_rows:
                if self._shared is None:
                    self._shared = self.open_part(self.options.row_group_bytes)
                self._shared.write(batch)
        if self._shared and self.is_part_full(self._shared):
            self._end_shared()

    def _completed(
        self, batch: pa.RecordBatch, rows_of: Sequence[tuple[str | None, int]]
    ) -> pa.RecordBatch:
        details = [(self._details.get(account, UNKNOWN), rows) for account, rows in rows_of]
        columns = [
            _repeated(rows_of),
            _repeated([(one.integration, rows) for one, rows in details]),
            _repeated([(one.tenant_id, rows) for one, rows in details]),
            *batch.columns,
            pa.repeat(pa.scalar(self._run.started_at, TIMESTAMP), batch.num_rows),
            _repeated([(self._run.id, batch.num_rows)]),
        ]
        return pa.record_batch(columns, schema=self._batch_schema)

    def _end_shared(self) -> None:
        shared, self._shared = self._shared, None
        if shared:
            self._ended.add(shared)


def _repeated(rows_of: Sequence[tuple[str | None, int]]) -> pa.DictionaryArray:
    """Return a column of texts, each in so many rows.

    Arrow's compute functions would do the same, but take long to load.
    """
    places: dict[str, int] = {}
    of_text: dict[str | None, int | None] = {None: None}
    for text, _ in rows_of:
        if text is not None:
            of_text[text] = places.setdefault(text, len(places))
    if len(rows_of) == 1:  # A large page: seven times as fast as from a list.
        [(text, rows)] = rows_of
        indices = pa.repeat(pa.scalar(of_text[text], pa.int32()), rows)
    else:
        listed = [place for text, rows in rows_of for place in [of_text[text]] * rows]
        indices = pa.array(listed, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array([*places], pa.string()))


class PageWriter:
    """A page in progress: ``write`` for each batch, then ``end`` or ``abandon``."""

    def __init__(self, writer: DatasetWriter, account: str | None) -> None:
        self._writer = writer
        self._account = account
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._open: Part | None = None
        self._ended = JoinedParts(writer.options.part_bytes)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        if not batch.num_rows:
            return
        whole = self._writer.completed(batch, self._account)
        if self._open:
            self._write_own(whole)
            return
        self._held.append(whole)
        self._held_bytes += whole.nbytes
        if self._held_bytes > self._writer.options.page_buffer_bytes:
            held, self._held, self._held_bytes = self._held, [], 0
            for one in held:
                self._write_own(one)

    def end(self) -> None:
        """Complete the page: its rows belong to the next commit."""
        self._end_open()
        self._writer.take_page(self, self._ended, self._held)
        self._held = []

    def abandon(self) -> None:
        """Drop the page; it will be fetched again."""
        self._held = []
        opened, self._open = self._open, None
        if opened:
            opened.discard()
        self._ended.discard()
        self._writer.forget_page(self)

    def _write_own(self, batch: pa.RecordBatch) -> None:
        """Write a batch into the page's own part files; start the next one when one is full."""
        if self._open and self._writer.is_part_full(self._open):
            self._end_open()
        if self._open is None:
            self._open = self._writer.open_part(self._writer.options.page_row_group_bytes)
        self._open.write(batch)

    def _end_open(self) -> None:
        opened, self._open = self._open, None
        if opened:
            self._ended.add(opened)
