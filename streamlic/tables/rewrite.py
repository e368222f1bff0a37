"""Part files written again: the rows of several files, batch by batch, in one.

Rules:
1. Rows keep their order, their values and their columns. A file may lack columns that another one
   has: null. The rows of each run stay together, those of older runs first.
2. A file is compared with its SHA-256 before it is read: a copy would hide damage.
3. Memory depends neither on the size of the files nor on their number: a batch and a row group are
   held at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import PurePosixPath

import pyarrow as pa

from streamlic.dataset.batch_sizes import batches_of, opened
from streamlic.dataset.lake import LICENSES, TABLES, rewritten_name, table_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import PartFile, Rewritten
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import WriteOptions
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.base import NotFound, Store
from streamlic.tables.base import LakeWriter

_BATCH_BYTES = 2 << 20
_COMPRESSIONS = {"ZSTD": "zstd", "SNAPPY": "snappy", "UNCOMPRESSED": "none"}
OnBytes = Callable[[int], None]


@dataclass
class TableSizes:
    """The part files of a table that readers see, before and after. Sizes are bytes.

    ``bytes_after`` is None where only writing the files would tell it.
    """

    files_before: int = 0
    bytes_before: int = 0
    files_after: int = 0
    bytes_after: int | None = 0
    rewritten_files: int = 0
    """How many of them were written again, or would be."""
    rewritten_bytes: int = 0


@dataclass(frozen=True)
class Upkeep:
    """What a command did to a lake, or would do, by table."""

    tables: dict[str, TableSizes] = field(
        default_factory=lambda: {table: TableSizes() for table in TABLES}
    )

    def take_before(self, lake: LakeState) -> None:
        """Note the sizes before; without more, they are those after, too."""
        for one in live_parts(lake):
            sizes = self.tables[table_of(one.file.name)]
            sizes.files_before += 1
            sizes.bytes_before += one.file.bytes
        for sizes in self.tables.values():
            sizes.files_after, sizes.bytes_after = sizes.files_before, sizes.bytes_before

    def take_after(self, lake: LakeState) -> None:
        """Note the sizes after."""
        for table, sizes in self.tables.items():
            parts = [one.file for one in live_parts(lake) if table_of(one.file.name) == table]
            sizes.files_after = len(parts)
            sizes.bytes_after = sum(file.bytes for file in parts)

    def take_rewritten(self, parts: Sequence[Rewritten]) -> None:
        """Count part files of one table that are written again."""
        for one in parts:
            sizes = self.tables[table_of(one.file.name)]
            sizes.rewritten_files += 1
            sizes.rewritten_bytes += one.file.bytes


def live_parts(lake: LakeState) -> list[Rewritten]:
    """Return the part files of finished runs that count, in the order of their oldest runs."""
    own = [
        Rewritten(file, [(run.id, file.rows)])
        for run in lake.oldest_first
        if run.is_finished
        for file in run.live_files
    ]
    place = {run.id: number for number, run in enumerate(lake.oldest_first)}
    return sorted(
        [*lake.live_rewritten, *own],
        key=lambda one: min(place[run_id] for run_id in one.runs),
    )


class Rewriter:
    """Writes part files again, for a lake that was opened. ``on_bytes`` gets the bytes read."""

    def __init__(
        self, lake: LakeWriter, options: WriteOptions, on_bytes: OnBytes | None = None
    ) -> None:
        self._lake = lake
        self._store = lake.store
        self._options = options
        self._on_bytes = on_bytes
        self._number = 0

    def compatible(self, parts: Sequence[Rewritten]) -> Iterator[list[Rewritten]]:
        """Yield consecutive parts whose columns have the same types: all of them, as a rule."""
        together: list[Rewritten] = []
        schema = pa.schema([])
        for one in parts:
            own = _schema_of(self._store, one.file.name)
            try:
                schema = _united(schema, own)
            except pa.ArrowException:
                yield together
                together, schema = [], own
            together.append(one)
        yield together

    def write(self, parts: Sequence[Rewritten], without: Collection[str] = ()) -> Rewritten:
        """Write the rows of parts of one table into one file, which is then durable.

        Leaves out the rows of the runs ``without``. Raises IntegrityError if a file was altered.
        """
        schema = pa.schema([])
        for one in parts:
            schema = _united(schema, _schema_of(self._store, one.file.name))
        name = self._next_name(parts)
        staged = self._lake.staged(name)
        self._store.make_directory(str(PurePosixPath(staged).parent))
        part = Part(
            self._store,
            name,
            schema,
            staged=staged,
            row_group_bytes=self._options.row_group_bytes,
            compression=_compression_of(self._store, parts[-1].file.name),
            long_text_columns=self._options.long_text_columns,
            unique_columns=self._options.unique_columns,
        )
        kept = [segment for one in parts for segment in one.segments if segment[0] not in without]
        try:
            for one in parts:
                for run_id, batch in self._batches(one):
                    if run_id not in without:
                        part.write(_as(schema, batch))
            part.close()
            part.wait()
        except BaseException:
            part.discard()
            raise
        return Rewritten(PartFile(name, part.rows, part.bytes, part.sha256), joined(kept))

    def _next_name(self, parts: Sequence[Rewritten]) -> str:
        """Return the next name. It has the time of the oldest run: its partition, too."""
        self._number += 1
        runs = self._lake.lake.runs
        oldest = min((runs[run_id] for one in parts for run_id in one.runs),
                     key=lambda run: run.started_at)  # fmt: skip
        table = table_of(parts[0].file.name)
        return rewritten_name(
            table,
            oldest.id.partition("-")[0],
            self._lake.lake.epoch,
            self._number,
            partition=partition_of(self._lake.lake, oldest) if table == LICENSES else "",
        )

    def _batches(self, part: Rewritten) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield a file's rows, each batch of one run, and count the bytes of row groups."""
        name = part.file.name
        _check_content(self._store, part.file)
        segments = iter(part.segments)
        run_id, left = "", 0
        with _translated(self._store, name), opened(self._store, name) as file:
            if file.metadata.num_rows != part.file.rows:
                raise IntegrityError(f"{self._store.where(name)} has another number of rows")
            for number in range(file.num_row_groups):
                for batch in batches_of(self._store, name, file, number, _BATCH_BYTES):
                    at = 0
                    while at < batch.num_rows:
                        while not left:
                            run_id, left = next(segments)
                        taken = min(left, batch.num_rows - at)
                        yield run_id, batch.slice(at, taken)
                        at, left = at + taken, left - taken
        if self._on_bytes:
            self._on_bytes(part.file.bytes)


def joined(segments: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return segments with neighbours of the same run as one."""
    return [
        (run_id, sum(rows for _, rows in neighbours))
        for run_id, neighbours in groupby(segments, key=itemgetter(0))
    ]


def partition_of(lake: LakeState, run: RunState) -> str:
    """Return the partition of a run's licenses as names have it, empty without partitions."""
    column = lake.format.partition_by if lake.format else None
    return f"{column}={run.started_at:%Y-%m-%d}" if column else ""


def _schema_of(store: Store, name: str) -> pa.Schema:
    with _translated(store, name), opened(store, name) as file:
        return file.schema_arrow.remove_metadata()


def _united(older: pa.Schema, newer: pa.Schema) -> pa.Schema:
    """Return the columns of the newer one, then those that only the older one has."""
    return pa.unify_schemas([newer, older])


def _compression_of(store: Store, name: str) -> str:
    with _translated(store, name), opened(store, name) as file:
        if not file.num_row_groups:
            return "zstd"
        return _COMPRESSIONS.get(file.metadata.row_group(0).column(0).compression, "zstd")


def _as(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        batch[one.name] if one.name in batch.schema.names else pa.nulls(batch.num_rows, one.type)
        for one in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _check_content(store: Store, file: PartFile) -> None:
    with store.open(file.name) as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
            raise IntegrityError(
                f"{store.where(file.name)} was altered: the SHA-256 differs, so it is not "
                "rewritten; streamlic verify names all such files"
            )


@contextmanager
def _translated(store: Store, name: str) -> Iterator[None]:
    """Raise IntegrityError for a damaged or missing part file, StoreError for a failing disk."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowException, NotFound) as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own errors have no number.
            raise StoreError(
                f"{store.where(name)}: {error.strerror} (does the disk fail?)"
            ) from error
        raise IntegrityError(f"{store.where(name)} cannot be read: {error}") from error
