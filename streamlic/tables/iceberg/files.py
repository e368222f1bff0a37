"""The data files of an Iceberg table: which there are, and how they are added and removed whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial

from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles
from pyiceberg.typedef import Record

from streamlic.errors import IntegrityError

EXPORT_DATE = "export_date"
_FOOTERS_AT_ONCE = 8
_RUN_DATE = re.compile(r"/part-(?P<date>[0-9]{8})T[^/]*\.parquet$")
_EPOCH = date(1970, 1, 1)
_PARTITION = 3  # The place of a file's partition in DataFile, which has no setter for it.


def run_date(path: str) -> date | None:
    """Return the date, in UTC, of the run that wrote a part file; None for any other file."""
    match = _RUN_DATE.search(path)
    return datetime.strptime(match["date"], "%Y%m%d").replace(tzinfo=UTC).date() if match else None


def live_files(table: Table, snapshot: Snapshot | None = None) -> Iterator[DataFile]:
    """Yield the data files of a snapshot, the current one unless another is given."""
    snapshot = snapshot or table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        if manifest.content == ManifestContent.DATA and has_live_files(manifest):
            for entry in manifest.fetch_manifest_entry(table.io):
                yield entry.data_file


def has_delete_files(table: Table) -> bool:
    """Return whether another program has deleted rows by files that name them: merge-on-read."""
    snapshot = table.current_snapshot()
    return any(
        manifest.content == ManifestContent.DELETES and has_live_files(manifest)
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
    )


def change_files(
    work: Transaction,
    io: FileIO,
    added: Sequence[str],
    removed: Sequence[DataFile],
    said: Mapping[str, str],
    *,
    is_rewrite: bool = False,
) -> None:
    """Add files, by their paths, and remove others, in one snapshot of a transaction.

    ``said`` are the snapshot's properties. Of a rewrite the rows stay in their partition.
    """
    metadata = work.table_metadata
    days_before = {file.partition[0] for file in removed if len(file.partition)}
    producer: _OverwriteFiles | _FastAppendFiles
    if removed:
        producer = _Replacement(
            Operation.OVERWRITE if added else Operation.DELETE,
            work,
            io,
            snapshot_properties=dict(said),
        )
    else:
        producer = work.update_snapshot(snapshot_properties=dict(said)).merge_append()
    for file in removed:
        producer.delete_data_file(file)
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        for file in pool.map(partial(parquet_file_to_data_file, io, metadata), added):
            if not metadata.spec().is_unpartitioned():
                day = _day(file.file_path)
                if is_rewrite and day not in days_before:
                    day = _only(days_before, file.file_path)
                file[_PARTITION] = Record(day)
            producer.append_data_file(file)
    producer.commit()


def _day(path: str) -> int:
    """Return the partition of a part file: Iceberg's dates are days since 1970."""
    found = run_date(path)
    if found is None:
        raise IntegrityError(f"{path} is not the name of a part file")
    return (found - _EPOCH).days


def _only(days: set[int], path: str) -> int:
    if len(days) != 1:
        raise IntegrityError(f"{path} has rows of {len(days)} partitions, expected one")
    return next(iter(days))


class _Replacement(_OverwriteFiles):
    """Replaces files, and drops the manifests that say only what earlier snapshots removed.

    pyiceberg's own keeps them: one more for each night, read by each later commit.
    """

    def _existing_manifests(self) -> list[ManifestFile]:
        return [manifest for manifest in super()._existing_manifests() if has_live_files(manifest)]


def has_live_files(manifest: ManifestFile) -> bool:
    """Return whether a manifest names more than files that were removed."""
    return manifest.has_added_files() or manifest.has_existing_files()
