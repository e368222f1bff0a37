"""License-like record batches, and a small job that lands them without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.dataset.destination import writer_lock
from streamlic.dataset.records import AccountDetails, PartFile, Points, Promise, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.schema.columns import JSON_RESCUED, JSON_VALUE, json_field
from streamlic.schema.values import TIMESTAMP
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from streamlic.tables.runs import open_run

EXPORTED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACCOUNTS: list[str | None] = ["account-a", "account-b"]
PAGES = 3
PAGE_ROWS = 20
LARGE_PAGE_ROWS = 120
"""Too many to be held by TINY: the page streams into part files of its own."""
TINY = WriteOptions(
    part_bytes=12_000, row_group_bytes=6_000, page_row_group_bytes=6_000, page_buffer_bytes=12_000
)

_PRODUCT = pa.struct([("id", pa.string()), ("name", pa.string()), ("status", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("description", pa.string()),
        ("available_quantity", pa.int64()),
        ("assigned_quantity", pa.int64()),
        ("unit_amount", pa.float64()),
        ("currency", pa.string()),
        ("is_paid", pa.bool_()),
        ("status", pa.string()),
        ("products", pa.list_(_PRODUCT)),
        ("roles", pa.list_(pa.struct([("id", pa.string()), ("name", pa.string())]))),
        ("created_at", TIMESTAMP),
        ("updated_at", TIMESTAMP),
        json_field("remote_data", JSON_VALUE),
        json_field("_rescued", JSON_RESCUED),
    ]
)


def license_rows(first: int, rows: int, prefix: str = "license") -> list[dict[str, object]]:
    return [
        {
            "id": f"{prefix}-{i}",
            "name": f"Plan E{i % 5}",
            "description": None if i % 3 else f"The plan of row {i}",
            "available_quantity": i % 1000,
            "assigned_quantity": i % 7,
            "unit_amount": i / 4,
            "currency": "USD",
            "is_paid": bool(i % 2),
            "status": None if i % 5 == 0 else "active",
            "products": None
            if i % 4 == 0
            else [
                {"id": f"p{j}", "name": f"Product {j}", "status": "active"} for j in range(i % 3)
            ],
            "roles": [] if i % 6 else [None, {"id": "r", "name": None}],
            "created_at": EXPORTED_AT,
            "updated_at": None,
            "remote_data": f'{{"sku": "{i:032x}", "units": {i}}}',
            "_rescued": None if i % 50 else '{"/seats": 5}',
        }
        for i in range(first, first + rows)
    ]


def license_batch(first: int, rows: int, prefix: str = "license") -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(license_rows(first, rows, prefix), schema=SCHEMA)


@dataclass(kw_only=True)
class LocalRun(RunState):
    """A run of a lake on the local disk."""

    lake: LakeWriter
    store: LocalStore

    def commit(self, files: Sequence[PartFile], points: Points, **given: Any) -> None:
        self.lake.commit(self, Promise(files=files, points=points, **given))


def open_local(dest: Path, store: LocalStore | None = None, **given: Any) -> LocalRun:
    """Open a run in a directory: resume its unfinished one, or start one."""
    store = store or LocalStore(dest)
    lake = LakeWriter(store)
    return LocalRun(lake=lake, store=store, **vars(open_run(lake, **given)))


def open_writer(run: LocalRun, options: WriteOptions = TINY) -> DatasetWriter:
    return DatasetWriter(
        run.store,
        run,
        schema=SCHEMA,
        options=options,
    )


def page_batches(account: str | None, page: int, tag: str) -> Iterator[pa.RecordBatch]:
    """Yield a page's batches; every account's second page is a large one."""
    rows = LARGE_PAGE_ROWS if page == 1 else PAGE_ROWS
    for first in range(0, rows, PAGE_ROWS):
        yield license_batch(first, PAGE_ROWS, f"{tag}-{account}-{page}")


def expected_ids(tag: str, accounts: list[str | None] = ACCOUNTS, pages: int = PAGES) -> list[str]:
    """Return the ids that a landed job of this tag has, sorted."""
    return sorted(
        i
        for account in accounts
        for page in range(pages)
        for batch in page_batches(account, page, tag)
        for i in batch["id"].to_pylist()
    )


def visible_ids(dest: Path, run: str = "") -> list[str]:
    """Return the ids that a reader sees, in the part files of a run or in all, sorted.

    The reader knows nothing of the commit log.
    """
    return sorted(
        i
        for path in dest.glob(f"licenses/part-{run}*.parquet")
        for i in pq.ParquetFile(path).read(columns=["id"])["id"].to_pylist()
    )


def land(
    dest: Path,
    tag: str,
    *,
    mode: str = "error",
    restart: bool = False,
    pages: int | None = None,
    accounts: list[str | None] = ACCOUNTS,
    failing: Mapping[str | None, int] = MappingProxyType({}),
    publish: str = "complete",
    request: Mapping[str, object] = MappingProxyType({}),
    details: Mapping[str | None, AccountDetails] = MappingProxyType({}),
    store: LocalStore | None = None,
) -> LocalRun:
    """Land a job, or resume it; ``pages`` ends it after so many pages of this process.

    ``failing`` are accounts that fail after so many pages; the job is completed without them.
    """
    store = store or LocalStore(dest)
    with writer_lock(store):
        asked = {"tag": tag, **request}
        run = open_local(
            dest,
            store,
            request=asked,
            accounts=accounts,
            mode=mode,
            restart=restart,
            publish=publish,
            details=details,
        )
        writer = open_writer(run)
        for account in accounts:
            while _is_left(run, account, failing):
                if pages == 0:
                    return run
                _land_page(run, writer, account, tag)
                pages = pages - 1 if pages is not None else None
        if not run.is_complete:
            reasons = {account or "": "gone" for account in failing}
            keeps = carrying(store, run, reasons, batch_bytes=2_000)
            complete_run(run.lake, run, writer, Ending(engine="fast", keeps=keeps))
    return run


def _is_left(run: LocalRun, account: str | None, failing: Mapping[str | None, int]) -> bool:
    point = run.point(account)
    is_over = run.is_complete or point.pages == failing.get(account)
    return not (point.is_done or is_over)


def _land_page(run: LocalRun, writer: DatasetWriter, account: str | None, tag: str) -> None:
    point = run.point(account)
    page = int(point.cursor or 0)
    written = writer.open_page(account)
    rows = 0
    for batch in page_batches(account, page, tag):
        written.write(batch)
        rows += batch.num_rows
    written.end()
    moved = ResumePoint(
        cursor=str(page + 1),
        is_done=page + 1 == PAGES,
        rows=point.rows + rows,
        pages=point.pages + 1,
    )
    run.commit(writer.finish(), {account: moved}, is_complete=False)
