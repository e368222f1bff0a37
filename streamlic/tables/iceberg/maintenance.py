"""What a lake of Iceberg tables needs now and then: old snapshots expired, and their files deleted.

Rules:
1. The catalog forgets snapshots before a file of theirs is deleted. What a crash in between leaves
   is part files, which the next call finds by their names, and manifests, which are small.
2. A part file is deleted if no snapshot, branch or tag needs it, and the lake's own log does not
   promise it: it may still be shown. Files of other programs stay, and those of a later writer: it
   has taken over meanwhile, and the snapshots here may lack them.
3. The caller holds the lake's lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from streamlic.dataset.lake import TABLES, names_in_tables, run_of, table_of
from streamlic.tables.iceberg.files import has_live_files
from streamlic.tables.iceberg.format import IcebergFormat
from streamlic.tables.table_format import Kept


def expire(
    tables: IcebergFormat, *, keep_days: int, kept: Kept, dry_run: bool = False
) -> list[str]:
    """Expire snapshots older than ``keep_days`` days; delete the part files that none needs.

    The current snapshot stays, and those of branches and tags. Returns the names of the part files;
    ``dry_run`` changes nothing.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    unneeded: list[str] = []
    for table in TABLES:
        with tables.catalog.translated(table):
            unneeded += _expire(tables, table, before, kept, dry_run=dry_run)
    return unneeded


def _expire(
    tables: IcebergFormat, table: str, before: datetime, kept: Kept, *, dry_run: bool
) -> list[str]:
    found = tables.placed(table)
    if found is None:
        return []
    old, new = _divided(found, before)
    manifests, needed = _manifests_and_files(found, new)
    names = [name for name in names_in_tables(tables.store) if table_of(name) == table]
    unneeded = [
        name
        for name in names
        if run_of(name) and not kept.has(name) and tables.path(name) not in needed
    ]
    if dry_run:
        return unneeded
    gone = {*_metadata_files(found, old)} - manifests
    if old:
        ids = [snapshot.snapshot_id for snapshot in old]
        found.maintenance.expire_snapshots().by_ids(ids).commit()
    for path in sorted(gone):
        with suppress(FileNotFoundError):
            found.io.delete(path)
    tables.store.delete(*unneeded)
    return unneeded


def _divided(found: Table, before: datetime) -> tuple[list[Snapshot], list[Snapshot]]:
    """Return the snapshots that expire and those that stay."""
    heads = {reference.snapshot_id for reference in found.metadata.refs.values()}
    deadline = before.timestamp() * 1000
    old, kept = list[Snapshot](), list[Snapshot]()
    for snapshot in found.snapshots():
        is_old = snapshot.timestamp_ms < deadline and snapshot.snapshot_id not in heads
        (old if is_old else kept).append(snapshot)
    return old, kept


def _manifests_and_files(found: Table, kept: Iterable[Snapshot]) -> tuple[set[str], set[str]]:
    """Return the metadata files and the data files that snapshots need."""
    metadata, files = set[str](), set[str]()
    for snapshot in kept:
        metadata.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(found.io):
            if manifest.manifest_path in metadata:
                continue
            metadata.add(manifest.manifest_path)
            if has_live_files(manifest):
                entries = manifest.fetch_manifest_entry(found.io)
                files.update(entry.data_file.file_path for entry in entries)
    return metadata, files


def _metadata_files(found: Table, snapshots: Iterable[Snapshot]) -> Iterable[str]:
    for snapshot in snapshots:
        yield snapshot.manifest_list
        yield from (manifest.manifest_path for manifest in snapshot.manifests(found.io))
