"""A report as a lake of very many licenses gives it, from a small one's rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from streamlic.answers.figures import Report

LICENSES = 10_000
CUSTOMERS = 3_000


def enlarged(report: Report) -> Report:
    """Return a report with so many licenses and customers."""
    return Report(
        **{
            **vars(report),
            "wasted": _many(report.wasted, LICENSES, "name"),
            "customers": _many(report.customers, CUSTOMERS, "tenant_id"),
        }
    )


def _many(table: pa.Table, rows: int, name: str) -> pa.Table:
    some = table.to_pylist()
    many: list[dict[str, Any]] = [
        {**some[number % len(some)], name: f"{name} {number:05d}", "unused_seats": rows - number}
        for number in range(rows)
    ]
    return pa.Table.from_pylist(many, table.schema)
