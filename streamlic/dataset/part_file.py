"""One Parquet file while it is written, in bounded row groups.

Rules:
1. Batches gather up to ``row_group_bytes`` and are then written as one row group. Small batches are
   combined first: each takes kilobytes in addition to its rows, which ``nbytes`` does not count.
2. A file counts only after ``close`` and ``wait``. ``close`` is ``end`` and ``keep``: other files
   may join it in between. One that an exception left is a valid Parquet file, and must not be used.
3. The footer says that timestamps use the proleptic Gregorian calendar, as Arrow's do. Without it
   Spark 3 refuses a column with a time before 1900.
4. What is the same in many rows comes as a dictionary, which Arrow writes without looking at each
   row. Readers see strings: the footer has the schema without dictionaries.
5. No statistics inside lists: readers skip row groups by those of flat columns only.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import SEEK_END, BufferedReader
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.dataset.lake import with_dictionaries
from streamlic.dataset.records import PartFile
from streamlic.errors import StoreError
from streamlic.formatting import counted
from streamlic.schema.columns import json_role
from streamlic.storage.base import Store

# Spark takes the calendar of a file from the version of its writer: the new one from 3.1 on
# (``DataSourceUtils.getRebaseSpec``). Parquet itself has no key for calendars.
_CALENDAR = {"org.apache.spark.version": "3.1.0"}
# Where Arrow keeps a schema in a footer. Its writer would write that of the batches.
_ARROW_SCHEMA = "ARROW:schema"
_SMALL_BYTES = 64 << 10
_MANY_SMALL = 64
_VALUES_AT_ONCE = 4096  # Arrow takes 1,024, which costs 5 % more; many more make pages too large.


class Part:
    """One Parquet file of this name while it is written, in a store's staging as ``staged``."""

    def __init__(
        self,
        store: Store,
        name: str,
        schema: pa.Schema,
        *,
        staged: str,
        row_group_bytes: int,
        compression: str,
        long_text_columns: frozenset[str] = frozenset(),
        unique_columns: frozenset[str] = frozenset(),
        dictionary_columns: frozenset[str] = frozenset(),
    ) -> None:
        """``dictionary_columns`` are dictionaries in the batches, and strings to readers."""
        lists = _lists(schema)
        without_dictionary = long_text_columns | unique_columns | lists
        self.name = name
        self.rows = 0
        self.row_groups = 0
        """How many were written to the file."""
        self.bytes = 0
        """The file's size, after ``end``."""
        self.sha256 = ""
        """The SHA-256 of its content, after ``close``."""
        self._staged = store.stage(staged)
        self._row_group_bytes = row_group_bytes
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_bytes = 0
        self._small = 0  # How many of the last gathered batches are small.
        self._schema = schema
        try:
            with self.translated():
                self._sink = pa.OSFile(str(self.path), "wb")
                self._writer = pq.ParquetWriter(
                    self._sink,
                    with_dictionaries(schema, dictionary_columns),
                    store_schema=False,
                    version="2.6",
                    compression=compression,
                    # For a list of millions in one record a dictionary would take many times its
                    # bytes: Arrow checks its size only between records.
                    use_dictionary=_leaves(schema, without_dictionary),
                    write_statistics=_leaves(schema, long_text_columns | lists),
                    write_page_index=True,
                    write_page_checksum=True,
                    write_batch_size=_VALUES_AT_ONCE,
                )
        except StoreError:
            self._staged.discard()
            raise

    @property
    def path(self) -> Path:
        """Where it is written."""
        return self._staged.path

    def translated(self) -> AbstractContextManager[None]:
        """Raise StoreError, which names the file and what helps, for the errors of writing it."""
        return _translated(self.path, self._staged.advice)

    @property
    def file_bytes(self) -> int:
        """The bytes written to the file, without the gathered rows."""
        size: int = self._sink.tell()
        return size

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; write a row group when enough rows are gathered."""
        size = batch.nbytes  # Once: Arrow looks into every column.
        self._gathered.append(batch)
        self._gathered_bytes += size
        self.rows += batch.num_rows
        self._small = self._small + 1 if size < _SMALL_BYTES else 0
        if self._small == _MANY_SMALL:
            self._combine_small()
        if self._gathered_bytes >= self._row_group_bytes:
            self._write_row_group()

    def end(self) -> None:
        """Write the gathered rows and the footer, unless the file has ended."""
        if self._writer is None:
            return
        self._write_row_group()
        with self.translated():
            self._writer.add_key_value_metadata(
                {**_CALENDAR, _ARROW_SCHEMA: base64.b64encode(self._schema.serialize())}
            )
            self._writer.close()
            self.bytes = self._sink.tell()
            self._sink.close()
        self._writer = None
        pa.default_memory_pool().release_unused()

    def keep(self) -> None:
        """Hand the file, which has ended, over to the store. It is durable after ``wait``."""
        with self.translated(), self.path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.bytes = file.tell()
        self._staged.keep()

    def wait(self) -> None:
        """Wait until the file, which was kept, is durable."""
        self._staged.wait()

    def close(self) -> None:
        """End the file and hand it over to the store, unless it is already."""
        if self._writer is not None:
            self.end()
            self.keep()

    def discard(self) -> None:
        """Delete the file, finished or not."""
        self._gathered = []
        # The disk may have no room for its last bytes: all the more reason to delete it.
        for unfinished in (self._writer, self._sink) if self._writer is not None else ():
            with suppress(StoreError), self.translated():
                unfinished.close()
        self._writer = None
        self._staged.discard()

    def _combine_small(self) -> None:
        small = pa.Table.from_batches(self._gathered[-self._small :])
        self._gathered[-self._small :] = small.combine_chunks().to_batches()
        self._small = 0

    def _write_row_group(self) -> None:
        if not self._gathered:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        self._small = 0
        table = pa.Table.from_batches(gathered).unify_dictionaries()
        with self.translated():
            self._writer.write_table(table, row_group_size=table.num_rows)
        self.row_groups += 1


def _lists(schema: pa.Schema) -> frozenset[str]:
    return frozenset(field.name for field in schema if pa.types.is_list(field.type))


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
def _translated(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: {error} (has the disk room?)", advice=advice) from error


def problem_in(opened: BufferedReader, file: PartFile) -> str | None:
    """Return what is wrong with the content of a part file; None if it is as promised."""
    size = opened.seek(0, SEEK_END)
    opened.seek(0)
    if size != file.bytes:
        return f"expected {file.bytes} bytes, got {size}"
    if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
        return "its content was altered: the SHA-256 differs"
    try:
        in_footer = pq.read_metadata(opened).num_rows
    except (OSError, pa.ArrowException) as error:
        return f"not readable as Parquet: {error}"
    if in_footer != file.rows:
        return f"expected {counted(file.rows, 'row')}, got {in_footer:,}"
    return None
