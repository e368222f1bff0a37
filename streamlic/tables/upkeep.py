"""What a lake of many nights needs: few large part files, and no more history than wanted.

``compact`` writes small part files of runs that have ended into large ones. ``expire`` lets the
licenses of old runs go, and the records that only these runs needed.

Rules:
1. Readers see every row all the while. In plain Parquet those that list a table while files change
   their places may see rows twice: new files get their names before the old ones go.
2. Each file of the new ones is a step of its own, recorded first: a command that was interrupted
   loses one step, and the next writer finishes the one that was recorded.
3. Rows of ``accounts`` and ``runs`` stay for ever: they are the history of the nights.
4. The newest run stays, so an overwriting lake keeps its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from streamlic.dataset.commit_log import load_lake, old_records
from streamlic.dataset.destination import why_no_dataset, writer_lock
from streamlic.dataset.lake import LICENSES, TABLES, table_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import Rewritten
from streamlic.dataset.writer import WriteOptions
from streamlic.errors import UsageError
from streamlic.storage.base import Store
from streamlic.tables.base import LakeWriter
from streamlic.tables.formats import check_seen, format_of, seen_parts
from streamlic.tables.rewrite import OnBytes, Rewriter, Upkeep, live_parts, partition_of
from streamlic.tables.table_format import Kept

KEPT_VERSIONS_DAYS = 7
"""For how long a format that has versions of its tables keeps those that were replaced."""


@dataclass(frozen=True)
class Compaction(Upkeep):
    """What ``compact`` did, or would do: ``rewrites`` files take the place of others."""

    rewrites: int = 0


@dataclass(frozen=True, kw_only=True)
class Expiry(Upkeep):
    """What ``expire`` did, or would do."""

    kept: list[str] = field(default_factory=list)
    """The runs whose licenses stay, the newest first; those that a later one replaced, too."""
    expired: list[str] = field(default_factory=list)
    """The runs whose licenses go, the newest first."""
    records: int = 0
    """How many records of the log are deleted, without those that the command itself writes."""
    old_files: int = 0
    """How many files are deleted that only old versions of the format's tables needed."""


def compact_bytes(store: Store, options: WriteOptions) -> int:
    """Return the size of the part files that ``compact`` would write again."""
    groups = _groups(store, _loaded(store), options.part_bytes)
    return sum(one.file.bytes for group in groups for one in group)


def compact(
    store: Store,
    options: WriteOptions,
    *,
    dry_run: bool = False,
    on_bytes: OnBytes | None = None,
) -> Compaction:
    """Write part files smaller than half of ``options.part_bytes`` into files of about that size.

    Only those of runs that have ended, each table by itself, in the order of the runs. ``on_bytes``
    gets the bytes of each file that was read. ``dry_run`` changes nothing.
    Raises UsageError if there is no lake, DatasetConflict if another writer is active,
    IntegrityError if a part file was altered.
    """
    lake = _loaded(store)
    done = Upkeep()
    done.take_before(lake)
    if dry_run:
        return _planned(done, _groups(store, lake, options.part_bytes))
    rewrites = 0
    with writer_lock(store):
        lake = load_lake(store)
        if not (lake.pending or _groups(store, lake, options.part_bytes)):
            return Compaction(done.tables)
        writer = LakeWriter(store)
        writer.open()
        rewriter = Rewriter(writer, options, on_bytes)
        with writer.fenced():
            for group in _groups(store, writer.lake, options.part_bytes):
                for parts in rewriter.compatible(group):
                    if len(parts) > 1:
                        writer.rewrite([rewriter.write(parts)], [one.file.name for one in parts])
                        done.take_rewritten(parts)
                        rewrites += 1
    done.take_after(writer.lake)
    return Compaction(done.tables, rewrites)


def _planned(done: Upkeep, groups: Sequence[Sequence[Rewritten]]) -> Compaction:
    for group in groups:
        done.take_rewritten(group)
        sizes = done.tables[table_of(group[0].file.name)]
        sizes.files_after -= len(group) - 1
        sizes.bytes_after = None
    return Compaction(done.tables, len(groups))


def _groups(store: Store, lake: LakeState, part_bytes: int) -> list[list[Rewritten]]:
    """Return the small part files that become one each, in the order of the runs."""
    groups: list[list[Rewritten]] = []
    found = [one for one in live_parts(lake) if one.file.bytes * 2 < part_bytes]
    seen = seen_parts(store, lake, found) if len(found) > 1 else []
    for table in TABLES:
        small = [one for one in seen if table_of(one.file.name) == table]
        small.sort(key=lambda one: _kind(lake, one))  # It is stable: the runs keep their order.
        for _, alike in groupby(small, key=lambda one: _kind(lake, one)):
            groups += (group for group in _filled(alike, part_bytes) if len(group) > 1)
    return groups


def _filled(parts: Iterator[Rewritten], part_bytes: int) -> Iterator[list[Rewritten]]:
    """Yield consecutive part files that make a file of ``part_bytes`` at most."""
    group: list[Rewritten] = []
    size = 0
    for one in parts:
        if group and size + one.file.bytes > part_bytes:
            yield group
            group, size = [], 0
        group.append(one)
        size += one.file.bytes
    yield group


def _kind(lake: LakeState, one: Rewritten) -> tuple[str, bool]:
    """Return what rows must have in common to lie in one file: the partition, and the columns."""
    run = min((lake.runs[run_id] for run_id in one.runs), key=lambda run: run.started_at)
    if table_of(one.file.name) != LICENSES:
        return "", False
    return partition_of(lake, run), bool(run.request.get("raw"))


def expire(
    store: Store,
    *,
    keep: int,
    options: WriteOptions,
    dry_run: bool = False,
    on_bytes: OnBytes | None = None,
) -> Expiry:
    """Keep the licenses of the newest ``keep`` complete runs, and let those of older ones go.

    Their rows of ``accounts`` and ``runs`` stay. Part files that have licenses of both are written
    again, ``on_bytes`` gets their sizes. Then the log's records go that only old runs needed.
    ``dry_run`` changes nothing. Raises UsageError if there is no lake or nothing would be kept,
    DatasetConflict if another writer is active, IntegrityError if a part file was altered.
    """
    if keep < 1:
        raise UsageError(f"expected 1 or more runs to keep, got {keep}", parameter="keep")
    lake = _loaded(store)
    done = Upkeep()
    done.take_before(lake)
    if dry_run:
        return _planned_expiry(store, lake, keep, done)
    with writer_lock(store):
        lake = load_lake(store)
        kept, old = _divided(lake, keep)
        if not (lake.pending or old or old_records(store, lake)) and not lake.is_in_place:
            return Expiry(done.tables, kept=kept)
        writer = LakeWriter(store)
        writer.open()
        rewriter = Rewriter(writer, options, on_bytes)
        kept, old = _divided(writer.lake, keep)
        records = len(old_records(store, lake, old))  # Those of this command go, too, uncounted.
        with writer.fenced():
            if old:
                whole, mixed = _going(writer.lake, old)
                check_seen(store, writer.lake, mixed)
                files = [rewriter.write([one], without=old) for one in mixed]
                writer.rewrite(files, [one.file.name for one in (*whole, *mixed)], old)
                done.take_rewritten(mixed)
            writer.delete_old_records()
            old_files = writer.forget_versions(KEPT_VERSIONS_DAYS)
    done.take_after(writer.lake)
    return Expiry(done.tables, kept=kept, expired=old, records=records, old_files=len(old_files))


def _planned_expiry(store: Store, lake: LakeState, keep: int, done: Upkeep) -> Expiry:
    kept, old = _divided(lake, keep)
    whole, mixed = _going(lake, old)
    done.take_rewritten(mixed)
    sizes = done.tables[LICENSES]
    sizes.files_after -= len(whole)
    sizes.bytes_after = sizes.bytes_before - sum(one.file.bytes for one in whole)
    if mixed:
        sizes.bytes_after = None
    records = len(old_records(store, lake, old))
    old_files = _forgettable(store, lake)
    return Expiry(done.tables, kept=kept, expired=old, records=records, old_files=old_files)


def _forgettable(store: Store, lake: LakeState) -> int:
    """Return how many files only old versions of the format's tables need."""
    if lake.format is None:
        return 0
    # Of the last epoch a writer may be writing some just now.
    stay = Kept({file.name for file in lake.live_files}, lake.epoch - 1)
    tables = format_of(store, lake.format)
    return len(tables.forget_versions(KEPT_VERSIONS_DAYS, stay, dry_run=True))


def _divided(lake: LakeState, keep: int) -> tuple[list[str], list[str]]:
    """Return the runs that stay and those that expire now, each the newest first.

    A run that was replaced stays as long as it is among the newest, and is not counted otherwise.
    """
    complete = [run for run in lake.newest_first if run.is_finished]
    live = [run for run in complete if run.has_licenses]
    stay = {run.id for run in (*complete[:keep], *live[:keep])}
    current = [run for run in complete if not run.is_expired]
    kept = [run.id for run in current if run.id in stay]
    return kept, [run.id for run in current if run.id not in stay]


def _going(lake: LakeState, old: Sequence[str]) -> tuple[list[Rewritten], list[Rewritten]]:
    """Return the part files that have licenses of old runs only, and those with others', too."""
    found = [
        one
        for one in live_parts(lake)
        if table_of(one.file.name) == LICENSES and not one.runs.isdisjoint(old)
    ]
    whole = [one for one in found if one.runs <= {*old}]
    return whole, [one for one in found if not one.runs <= {*old}]


def _loaded(store: Store) -> LakeState:
    if why := why_no_dataset(store):
        raise UsageError(why)
    return load_lake(store)
