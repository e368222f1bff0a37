"""Deletes a row of an Iceberg table as Trino and Athena do: by a file that names it.

pyiceberg reads such files, and does not write them. So the manifest is written with its parts.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

_SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), metadata={"PARQUET:field_id": "2147483545"}),
    ]
)
"""The columns of a position delete file, by Iceberg's specification."""


class _DeleteManifest(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def delete_first_row(table: Table) -> None:
    """Commit a snapshot in which the first row of the first data file is deleted."""
    current, io = table.current_snapshot(), table.io
    assert current is not None
    assert isinstance(io, PyArrowFileIO)
    file = next(iter(table.scan().plan_files())).file
    directory, snapshot_id = f"{table.location()}/metadata", uuid4().int >> 66
    path = f"{directory}/{uuid4()}-deletes.parquet"
    with io.new_output(path).create() as output:
        rows = pa.Table.from_pydict({"file_path": [file.file_path], "pos": [0]}, schema=_SCHEMA)
        pq.write_table(rows, output)
    manifest_path = f"{directory}/{uuid4()}-m0.avro"
    with _DeleteManifest(
        table.spec(), table.schema(), io.new_output(manifest_path), snapshot_id, "null"
    ) as writer:
        writer.add_entry(
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=snapshot_id,
                data_file=DataFile.from_args(**_delete_file(path, len(io.new_input(path)))),
            )
        )
    list_path = f"{directory}/snap-{snapshot_id}-0-{uuid4()}.avro"
    number = (current.sequence_number or 0) + 1
    with write_manifest_list(
        2, io.new_output(list_path), snapshot_id, current.snapshot_id, number, "null"
    ) as manifests:
        manifests.add_manifests([writer.to_manifest_file(), *current.manifests(io)])
    snapshot = {
        "snapshot-id": snapshot_id,
        "parent-snapshot-id": current.snapshot_id,
        "sequence-number": number,
        "timestamp-ms": int(time.time() * 1000),
        "manifest-list": list_path,
        "summary": {"operation": "delete"},
        "schema-id": table.metadata.current_schema_id,
    }
    main = {"ref-name": "main", "type": "branch", "snapshot-id": snapshot_id}
    table.catalog.commit_table(
        table,
        (AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": current.snapshot_id}),),
        (
            AddSnapshotUpdate.model_validate({"snapshot": snapshot}),
            SetSnapshotRefUpdate.model_validate(main),
        ),
    )


def _delete_file(path: str, size: int) -> dict[str, Any]:
    return {
        "_table_format_version": 2,
        "content": DataFileContent.POSITION_DELETES,
        "file_path": path,
        "file_format": FileFormat.PARQUET,
        "partition": Record(),
        "record_count": 1,
        "file_size_in_bytes": size,
        "spec_id": 0,
    }
