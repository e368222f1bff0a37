"""The rows of ``accounts`` and ``runs`` that the end of a run writes.

Rules:
1. A run has one row in ``runs``, and one in ``accounts`` for each account that it asked for,
   skipped or carried over.
2. An account's outcome is ``read`` if it was read to its end; ``carried_over`` if the lake keeps
   older rows of it instead; else ``failed`` or ``skipped``.
3. ``complete`` says that no account failed.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from streamlic._version import __version__
from streamlic.dataset.lake import ACCOUNTS, ACCOUNTS_SCHEMA, RUNS, RUNS_SCHEMA
from streamlic.dataset.part_file import Part
from streamlic.dataset.records import Failed, PartFile, written
from streamlic.dataset.run_state import RunState
from streamlic.storage.base import Store

READ = "read"
SKIPPED = "skipped"
FAILED = "failed"
CARRIED_OVER = "carried_over"
_BATCH_ROWS = 10_000


def write_run_tables(
    store: Store, run: RunState, *, engine: str, compression: str
) -> list[PartFile]:
    """Stage the part files of ``accounts`` and ``runs``. ``run`` is as it will be when complete."""
    accounts = account_rows(run)
    files = []
    for table, schema, rows in [
        (ACCOUNTS, ACCOUNTS_SCHEMA, accounts),
        (RUNS, RUNS_SCHEMA, [run_row(run, accounts, engine)]),
    ]:
        name = run.part_name(1, table)
        part = Part(
            store,
            name,
            schema,
            staged=run.staged(name),
            row_group_bytes=16 << 20,
            compression=compression,
        )
        try:
            for first in range(0, len(rows), _BATCH_ROWS):
                some = rows[first : first + _BATCH_ROWS]
                part.write(pa.RecordBatch.from_pylist(some, schema=schema))
            part.close()
            part.wait()
        except BaseException:
            part.discard()
            raise
        files.append(PartFile(name, part.rows, part.bytes, part.sha256))
    return files


def account_rows(run: RunState) -> list[dict[str, Any]]:
    """Return the run's rows of ``accounts``, sorted by account."""
    return [_account_row(run, account) for account in sorted(accounts_of(run), key=_sort_key)]


def accounts_of(run: RunState) -> set[str | None]:
    """Return the accounts that a run has a row for."""
    return {*run.accounts, *run.skipped, *run.carried_over}


def _sort_key(account: str | None) -> str:
    return account or ""


def outcome_of(run: RunState, account: str | None) -> str:
    """Return the outcome of an account in a run that has ended."""
    if account in run.carried_over:
        return CARRIED_OVER
    if account in run.skipped:
        return SKIPPED
    return READ if run.point(account).is_done else FAILED


def _account_row(run: RunState, account: str | None) -> dict[str, Any]:
    point, failed = run.point(account), run.failed.get(account)
    carried = run.carried_over.get(account)
    details = run.details_of(account)
    outcome = outcome_of(run, account)
    reason = carried.reason if carried else run.skipped.get(account or "")
    exported_at = carried.exported_at if carried else written(run.started_at)
    return {
        "integrated_account_id": account,
        "integration": details.integration,
        "tenant_id": details.tenant_id,
        "status": details.status,
        "is_blocked": details.is_blocked,
        "outcome": outcome,
        "reason": reason,
        "rows": carried.rows if carried else point.rows,
        "pages": point.pages,
        "rescued": point.rescued,
        "partial_response": point.is_partial,
        **error_columns(failed),
        "started_at": _moment(point.started_at),
        "ended_at": _moment(point.ended_at),
        "rows_exported_at": _moment(exported_at) if carried or point.pages else None,
        "_exported_at": run.started_at,
        "_run": run.id,
    }


def error_columns(failed: Failed | None) -> dict[str, Any]:
    """Return the values that say why an account failed: nulls if it did not."""
    return {
        "error_kind": failed.kind if failed else None,
        "error_message": failed.message if failed else None,
        "error_retryable": failed.retryable if failed else None,
    }


def run_row(run: RunState, accounts: list[dict[str, Any]], engine: str) -> dict[str, Any]:
    """Return the run's row of ``runs``; ``accounts`` are its rows of that table."""
    counts = Counter(row["outcome"] for row in accounts)
    return {
        "run_key": run.key,
        "mode": run.mode,
        "started_at": run.started_at,
        "ended_at": datetime.now(UTC),
        "complete": not run.failed,
        "accounts": len(accounts),
        "accounts_read": counts[READ],
        "accounts_skipped": counts[SKIPPED],
        "accounts_failed": counts[FAILED],
        "accounts_carried_over": counts[CARRIED_OVER],
        "accounts_dropped": len(run.dropped),
        "rows": run.rows,
        "rows_carried_over": sum(one.rows for one in run.carried_over.values()),
        "pages": sum(row["pages"] for row in accounts),
        "rescued": sum(row["rescued"] for row in accounts),
        "bytes": sum(file.bytes for file in run.license_files),
        "part_files": len(run.license_files),
        "engine": engine,
        "version": __version__,
        "request": json.dumps(run.request),
        "_exported_at": run.started_at,
        "_run": run.id,
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
