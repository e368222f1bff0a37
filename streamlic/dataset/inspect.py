"""What is in a lake: its nights, accounts and vendors, its columns, what was rescued.

Rules:
1. Memory does not depend on the size of the dataset: one column of one row group is read at a time,
   in batches, and at most a thousand different values are counted apart.
2. What the commit log and the footers say is not read: nights, accounts and vendors; sizes, and
   nulls where there are statistics.
3. A part file that is missing or unreadable is reported, and the others are read. If a writer
   replaced it meanwhile, as the log then says, the inspection starts again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamlic.dataset.commit_log import load_lake, runs_in_full
from streamlic.dataset.destination import active_shards, why_no_dataset
from streamlic.dataset.lake import LICENSES, staged_name, table_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.nights import Night, Vendor, accounts_as_json, nights_of, vendors_of
from streamlic.dataset.records import Format, PartFile
from streamlic.dataset.rescue_counts import OTHERS, RescueCount, Rescues
from streamlic.dataset.run_state import RunState
from streamlic.dataset.verify import interrupted_step
from streamlic.errors import StoreError, UsageError
from streamlic.formatting import clipped
from streamlic.storage.base import NotFound, Store

_BATCH_ROWS = 16_384
_MOST_VALUES = 1_000
_LONGEST_VALUE = 200
RESCUED_COLUMN = "_rescued"

OnBytes = Callable[[int], None]
Counts = Mapping[str | None, dict[str | None, int]]
"""How often each value of a column occurs, by the column's name."""


@dataclass
class ColumnFacts:
    """A column over all part files. Sizes are bytes in Parquet, before and after compression."""

    name: str
    type: str
    nulls: int = 0
    compressed_bytes: int = 0
    uncompressed_bytes: int = 0


@dataclass
class Inspection:
    """What is in a lake. Columns, values and rescues are those of licenses that readers see.

    ``nights`` are the complete runs, oldest first. ``vendors`` and ``accounts`` are those of the
    newest night. ``expired`` is the number of older nights whose licenses were let go.
    """

    runs: list[dict[str, Any]]
    nights: list[Night] = field(default_factory=list)
    expired: int = 0
    vendors: list[Vendor] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    files: int = 0
    bytes: int = 0
    columns: list[ColumnFacts] = field(default_factory=list)
    statuses: dict[str | None, int] = field(default_factory=dict)
    rescues: list[RescueCount] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    interrupted: str = ""
    """Which step of a writer is not done, so that readers may see something else than this."""
    format: Format = field(default_factory=Format)
    """How the tables are shown."""

    @property
    def compressed_bytes(self) -> int:
        """The columns' bytes as they are in the files."""
        return sum(column.compressed_bytes for column in self.columns)

    @property
    def uncompressed_bytes(self) -> int:
        """The columns' bytes before compression, as Parquet encodes them."""
        return sum(column.uncompressed_bytes for column in self.columns)

    def as_json(self, dest: str) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "dest": dest,
            **asdict(self),
            "compressed_bytes": self.compressed_bytes,
            "uncompressed_bytes": self.uncompressed_bytes,
            "statuses": [
                {"status": value, "count": count} for value, count in self.statuses.items()
            ],
        }


def published_bytes(store: Store) -> int:
    """Return the size of all that an inspection reads; raises what ``inspect_dataset`` does."""
    return sum(file.bytes for file in _published(_loaded(store)))


def inspect_dataset(
    store: Store,
    on_bytes: OnBytes | None = None,
    *,
    status_column: str | None = None,
    counts_nulls: bool = True,
) -> Inspection:
    """Inspect a dataset; ``on_bytes`` gets the bytes that were read. Nothing is written.

    The values of ``status_column`` are counted. Without ``counts_nulls`` the nulls of columns
    without statistics are not counted, and those columns are not read. Raises UsageError if there
    is no dataset, IntegrityError if its commit log is damaged.
    """
    lake = _loaded(store)
    while True:
        found = _inspection_of(store, lake, on_bytes, status_column, counts_nulls=counts_nulls)
        before, lake = lake, _loaded(store) if found.problems else lake
        if _published(lake) == _published(before):
            return found


def _inspection_of(
    store: Store,
    lake: LakeState,
    on_bytes: OnBytes | None,
    status_column: str | None,
    *,
    counts_nulls: bool,
) -> Inspection:
    all_runs = runs_in_full(store, lake)
    runs = [run for run in all_runs if not run.is_expired]
    found = Inspection(
        [_run_facts(store, run) for run in runs],
        nights_of(runs),
        expired=len(all_runs) - len(runs),
        interrupted=interrupted_step(store, lake)[0],
        format=lake.format or Format(),
    )
    newest = next((run for run in reversed(runs) if run.is_complete), None)
    if newest:
        found.vendors, found.accounts = vendors_of(newest), accounts_as_json(newest)
    columns: dict[str, ColumnFacts] = {}
    rescues = Rescues()
    for file in _published(lake):
        found.files += 1
        found.rows += file.rows
        found.bytes += file.bytes
        try:
            with _opened(store, file) as opened:
                counts = {status_column: found.statuses}
                looked = _look_through(opened, columns, counts, rescues, counts_nulls=counts_nulls)
                for size in looked:
                    if on_bytes:
                        on_bytes(size)
        except (OSError, ValueError, pa.ArrowException, StoreError) as error:
            why = clipped(str(error), _LONGEST_VALUE)
            found.problems.append(f"{file.name} cannot be read: {why}")
    found.columns = list(columns.values())
    found.rescues = rescues.counts()
    return found


def _loaded(store: Store) -> LakeState:
    if why := why_no_dataset(store):
        raise UsageError(why)
    lake = load_lake(store)
    if not lake.runs:
        raise UsageError(f"{store.where()} is not a streamlic lake: it has no run")
    return lake


def _run_facts(store: Store, run: RunState) -> dict[str, Any]:
    """Return what the commit log says about a run, and which shards of it are being read."""
    points = run.points.values()
    return {
        "run": run.id,
        "run_key": run.key,
        "complete": run.is_complete,
        "published": run.is_published,
        "replaced": run.is_replaced,
        "mode": run.mode,
        "publish": run.publish,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "rows": run.rows,
        "parts": run.totals(LICENSES).files,
        "bytes": run.totals(LICENSES).bytes,
        "rescued": sum(point.rescued for point in points),
        "pages": sum(point.pages for point in points),
        "partial_response": any(point.is_partial for point in points),
        "accounts": len(run.accounts),
        "accounts_done": sum(point.is_done for point in points),
        "skipped": [
            {"account": account, "reason": reason}
            for account, reason in sorted(run.skipped.items())
        ],
        "failed": [
            {"account": account, **asdict(one)}
            for account, one in sorted(run.failed.items(), key=lambda item: item[0] or "")
        ],
        "carried_over": [
            {"account": account, **asdict(one)}
            for account, one in sorted(run.carried_over.items(), key=lambda item: item[0] or "")
        ],
        "request": run.request,
        "settings": run.settings,
        "shards": _shard_facts(store, run) if run.shards.of else None,
        "account_ids": run.accounts,
    }


def _shard_facts(store: Store, run: RunState) -> dict[str, Any]:
    """Return how many shards a run has, which have ended, and which processes read now."""
    shards = run.shards
    active = [] if run.is_complete else active_shards(store)
    return {
        "of": shards.of,
        "ended": sorted(shards.ended),
        "active": [one for one in active if one not in shards.ended],
    }


def _published(lake: LakeState) -> list[PartFile]:
    """Return the part files of licenses that readers see, those of the oldest run first."""
    shown = [run for run in lake.oldest_first if run.is_published and run.has_licenses]
    rewritten = [one.file for one in lake.live_rewritten if table_of(one.file.name) == LICENSES]
    return [*rewritten, *(file for run in shown for file in run.license_files)]


@contextmanager
def _opened(store: Store, file: PartFile) -> Iterator[pq.ParquetFile]:
    """Open a part file where it is: published, or in staging until a moment ago."""
    try:
        content = store.open(file.name)
    except NotFound:
        content = _open_staged(store, file)
    with content, pq.ParquetFile(content) as opened:
        yield opened


def _open_staged(store: Store, file: PartFile) -> BufferedReader:
    with suppress(NotFound):
        return store.open(staged_name(file.name))
    return store.open(file.name)


def _look_through(
    file: pq.ParquetFile,
    columns: dict[str, ColumnFacts],
    counts: Counts,
    rescues: Rescues,
    *,
    counts_nulls: bool,
) -> Iterator[int]:
    """Look at each column of each row group; yield the size of each.

    ``counts`` has the columns whose values are counted.
    """
    for place, arrow in enumerate(file.schema_arrow):
        facts = columns.setdefault(arrow.name, ColumnFacts(arrow.name, str(arrow.type)))
        leaves = _leaves(file, place)
        for number in range(file.num_row_groups):
            chunks = [file.metadata.row_group(number).column(leaf) for leaf in leaves]
            facts.compressed_bytes += sum(chunk.total_compressed_size for chunk in chunks)
            facts.uncompressed_bytes += sum(chunk.total_uncompressed_size for chunk in chunks)
            nulls = None if pa.types.is_nested(arrow.type) else _nulls(chunks[0])
            is_looked_at = arrow.name in counts or arrow.name == RESCUED_COLUMN
            if nulls is not None and (not is_looked_at or nulls == chunks[0].num_values):
                facts.nulls += nulls
                if arrow.name in counts:
                    _count(counts[arrow.name], None, nulls)
            elif is_looked_at or counts_nulls:
                for values in _batches(file, number, chunks[0].path_in_schema):
                    facts.nulls += values.null_count
                    _look_at(arrow.name, values, counts, rescues)
            yield sum(chunk.total_compressed_size for chunk in chunks)


def _look_at(name: str, values: pa.Array, counts: Counts, rescues: Rescues) -> None:
    if name in counts:
        for entry in pc.value_counts(values).to_pylist():
            _count(counts[name], entry["values"], entry["counts"])
    elif name == RESCUED_COLUMN:
        for entry in pc.value_counts(values.drop_null()).to_pylist():
            rescues.take(entry["values"], entry["counts"])


def _leaves(file: pq.ParquetFile, place: int) -> list[int]:
    """Return the places of a column's leaves among those of the file."""
    name = file.schema_arrow.field(place).name
    paths = (file.schema.column(leaf).path for leaf in range(len(file.schema)))
    return [leaf for leaf, path in enumerate(paths) if path.split(".")[0] == name]


def _nulls(chunk: Any) -> int | None:
    statistics = chunk.statistics
    if statistics is None or not statistics.has_null_count:
        return None
    nulls: int = statistics.null_count
    return nulls


def _batches(file: pq.ParquetFile, row_group: int, leaf: str) -> Iterator[pa.Array]:
    """Yield a column's values, of a nested one with one leaf only: it tells which are null."""
    batches = file.iter_batches(
        batch_size=_BATCH_ROWS, row_groups=[row_group], columns=[leaf], use_threads=False
    )
    return (batch.column(0) for batch in batches)


def _count(counts: dict[str | None, int], value: str | None, count: int) -> None:
    if value is not None and len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "..."
    if value not in counts and len(counts) >= _MOST_VALUES:
        value = OTHERS
    counts[value] = counts.get(value, 0) + count
